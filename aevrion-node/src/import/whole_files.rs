//! Files of any bytes, imported with any flags: the outcome is events that are all in the file, with counts that add up
//! to its records, or an error.

use std::io::Cursor;

use clap::Parser;
use proptest::prelude::*;

use super::outcome::Outcome;
use crate::cli::{Cli, ImportArgs, Verb};

fn arguments(flags: &[&str]) -> ImportArgs {
    let cli = Cli::try_parse_from([&["aevrion", "import", "-"], flags].concat()).expect("flags of import");
    let Verb::Import(arguments) = cli.verb else { panic!("not import") };
    arguments
}

fn read(bytes: Vec<u8>, flags: &[&str]) -> Outcome {
    let length = bytes.len();
    Outcome::of(Cursor::new(bytes), length, &arguments(flags))
}

const COLUMNS: &[&str] = &["--key", "{id}", "--time", "when", "--value", "{v}", "--time-unit", "ms"];

/// A table as a spreadsheet would write it.
fn table(rows: &[(String, u64)], delimiter: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    writer.write_record(["id", "when", "v"]).unwrap();
    for (number, (value, when)) in rows.iter().enumerate() {
        writer.write_record([number.to_string(), when.to_string(), value.clone()]).unwrap();
    }
    writer.into_inner().unwrap()
}

fn rows() -> impl Strategy<Value = Vec<(String, u64)>> {
    prop::collection::vec(("[a-c\",;'\n\r\té{}\\\\ ]{0,12}", 0..4_000_000_000_000_u64), 0..40)
}

fn sixteen(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// Flags of every kind, with values likely to mean something.
fn flags() -> impl Strategy<Value = Vec<&'static str>> {
    let format = prop::sample::select(vec![
        vec!["--format", "jsonl"],
        [&["--format", "csv"], COLUMNS].concat(),
        [&["--format", "tsv"], COLUMNS].concat(),
        vec!["--format", "csv", "--key", "{id}", "--time", "when"],
        [&["--format", "csv", "--quote", "none", "--trim", "--delimiter", ";"], COLUMNS].concat(),
    ]);
    let further = prop::sample::subsequence(vec!["--skip-bad", "--dry-run", "--ties=file-order"], 0..=3);
    let encoding = prop::sample::select(vec![vec![], vec!["--encoding=latin1"], vec!["--encoding=utf-16le"]]);
    (format, further, encoding).prop_map(|(format, further, encoding)| [format, further, encoding].concat())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(vec![
            "id,when,v\n",
            "id\twhen\tv\n",
            "id;when;v\r",
            "1,2,3\n",
            "\"a\n\",1,\"",
            "1714557600000",
            "\r\n",
            "sep=;\n",
            "[",
            "]",
            "{\"key\":\"k\",\"value\":1,\"timestamp\":1}",
            ",",
            "\n",
            "\u{FEFF}",
            "\0",
            "\u{1F}\u{8B}\u{8}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_end_in_events_or_in_an_error(bytes in bytes(), flags in flags()) {
        let outcome = read(bytes.clone(), &flags);
        if let Some(stop) = &outcome.stopped {
            prop_assert!(!stop.why.is_empty());
        }
        // Every key is part of the file.
        if !flags.iter().any(|flag| flag.starts_with("--encoding") || *flag == "jsonl") && !bytes.contains(&0) {
            for event in &outcome.events {
                let key = event.key();
                prop_assert!(bytes.windows(key.len()).any(|window| window == &key[..]), "{key:?}");
            }
        }
    }

    #[test]
    fn a_table_comes_out_as_it_was_written(rows in rows(), semicolon in any::<bool>(), wide in any::<bool>()) {
        let delimiter = if semicolon { b';' } else { b',' };
        let text = table(&rows, delimiter);
        let bytes = if wide { sixteen(&text) } else { text };
        let by = if semicolon { "--delimiter=;" } else { "--delimiter=," };
        let outcome = read(bytes, &[COLUMNS, &["--format", "csv", by]].concat());
        prop_assert_eq!(&outcome.stopped, &None);
        let read: Vec<_> = outcome.events.iter().map(|event| {
            let value = event.value().data().map(|data| String::from_utf8(data.to_vec()).unwrap());
            (value.unwrap_or_default(), event.timestamp().as_millis())
        }).collect();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn rows_that_are_passed_over_are_counted(rows in rows(), bad in prop::collection::vec(any::<bool>(), 40)) {
        let lines: String = rows.iter().zip(&bad).enumerate()
            .map(|(number, ((_, when), bad))| if *bad { format!("{number}\n") } else { format!("{number},{when},x\n") })
            .collect();
        let text = format!("id,when,v\n{lines}");
        let outcome = read(text.into_bytes(), &[COLUMNS, &["--format", "csv", "--skip-bad"]].concat());
        prop_assert_eq!(&outcome.stopped, &None);
        prop_assert_eq!(outcome.records(), rows.len() as u64);
        prop_assert_eq!(outcome.skipped, bad.iter().take(rows.len()).filter(|bad| **bad).count() as u64);
    }

    #[test]
    fn a_file_that_is_cut_brings_what_is_before_the_cut(
        times in prop::collection::vec(0..4_000_000_000_000_u64, 1..30), array in any::<bool>(), cut in any::<prop::sample::Index>(),
    ) {
        let objects: Vec<_> = times.iter().enumerate()
            .map(|(number, at)| format!("{{\"key\":\"k{number}\",\"value\":\"}},{{\",\"timestamp\":{at}}}"))
            .collect();
        let text = if array { format!("[{}]", objects.join(",\n")) } else { objects.join("\n") };
        let at = cut.index(text.len() + 1);
        let outcome = read(text.as_bytes()[..at].to_vec(), &["--time-unit", "ms"]);
        let whole = read(text.into_bytes(), &["--time-unit", "ms"]);
        prop_assert_eq!((whole.events.len(), &whole.stopped), (times.len(), &None));
        prop_assert_eq!(&outcome.events[..], &whole.events[..outcome.events.len()]);
        // An empty file is no array.
        let may_end = !array || at == 0 || outcome.events.len() == times.len();
        prop_assert!(outcome.stopped.is_some() || may_end);
    }
}
