//! The promise: files in common formats are read as meant, or refused with the place and the remedy. Nothing of a file
//! is skipped, renamed, merged or guessed silently.

use std::path::Path;

use crate::support::place::Place;
use crate::support::{Finished, repository};

/// The key, time and value of an event.
type Stored = (&'static str, u64, &'static str);

/// Noon in Berlin on the first of May 2024.
const NOON: u64 = 1_714_557_600_000;
/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600_000;

const BOLTS: &[&str] = &["--key", "{item}", "--time", "when", "--value", "{qty}"];
const BY_ID: &[&str] = &["--key", "{id}", "--time", "when", "--value", "{v}"];
const BY_K: &[&str] = &["--key", "{k}", "--time", "when", "--value", "-"];
const STATES: &[&str] = &["--key", "{pkg}", "--time", "when", "--value", "{state}"];
const NOTES: &[&str] = &["--key", "{name}", "--time", "when", "--value", "{note}"];

const BOLT: Stored = ("bolt", NOON, "7");
const ONE: Stored = ("1", NOON, "x");

fn import(place: &Place, file: &str, flags: &[&[&str]]) -> Finished {
    let file = repository().join("tests/data/files").join(file);
    place.run(&[&["import", file.to_str().expect("a text")], &flags.concat()[..]].concat())
}

/// The events of the store at `place`, ordered by time.
fn stored(place: &Place) -> Vec<(String, u64, String)> {
    let lines = place.run(&["export", "-"]).ok().stdout;
    let events = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let mut events: Vec<_> = events
        .map(|event| {
            (text(&event["key"]), event["timestamp"].as_u64().expect("a number"), text(&event["value"]))
        })
        .collect();
    events.sort_by_key(|(key, time, _)| (*time, key.clone()));
    events
}

/// Checks that the file is imported with so many events and every word of `said`.
#[track_caller]
fn brings(file: &str, flags: &[&[&str]], said: &[&str], events: &[Stored]) {
    let place = Place::new();
    let finished = import(&place, file, flags).ok();
    for word in said {
        assert!(finished.stderr.contains(word), "{file}: `{word}` is not in: {}", finished.stderr);
    }
    let expected: Vec<_> =
        events.iter().map(|(key, time, value)| ((*key).to_owned(), *time, (*value).to_owned())).collect();
    assert_eq!(stored(&place), expected, "{file} {flags:?}");
}

/// Checks that the file is refused with `code` and every word of `said`, after so many events.
#[track_caller]
fn refused(file: &str, flags: &[&[&str]], code: i32, said: &[&str], events: &[Stored]) {
    let place = Place::new();
    import(&place, file, flags).fails(code, said);
    if events.is_empty() {
        assert!(!place.data().exists() || stored(&place).is_empty(), "{file}");
    } else {
        assert_eq!(stored(&place).len(), events.len(), "{file}");
    }
}

#[test]
fn marks_and_encodings_are_not_part_of_names() {
    brings("bom.csv", &[BOLTS], &[], &[BOLT]);
    brings("bom.csv.gz", &[BOLTS], &[], &[BOLT]);
    brings("utf16le.csv", &[BOLTS], &[], &[BOLT]);
    let whole = &["--key", "{item}", "--time", "when"];
    let row = r#"{"qty":"7","item":"bolt","when":"2024-05-01T10:00:00Z"}"#;
    brings("bom-silent.csv", &[whole], &[], &[("bolt", NOON, row)]);
    brings("bom.jsonl", &[], &[], &[BOLT]);
    brings("utf16le.jsonl", &[], &[], &[BOLT]);
    refused("latin1.csv", &[BOLTS], 1, &["line 2", "byte 5 of the column `item`", "--encoding latin1"], &[]);
    let both = &[("Schlüssel", NOON, "7"), ("bolt", NOON, "8")];
    let mut sorted = *both;
    sorted.sort_unstable();
    brings("latin1.csv", &[BOLTS, &["--encoding", "latin1"]], &[], &sorted);
    refused("bom.csv", &[BOLTS, &["--encoding", "latin1"]], 1, &["byte order mark", "UTF-8"], &[]);
    refused("bom.csv", &[BOLTS, &["--encoding", "utf-16"]], 2, &["utf-16le"], &[]);
}

#[test]
fn quotes_that_are_not_closed_swallow_nothing() {
    let open = &["the quote that is opened in line 2 is not closed", "--quote none"];
    refused("openquote.csv", &[BY_ID], 1, open, &[]);
    refused("openquote.csv", &[BY_ID, &["--skip-bad"]], 1, open, &[]);
    let data = &[("1", NOON, "\"never closed"), ("2", NOON, "y"), ("3", NOON, "z")];
    brings("openquote.csv", &[BY_ID, &["--quote", "none"]], &[], data);
    let notes = &[
        ("a", NEW_YEAR, "\"first\" in line"),
        ("b", NEW_YEAR, "\"starts a quote only"),
        ("c", NEW_YEAR, "plain"),
        ("d", NEW_YEAR, "says \"hi\""),
    ];
    brings("quote.tsv", &[NOTES], &[], notes);
    refused("quote.tsv", &[NOTES, &["--quote", "double"]], 1, &["line 2", "closing quote"], &[]);
    let quoted = &[("bolt", NOON, "first\r\nsecond, \"third\""), ("nut", NOON + 1_000, "plain")];
    brings("crlf-quoted.csv", &[&["--key", "{item}", "--time", "when", "--value", "{note}"]], &[], quoted);
}

