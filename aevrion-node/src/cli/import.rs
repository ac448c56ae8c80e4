//! The command line of `import`: the format of a file, and that of its times and columns.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use encoding_rs::Encoding;
use jiff::tz::TimeZone;

use crate::rfc3339::Fold;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file, packed (gzip, zstd, bzip2, xz) or plain, or - for standard input; or the repository
    pub(crate) file: PathBuf,
    /// What that is
    #[arg(long, value_name = "WHAT", default_value = "file", hide_default_value = true)]
    pub(crate) from: ImportFrom,
    /// With --from git: only this file or directory, from the top of the repository on; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
    /// What the file holds [default: what its name says, else jsonl]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<FileFormat>,
    /// The encoding of the file, such as latin1 or utf-16le [default: that of its byte order mark, else UTF-8]
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    pub(crate) encoding: Option<&'static Encoding>,
    /// Pass over records that cannot be imported, and report them
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Show the first ten events as they would be stored, and count; store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What to do where a key has several values in one moment [default: store them, and warn]
    #[arg(long, value_name = "HOW")]
    pub(crate) ties: Option<Ties>,
    /// What numbers that stand for times count [default: ms]
    #[arg(long, value_name = "UNIT")]
    pub(crate) time_unit: Option<TimeUnit>,
    #[command(flatten)]
    pub(crate) times: TimeArgs,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Times")]
pub(crate) struct TimeArgs {
    /// How times of columns are written, such as '%Y-%m-%d %H:%M', '%s' or '%d.%m.%Y %H:%M %Q' [default: a number, or RFC 3339]
    #[arg(long, value_name = "FORMAT", value_parser = time_format)]
    pub(crate) time_format: Option<String>,
    /// Where times are local that have no offset, such as Europe/Berlin [default: UTC with --time-format, else they are errors]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<Zone>,
    /// Which moment is meant by local times that came twice, or not at all, where clocks were changed [default: they are errors]
    #[arg(long, value_name = "WHICH")]
    pub(crate) fold: Option<Fold>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Columns of a CSV or TSV file")]
pub(crate) struct ColumnArgs {
    /// How the key is made of columns, such as 'plane:{tailnum}' [of git: of path, commit, author, subject; default: {path}]
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) key: Option<String>,
    /// The column of the time, or a template such as '{date} {time}'
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time: Option<String>,
    /// How the value is made of columns, with {{ and }} for braces [default: a JSON object of the whole row] [of git: also of hash, mode, content; default: {content}]
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) value: Option<String>,
    /// Rows that delete their key, such as 'status=removed'
    #[arg(long, value_name = "COLUMN=VALUE")]
    pub(crate) delete_if: Option<Condition>,
    /// The column of the moment at which a value expires; where it is empty, the value does not
    #[arg(long, value_name = "COLUMN")]
    pub(crate) expires: Option<String>,
    /// What separates columns, such as ; or '\t' [default: what a line sep=… says, else a comma, or a tab in TSV]
    #[arg(long, value_name = "CHAR", value_parser = one_byte)]
    pub(crate) delimiter: Option<u8>,
    /// What quotes are [default: double in CSV, none in TSV]
    #[arg(long, value_name = "WHAT")]
    pub(crate) quote: Option<Quotes>,
    /// Take spaces off around names and cells
    #[arg(long)]
    pub(crate) trim: bool,
}

impl TimeArgs {
    /// The first of these flags that was given, for formats with only one form of times.
    pub(crate) fn given(&self) -> Option<&'static str> {
        [
            (self.time_format.is_some(), "--time-format"),
            (self.time_zone.is_some(), "--time-zone"),
            (self.fold.is_some(), "--fold"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

impl ColumnArgs {
    /// The first of these flags that was given and is not `applicable`, for formats without columns.
    pub(crate) fn given_but(&self, applicable: &[&str]) -> Option<&'static str> {
        [
            (self.key.is_some(), "--key"),
            (self.time.is_some(), "--time"),
            (self.value.is_some(), "--value"),
            (self.delete_if.is_some(), "--delete-if"),
            (self.expires.is_some(), "--expires"),
            (self.delimiter.is_some(), "--delimiter"),
            (self.quote.is_some(), "--quote"),
            (self.trim, "--trim"),
        ]
        .into_iter()
        .find_map(|(given, flag)| (given && !applicable.contains(&flag)).then_some(flag))
    }
}

/// Where the events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFrom {
    /// A file of events or of columns (the default)
    File,
    /// A git repository: the paths of its branch and their contents, from the author time of each commit on
    Git,
}

/// The format of a file to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// JSON objects, one a line or in an array: key, value, timestamp, perhaps `expires_at`
    Jsonl,
    /// Columns with a header line
    Csv,
    /// The same with tabs, and quotes that are data
    Tsv,
}

/// The unit of a number that stands for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TimeUnit {
    /// Seconds since 1970
    S,
    /// Milliseconds since 1970
    #[default]
    Ms,
    /// Microseconds since 1970
    Us,
    /// Nanoseconds since 1970
    Ns,
}

/// The treatment of several values of a key in one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ties {
    /// Put each a millisecond later than the one before it in the file; of git also where times go backwards
    FileOrder,
}

/// The meaning of quotes in columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Quotes {
    /// Around what holds delimiters or line ends, doubled where they stand for themselves
    Double,
    /// Data
    None,
}

impl Quotes {
    /// The default quotes of a format.
    pub(crate) fn usual(format: FileFormat) -> Self {
        if format == FileFormat::Tsv { Self::None } else { Self::Double }
    }
}

/// A time zone, by its name.
#[derive(Debug, Clone)]
pub(crate) struct Zone(pub(crate) TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let zone = TimeZone::get(name).map_err(|_| "give the name of a zone such as UTC or Europe/Berlin")?;
        Ok(Self(zone))
    }
}

/// A condition on a column: it has this value.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) column: String,
    pub(crate) value: String,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, value) = text.split_once('=').ok_or("give it as COLUMN=VALUE")?;
        Ok(Self { column: column.to_owned(), value: value.to_owned() })
    }
}

/// Checks a time format by writing a time with it.
fn time_format(text: &str) -> Result<String, String> {
    let any = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match jiff::fmt::strtime::format(text, &any) {
        Ok(written) if written == text => {
            Err("it says nothing of a time: give one such as '%Y-%m-%d %H:%M'".into())
        }
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Finds an encoding by its label on the web: `latin1` means Windows' superset of it.
pub(crate) fn encoding(label: &str) -> Result<&'static Encoding, String> {
    match label.to_ascii_lowercase().as_str() {
        "utf-16" | "utf16" => {
            Err("say utf-16le or utf-16be; a file with a byte order mark needs neither".to_owned())
        }
        label => Encoding::for_label(label.as_bytes()).ok_or_else(|| {
            "give a name such as utf-8, utf-16le, latin1, windows-1252 or shift_jis".to_owned()
        }),
    }
}

/// Parses a delimiter: one ASCII character, or `\t`.
fn one_byte(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if may_delimit(*byte) => Ok(*byte),
        _ => Err("give one ASCII character, or \\t for a tab".to_owned()),
    }
}

/// Whether this byte may be a delimiter.
pub(crate) fn may_delimit(byte: u8) -> bool {
    byte.is_ascii() && !b"\"\r\n".contains(&byte)
}
