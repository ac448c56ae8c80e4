//! The first bytes of an input choose the flags of an import, and the form in which its file reaches the importer.
//!
//! Each byte makes one choice, by its distance from `0`: so a seed begins with a readable line.

use std::path::PathBuf;

use super::variant::Variant;
use crate::cli::import::{Zone, encoding};
use crate::cli::{ColumnArgs, FileFormat, ImportArgs, ImportFrom, Quotes, Ties, TimeArgs, TimeUnit};
use crate::rfc3339::Fold;

/// Bytes at the beginning of an input that make the choices.
pub(in crate::import) const CHOICES: usize = 17;

const NAMES: [&str; 8] =
    ["-", "file.csv", "file.tsv", "file.jsonl", "file.csv.gz", "file.zst", "file.bz2", "file.tab.xz"];

const FORMATS: [Option<FileFormat>; 4] =
    [None, Some(FileFormat::Csv), Some(FileFormat::Tsv), Some(FileFormat::Jsonl)];

const ENCODINGS: [&str; 12] = [
    "",
    "utf-8",
    "utf-16le",
    "utf-16be",
    "latin1",
    "shift_jis",
    "gb18030",
    "iso-2022-jp",
    "euc-kr",
    "big5",
    "x-user-defined",
    "replacement",
];

const UNITS: [Option<TimeUnit>; 5] =
    [None, Some(TimeUnit::S), Some(TimeUnit::Ms), Some(TimeUnit::Us), Some(TimeUnit::Ns)];

const TIME_FORMATS: [&str; 7] = [
    "",
    "%Y-%m-%d %H:%M:%S %Q",
    "%s",
    "%d.%m.%Y %H:%M",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%a %b %e %I:%M:%S %p %y",
];

const ZONES: [&str; 6] =
    ["", "UTC", "Europe/Berlin", "Pacific/Apia", "Africa/Casablanca", "Australia/Lord_Howe"];

const FOLDS: [Option<Fold>; 3] = [None, Some(Fold::Earlier), Some(Fold::Later)];

const KEYS: [&str; 9] =
    ["", "{id}", "{item}", "{k}", "{pkg}", "{name}", "{id}:{v}", "{{{when}}}{id}", "constant"];

const TIMES: [&str; 6] = ["", "when", "{when}", "id", "{when} {v}", "1714557600000"];

const VALUES: [&str; 8] = ["", "{v}", "{qty}", "-", "{state}", "{note}", r#"{{"n":{v}}}"#, "{id}{when}"];

const DELETIONS: [&str; 5] = ["", "v=x", "state=done", "when=", "id=1"];

const DELIMITERS: [Option<u8>; 8] =
    [None, Some(b','), Some(b';'), Some(b'\t'), Some(b'|'), Some(b' '), Some(b'a'), Some(0)];

const QUOTES: [Option<Quotes>; 3] = [None, Some(Quotes::Double), Some(Quotes::None)];

/// The choices for importing one file.
#[derive(Debug)]
pub(super) struct Choices {
    pub(super) arguments: ImportArgs,
    pub(super) variant: Variant,
}

/// The bytes that make the choices, in order.
struct Picks<'b> {
    bytes: &'b [u8],
    /// A text from the input itself, offered after the fixed texts.
    free: Option<&'b str>,
}

impl Picks<'_> {
    fn number(&mut self) -> usize {
        let (first, rest) = self.bytes.split_first().unwrap_or((&b'0', &[]));
        self.bytes = rest;
        usize::from(first.wrapping_sub(b'0'))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.number() % of.len()]
    }

    /// Chooses a text; the first choice stands for none.
    fn text(&mut self, of: &[&'static str]) -> Option<String> {
        let number = self.number() % (of.len() + 1);
        let text = of.get(number).copied().or(self.free);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// Reads the choices at the beginning of an input, and returns the file behind them.
pub(super) fn read(input: &[u8]) -> Option<(Choices, &[u8])> {
    let (bytes, mut file) = input.split_at_checked(CHOICES)?;
    // The last byte decides whether a text for flags precedes the file.
    let (&freely, bytes) = bytes.split_last()?;
    let mut free = None;
    if freely == b'+'
        && let Some(end) = file.iter().position(|byte| *byte == 0)
    {
        free = std::str::from_utf8(&file[..end]).ok();
        file = &file[end + 1..];
    }
    let mut picks = Picks { bytes, free };
    let file_name = PathBuf::from(picks.one(&NAMES));
    let format = picks.one(&FORMATS);
    let label = picks.one(&ENCODINGS);
    let (skip_bad, ties) = picks.one(&[(false, false), (true, false), (false, true), (true, true)]);
    let time_unit = picks.one(&UNITS);
    let times = TimeArgs {
        time_format: picks.text(&TIME_FORMATS),
        time_zone: picks.text(&ZONES).and_then(|name| name.parse::<Zone>().ok()),
        fold: picks.one(&FOLDS),
    };
    let columns = ColumnArgs {
        key: picks.text(&KEYS),
        time: picks.text(&TIMES),
        value: picks.text(&VALUES),
        delete_if: picks.text(&DELETIONS).and_then(|text| text.parse().ok()),
        expires: None,
        delimiter: picks.one(&DELIMITERS),
        quote: picks.one(&QUOTES),
        trim: picks.one(&[false, true]),
    };
    let variant = picks.one(&Variant::ALL);
    let arguments = ImportArgs {
        file: file_name,
        from: ImportFrom::File,
        paths: Vec::new(),
        format,
        encoding: encoding(label).ok(),
        skip_bad,
        dry_run: false,
        ties: ties.then_some(Ties::FileOrder),
        time_unit,
        times,
        columns,
    };
    Some((Choices { arguments, variant }, file))
}