#[test]
fn what_separates_columns_is_said_and_not_guessed() {
    refused("semicolon.csv", &[BY_ID], 2, &["no column `id`", "`id;when;v`", "--delimiter"], &[]);
    brings("semicolon.csv", &[BY_ID, &["--delimiter", ";"]], &[], &[ONE]);
    brings("sepline.csv", &[BY_ID], &[], &[ONE]);
    refused("sepline.csv", &[BY_ID, &["--delimiter", ","]], 2, &["`;`", "`,`"], &[]);
    brings("t.tsv", &[BY_K], &[], &[("a", NOON, "-")]);
    brings("t.tsv", &[BY_K, &["--format", "csv", "--delimiter", "\\t"]], &[], &[("a", NOON, "-")]);
    brings("cr-only.csv", &[BOLTS], &[], &[BOLT, ("nut", NOON, "8")]);
}

#[test]
fn names_and_rows_that_are_doubtful_are_refused() {
    refused("spacehead.csv", &[BY_ID], 2, &["no column `when`", "--trim"], &[]);
    brings("spacehead.csv", &[BY_ID, &["--trim"]], &[], &[ONE]);
    refused("duphead.csv", &[BY_ID], 1, &["columns 1 and 2", "`id`"], &[]);
    let by_v = &["--key", "{v}", "--time", "when", "--value", "{when}"];
    brings("duphead.csv", &[by_v], &[], &[("x", NOON, "2024-05-01T10:00:00Z")]);
    refused("blank-trailer.csv", &[BY_ID], 1, &["line 5, row:", "it is empty"], &[ONE]);
    let passed = &["skipped line 5, row", "1 bad lines were passed over"];
    brings("blank-trailer.csv", &[BY_ID, &["--skip-bad"]], passed, &[ONE]);
}

#[test]
fn times_mean_what_they_say() {
    let named = &["--time-format", "%Y-%m-%d %H:%M:%S %Q"];
    brings("iana.csv", &[BY_K, named], &[], &[("a", NOON, "-")]);
    refused("iana.csv", &[BY_K], 1, &["line 2, time:", "--time-format"], &[]);
    refused("epoch.csv", &[BY_K], 1, &["look like seconds", "--time-unit s", "1970"], &[]);
    brings("epoch.csv", &[BY_K, &["--time-unit", "s"]], &[], &[("a", NOON, "-")]);
    brings("epoch.csv", &[BY_K, &["--time-unit", "ms"]], &[], &[("a", 1_714_557_600, "-")]);
    brings("epoch.csv", &[BY_K, &["--time-format", "%s"]], &[], &[("a", NOON, "-")]);
    refused("fold.csv", &[BY_K], 1, &["line 2", "no offset", "--time-zone"], &[]);
    let berlin = &["--time-zone", "Europe/Berlin"];
    refused("fold.csv", &[BY_K, berlin], 1, &["line 2", "Europe/Berlin", "--fold"], &[]);
    brings("fold.csv", &[BY_K, berlin, &["--fold", "earlier"]], &[], &[("before", 1_729_989_000_000, "-")]);
    brings("fold.csv", &[BY_K, berlin, &["--fold", "later"]], &[], &[("before", 1_729_992_600_000, "-")]);
    refused("fold.csv", &[BY_K, &["--time-zone", "Bärlin"]], 2, &["Europe/Berlin"], &[]);
    let format = &["--time-format", "%Y-%m-%d %H:%M:%S"];
    let utc = &["1 time: taken for UTC", "--time-zone"];
    brings("fold.csv", &[BY_K, format], utc, &[("before", 1_729_996_200_000, "-")]);
}

#[test]
fn several_values_in_one_moment_are_told_and_put_in_order_if_asked() {
    let zone = &["--time-zone", "UTC"];
    let both = &["1 key: several values in one moment", "--ties file-order"];
    let place = Place::new();
    let finished = import(&place, "ties.csv", &[STATES, zone]).ok();
    assert!(both.iter().all(|word| finished.stderr.contains(word)), "{}", finished.stderr);
    assert_eq!(stored(&place).len(), 2);
    let ordered = &[("x", NOON, "done"), ("x", NOON + 1, "half")];
    let moved = &["1 record: put later, by 1 ms at most, for 1 key"];
    brings("ties.csv", &[STATES, zone, &["--ties", "file-order"]], moved, ordered);
}

#[test]
fn an_array_of_objects_is_as_good_as_lines() {
    brings("array.json", &[], &[], &[("a1", NOON, "1"), ("a2", NOON, "2")]);
    refused("array.json", &[BOLTS], 2, &["--key is for columns", "JSON"], &[]);
    refused("bom.jsonl", &[&["--time-format", "%s"]], 2, &["--time-format"], &[]);
}

#[test]
fn packed_files_are_whole_or_refused() {
    brings("multi.jsonl.gz", &[], &[], &[("m1", NOON, "1"), ("m2", NOON, "2")]);
    refused("badcrc.jsonl.gz", &[], 1, &["the gzip file is damaged"], &[("bc", NOON, "1")]);
    let place = Place::new();
    import(&place, "cut.jsonl.gz", &[]).fails(1, &["the gzip file ends in the middle", "are stored"]);
    assert!(stored(&place).len() > 1_000);
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_refused() {
    let place = Place::new();
    let csv = std::fs::read(repository().join("tests/data/files/bom.csv")).expect("it is read");
    for (name, content, said) in [
        ("plain.csv.gz", &csv[..], "its name says gzip"),
        ("zip.csv", b"PK\x03\x04....", "zip archive"),
        ("empty.csv", b"", "the file is empty"),
        ("sixteen.csv", b"i\0t\0", "utf-16le"),
    ] {
        let file = place.file(name, content);
        place.run(&[&["import", &file], BOLTS].concat()).fails(1, &[said]);
        assert!(!place.data().exists(), "{name} has made a store");
    }
    let missing = place.directory.path().join("missing.csv");
    place.run(&[&["import", missing.to_str().expect("a text")], BOLTS].concat()).fails(1, &["cannot read"]);
    assert!(!place.data().exists());
}

#[test]
fn a_dry_run_shows_the_first_events_and_stores_nothing() {
    let place = Place::new();
    let rows: String = (0..25).map(|row| format!("k{row},2024-05-01T10:00:00Z,v{row}\n")).collect();
    let file = place.file("rows.csv", format!("id,when,v\n{rows}"));
    let flags = &["--dry-run", "-o", "jsonl"];
    let finished = place.run(&[&["import", &file], BY_ID, flags].concat()).ok();
    let shown: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(shown.len(), 10);
    assert!(shown[0].starts_with(r#"{"key":"k0","value":"v0","timestamp":1714557600000"#), "{}", shown[0]);
    assert!(finished.stderr.contains("25 events would be imported"), "{}", finished.stderr);
    assert!(!place.data().exists());
}

#[test]
fn rows_may_delete_and_values_may_be_json() {
    let place = Place::new();
    let file = place
        .file("log.csv", "k,when,state,n\na,2024-05-01T10:00:00Z,up,1\na,2024-05-01T10:00:01Z,removed,2\n");
    let flags =
        ["--key", "{k}", "--time", "when", "--value", r#"{{"n":{n}}}"#, "--delete-if", "state=removed"];
    place.run(&[&["import", &file], &flags[..]].concat()).ok();
    place.run(&["get", "a"]).fails(3, &[]);
    assert_eq!(place.run(&["get", "a", "--at", "2024-05-01T10:00:00Z"]).ok().stdout, r#"{"n":1}"#);
    let unknown = [&["import", &file], &flags[..6], &["--delete-if", "gone=1"]].concat();
    place.run(&unknown).fails(2, &["--delete-if", "no column `gone`"]);
}

/// An exported table keeps all delimiters and quotes when it is imported; an export refuses bytes that are not text.
#[test]
fn a_table_that_is_exported_can_be_imported() {
    let (place, copy) = (Place::new(), Place::new());
    for (key, value, at) in [("a", "one, \"two\"\nthree", "1000"), ("b", "", "2000"), ("é;", " x ", "3000")]
    {
        place.run(&["put", key, value, "--at", at]).ok();
    }
    place.run(&["delete", "a"]).ok();
    let file = copy.directory.path().join("all.csv.gz");
    let file = file.to_str().expect("a text");
    place.run(&["export", file]).ok();
    let columns =
        ["--key", "{key}", "--time", "timestamp", "--value", "{value}", "--delete-if", "deleted=true"];
    copy.run(&[&["import", file, "--time-unit", "ms"], &columns[..]].concat()).ok();
    let lines = |place: &Place| place.run(&["export", "-"]).ok().stdout;
    assert_eq!(lines(&copy), lines(&place));
    place.run(&["put", "ff", "00ff", "--hex"]).ok();
    place.run(&["export", "--format", "csv"]).fails(1, &["no text", "jsonl"]);
}

/// A test here uses each file of the directory.
#[test]
fn no_file_is_forgotten() {
    let text = include_str!("files.rs");
    for entry in std::fs::read_dir(repository().join("tests/data/files")).expect("it is there") {
        let name = entry.expect("it is read").file_name().into_string().expect("a text");
        assert!(text.contains(&format!("\"{name}\"")), "{name} is in no test");
        assert!(Path::new(&name).extension().is_some());
    }
}
