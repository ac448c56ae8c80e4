//! The promise: bad input is refused with the line, the field and the remedy, and leaves nothing half-written behind.

use std::io::Write;
use std::process::Stdio;

use crate::support::place::{GOOD, Place};
use crate::support::{Finished, aevrion, run_with_input, status};
use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The largest value that a store takes unless told otherwise.
const LARGEST: usize = 16 << 20;

const GOOD_LATER: &str = "{\"key\":\"k\",\"value\":\"w\",\"timestamp\":1700000000001}\n";

fn zipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes it")
}

// ---- Lines of JSON ----

/// A bad line between two good ones, the field of its error, and further words of the message.
const BAD_LINES: &[(&str, &str, &[&str])] = &[
    (r#"{"key":"","value":1,"timestamp":1}"#, "key", &["empty", "at least one byte"]),
    (r#"{"value":1,"timestamp":1}"#, "key", &["missing", "key_base64"]),
    (r#"{"key":"a","key_base64":"YQ==","value":1,"timestamp":1}"#, "key", &["twice"]),
    (r#"{"key_base64":"*","value":1,"timestamp":1}"#, "key_base64", &["not base64"]),
    (r#"{"key":"__aevrion/x","value":1,"timestamp":1}"#, "key", &["system's own", "choose another"]),
    (r#"{"key":"a","timestamp":1}"#, "value", &["missing", "null deletes"]),
    (r#"{"key":"a","value_base64":"=","timestamp":1}"#, "value_base64", &["not base64"]),
    (r#"{"key":"a","value":1}"#, "timestamp", &["missing", "milliseconds since 1970"]),
    (r#"{"key":"a","value":1,"timestamp":-5}"#, "timestamp", &["-5", "negative", "1970"]),
    (r#"{"key":"a","value":1,"timestamp":1.5}"#, "timestamp", &["1.5", "whole number", "milliseconds"]),
    (r#"{"key":"a","value":1,"timestamp":"17"}"#, "timestamp", &["text", "without quotes"]),
    (r#"{"key":"a","value":1,"timestamp":18446744073709551616}"#, "timestamp", &["18446744073709551615"]),
    (r#"{"key":"a","value":1,"timestamp":null}"#, "timestamp", &["milliseconds"]),
    (r#"{"key":"a","value":null,"timestamp":1,"expires_at":9}"#, "expires_at", &["leave it out"]),
    (r#"{"key":"a","value":1,"timestamp":1,"id":"beef"}"#, "id", &["was changed"]),
    (r#"{"key":"a","value":1,"timestamp":1,"ttl":60}"#, "line", &["unknown field", "ttl"]),
    (r#"{"key":"a","key":"b","value":1,"timestamp":1}"#, "line", &["duplicate", "key"]),
    (r#"{"key":"a","value":1,"timestamp":1,"timestamp":2}"#, "line", &["duplicate", "timestamp"]),
    (r#"{"key":"a","value":1,"timestamp":1"#, "line", &["not valid JSON", "column"]),
    (r#"{"key":"a","value":1,"timestamp":1} more"#, "line", &["not valid JSON"]),
    (r#"["a",1,1]"#, "line", &["column"]),
    ("key,value,timestamp", "line", &["not valid JSON"]),
];

#[test]
fn a_bad_line_stops_the_import_and_is_named() {
    for (line, field, words) in BAD_LINES {
        let place = Place::new();
        let file = format!("{GOOD}{line}\n{GOOD_LATER}");
        let named = format!("line 2, {field}:");
        let advice = ["1 events before it are stored", "--skip-bad", &named];
        place.import(&file, &[]).fails(1, &[&advice, *words].concat());
        place.holds(1);
        let passed = place.import(&file, &["--skip-bad"]).ok();
        for word in [&[&named[..], "1 bad lines were passed over"], *words].concat() {
            assert!(passed.stderr.contains(word), "`{word}` is not in: {}", passed.stderr);
        }
        place.holds(2);
    }
}

#[test]
fn a_key_that_is_too_long_is_named_with_both_lengths() {
    let place = Place::new();
    let line = |len| format!("{{\"key\":\"{}\",\"value\":1,\"timestamp\":1}}\n", "k".repeat(len));
    place.import(line(4_097), &[]).fails(1, &["line 1, key:", "4097 bytes", "at most 4096"]);
    place.holds(0);
    place.run(&["put", &"k".repeat(4_097), "v"]).fails(1, &["4097 bytes", "at most 4096"]);
    place.holds(0);
    place.import(line(4_096), &[]).ok();
    place.holds(1);
}

#[test]
fn a_value_that_is_too_long_is_named_with_both_lengths() {
    let place = Place::new();
    let words = ["16777217 bytes", "at most 16777216"];
    let line = |len: usize| {
        let value = base64::engine::general_purpose::STANDARD.encode(vec![0xFF; len]);
        format!("{{\"key\":\"k\",\"value_base64\":\"{value}\",\"timestamp\":1}}\n")
    };
    place.import(line(LARGEST + 1), &[]).fails(1, &["line 1, value:", words[0], words[1]]);
    place.holds(0);
    run_with_input(&place.data(), &["put", "k", "-"], &vec![0; LARGEST + 1]).fails(1, &["at most 16777216"]);
    place.holds(0);
    place.import(line(LARGEST), &[]).ok();
    run_with_input(&place.data(), &["put", "k", "-"], &vec![0; LARGEST]).ok();
    place.holds(2);
}

#[test]
fn an_empty_key_is_refused() {
    let place = Place::new();
    place.run(&["put", "", "v"]).fails(1, &["the key is empty", "at least one byte"]);
    place.run(&["delete", ""]).fails(1, &["the key is empty"]);
    place.holds(0);
}

#[test]
fn reserved_keys_are_neither_written_nor_seen() {
    let place = Place::new();
    place.run(&["put", "__aevrion/x", "v"]).fails(1, &["__aevrion/", "choose another"]);
    place.run(&["delete", "__aevrion/x"]).fails(1, &["__aevrion/"]);
    place.run(&["get", "__aevrion/x"]).fails(3, &[]);
    place.run(&["put", "__aevrion", "v"]).ok();
    place.holds(1);
}

#[test]
fn what_was_stored_before_a_bad_line_is_whole_lots_and_the_rest_of_them() {
    let place = Place::new();
    let good = |number: u64| {
        format!("{{\"key\":\"k{number}\",\"value\":{number},\"timestamp\":{}}}\n", 1_700_000_000_000 + number)
    };
    let before: String = (0..10_000).map(good).collect();
    let file = format!("{before}{{nonsense\n{}", good(10_000));
    place.import(&file, &[]).fails(1, &["line 10001, line:", "10,000 events before it are stored"]);
    place.holds(10_000);
    place.import(&file, &["--skip-bad"]).ok();
    place.holds(10_001);
}

#[test]
fn many_bad_lines_are_counted_and_not_all_printed() {
    let place = Place::new();
    let file = format!("{}{GOOD}", "nonsense\n".repeat(1_000));
    let passed = place.import(file, &["--skip-bad"]).ok();
    assert!(passed.stderr.contains("1,000 bad lines were passed over"), "{}", passed.stderr);
    assert!(passed.stderr.lines().count() < 20, "{}", passed.stderr);
    place.holds(1);
}

#[test]
fn a_line_without_end_is_refused() {
    let place = Place::new();
    let mut command = aevrion();
    command.args(["import", "-", "--skip-bad", "--data"]).arg(place.data());
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it has an input");
    for _ in 0..200 {
        stdin.write_all(&[b'x'; 1 << 20]).expect("it reads on");
    }
    stdin.write_all(format!("\n{GOOD}").as_bytes()).expect("it reads on");
    drop(stdin);
    let finished: Finished = child.wait_with_output().expect("it ends").into();
    let finished = finished.ok();
    assert!(finished.stderr.contains("line 1, line: it is longer than"), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 bad lines were passed over"), "{}", finished.stderr);
    place.holds(1);
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let place = Place::new();
    let line = [GOOD.as_bytes(), b"{\"key\":\"\xFF\xFE\",\"value\":1,\"timestamp\":1}\n"].concat();
    place
        .import(line, &[])
        .fails(1, &["line 2, line:", "not UTF-8 at byte 9", "key_base64", "1 events before it are stored"]);
    place.holds(1);
}

#[test]
fn lines_may_end_like_those_of_windows_and_be_empty() {
    let place = Place::new();
    let file = format!("{GOOD}\n{GOOD_LATER}").replace('\n', "\r\n");
    place.import(file, &[]).ok();
    place.holds(2);
    assert_eq!(place.run(&["get", "k"]).ok().stdout, "w");
    let bad = format!("\r\n{GOOD}\r\nnonsense\r\n");
    place.import(bad, &[]).fails(1, &["line 4, line:"]);
}

// ---- Units of time ----

#[test]
fn seconds_and_microseconds_are_refused_until_it_is_said() {
    for (unit, time) in [("s", 1_700_000_000_u64), ("us", 1_700_000_000_000_999)] {
        let file = format!("{{\"key\":\"k\",\"value\":\"v\",\"timestamp\":{time}}}\n");
        let place = Place::new();
        place.import(&file, &[]).fails(1, &["look like", &format!("--time-unit {unit}"), "--time-unit ms"]);
        place.holds(0);
        place.import(&file, &["--time-unit", unit]).ok();
        let history = place.run(&["history", "k", "-o", "json"]).ok().json();
        assert_eq!(history[0]["timestamp"].as_u64().map(|ms| ms / 1_000), Some(1_700_000_000));
        place.holds(1);
    }
    let place = Place::new();
    let file = "{\"key\":\"k\",\"value\":1,\"timestamp\":18446744073709551615}\n";
    place.import(file, &["--time-unit", "s"]).fails(1, &["line 1, timestamp:", "too large"]);
    place.holds(0);
}

// ---- Files ----

#[test]
fn a_truncated_gzip_file_stops_with_what_it_held() {
    let place = Place::new();
    let good = |number: u64| {
        format!("{{\"key\":\"k\",\"value\":\"{number}\",\"timestamp\":{}}}\n", 1_700_000_000_000 + number)
    };
    let text: String = (0..20_000).map(good).collect();
    let whole = zipped(text.as_bytes());
    place.import(&whole[..whole.len() / 2], &[]).fails(1, &["gzip", "cut off", "fetch it again", "line "]);
    let stored = status(&place.data())["events"].as_u64().expect("a number");
    assert!(stored > 0 && stored < 20_000, "{stored}");
    place.holds(stored);
    place.import(&whole, &[]).ok();
    place.holds(20_000);
}

#[test]
fn gzip_with_garbage_behind_it_is_reported() {
    let place = Place::new();
    let file = [&zipped(GOOD.as_bytes())[..], b"this is not gzip, and longer than a header"].concat();
    place.import(file, &[]).fails(1, &["gzip", "damaged", "1 events before it are stored"]);
    place.holds(1);
}

#[test]
fn several_gzip_members_are_one_file() {
    let place = Place::new();
    let file = [zipped(GOOD.as_bytes()), zipped(GOOD_LATER.as_bytes())].concat();
    place.import(file, &[]).ok();
    place.holds(2);
}

#[test]
fn gzip_with_a_spoilt_byte_is_reported() {
    let place = Place::new();
    let mut file = zipped(GOOD.repeat(100).as_bytes());
    let checksum = file.len() - 6;
    file[checksum] ^= 0x01;
    place.import(file, &[]).fails(1, &["gzip", "damaged"]);
    place.run(&["verify"]).ok();
}

#[test]
fn an_empty_file_brings_nothing() {
    let place = Place::new();
    assert!(place.import("", &[]).ok().stderr.contains("0 events imported"));
    assert!(place.import(zipped(b""), &[]).ok().stderr.contains("0 events imported"));
    place.holds(0);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let place = Place::new();
    place.run(&["import", "no-such-file.jsonl"]).fails(1, &["no-such-file.jsonl", "No such file"]);
    let directory = place.directory.path().to_str().expect("a text");
    place.run(&["import", directory]).fails(1, &[directory, "directory"]);
    place.holds(0);
}

// ---- CSV ----

const CSV: &str = "tail,when,state\nN1,1700000000000,up\nN2,1700000000001,down\n";

impl Place {
    fn import_csv(&self, content: &str, arguments: &[&str]) -> Finished {
        let file = self.file("input.csv", content);
        self.run(&[&["import", &file], arguments].concat())
    }
}

#[test]
fn columns_become_events() {
    let place = Place::new();
    place.import_csv(CSV, &["--key", "plane:{tail}", "--time", "when", "--value", "{state}!"]).ok();
    place.holds(2);
    assert_eq!(place.run(&["get", "plane:N2"]).ok().stdout, "down!");
    let place = Place::new();
    place.import_csv(&CSV.replace(',', ";"), &["--key", "{tail}", "--time", "when", "--delimiter", ";"]).ok();
    assert_eq!(place.run(&["get", "N1"]).ok().stdout, r#"{"tail":"N1","when":"1700000000000","state":"up"}"#);
}

#[test]
fn times_of_a_csv_file_may_be_written_in_any_way_that_is_said() {
    let place = Place::new();
    let csv = "tail,day,hour\nN1,2013-07-04,14:30\n";
    let time = ["--key", "{tail}", "--time", "{day} {hour}", "--time-format", "%Y-%m-%d %H:%M"];
    place.import_csv(csv, &time).ok();
    let history = place.run(&["history", "N1", "-o", "json"]).ok().json();
    assert_eq!(history[0]["timestamp"], 1_372_948_200_000_u64);
    place
        .import_csv(&csv.replace("14:30", "25:30"), &time)
        .fails(1, &["line 2, time:", "2013-07-04 25:30", "--time-format"]);
    place.holds(1);
    let offset = ["--key", "{tail}", "--time", "when", "--time-format", "%Y-%m-%d %H:%M %z"];
    place.import_csv("tail,when\nN2,2013-07-04 14:30 +0200\n", &offset).ok();
    let history = place.run(&["history", "N2", "-o", "json"]).ok().json();
    assert_eq!(history[0]["timestamp"], 1_372_941_000_000_u64);
}

/// A bad CSV file, its arguments, the exit code, and words of the message.
const BAD_CSV: &[(&str, &[&str], i32, &[&str])] = &[
    (CSV, &[], 2, &["--key", "--time", "such as"]),
    (CSV, &["--time", "when"], 2, &["--key"]),
    (CSV, &["--key", "{tail}"], 2, &["--time"]),
    (CSV, &["--key", "{tial}", "--time", "when"], 2, &["--key", "`tial`", "tail, when, state"]),
    (CSV, &["--key", "{tail}", "--time", "then"], 2, &["--time", "`then`", "tail, when, state"]),
    (
        CSV,
        &["--key", "{tail}", "--time", "when", "--value", "{x}"],
        2,
        &["--value", "`x`", "tail, when, state"],
    ),
    (CSV, &["--key", "plane:{tail", "--time", "when"], 2, &["--key", "plane:{tail", "brace is not closed"]),
    (CSV, &["--key", "{tail}", "--time", "when", "--delimiter", "é"], 2, &["--delimiter", "ASCII"]),
    (CSV, &["--key", "{tail}", "--time", "state"], 1, &["line 2, time:", "`up`", "--time-format"]),
    (
        "tail,when\nN1,1,2\n",
        &["--key", "{tail}", "--time", "when"],
        1,
        &["line 2, row:", "3 columns", "has 2"],
    ),
    ("tail,when\nN1\n", &["--key", "{tail}", "--time", "when"], 1, &["line 2, row:", "1 columns", "has 2"]),
    ("tail,when\nN1,\n", &["--key", "{tail}", "--time", "when"], 1, &["line 2, time:", "empty"]),
    ("tail,when\nN1,-7\n", &["--key", "{tail}", "--time", "when"], 1, &["line 2, time:", "-7 is negative"]),
    ("tail,when\nN1,1.5\n", &["--key", "{tail}", "--time", "when"], 1, &["line 2, time:", "whole number"]),
    ("tail,when\n,1\n", &["--key", "{tail}", "--time", "when"], 1, &["line 2, key:", "empty"]),
    ("", &["--key", "{tail}", "--time", "when"], 1, &["empty", "names of its columns"]),
];

#[test]
fn bad_columns_are_named() {
    for (csv, arguments, code, words) in BAD_CSV {
        let place = Place::new();
        place.import_csv(csv, arguments).fails(*code, words);
        place.holds(0);
    }
}

#[test]
fn bad_rows_can_be_passed_over() {
    let place = Place::new();
    let csv = "tail,when\nN1,1700000000000\nN2\nN3,soon\nN4,1700000000001\n";
    let passed = place.import_csv(csv, &["--key", "{tail}", "--time", "when", "--skip-bad"]).ok();
    for word in ["line 3, row:", "line 4, time:", "2 bad lines were passed over"] {
        assert!(passed.stderr.contains(word), "`{word}` is not in: {}", passed.stderr);
    }
    place.holds(2);
}

#[test]
fn a_row_without_a_key_is_no_event() {
    let place = Place::new();
    let csv = "tail,when\nN1,1700000000000\n,1700000000001\n";
    place
        .import_csv(csv, &["--key", "plane:{tail}", "--time", "when"])
        .fails(1, &["line 3", "`tail` is empty"]);
    place.holds(1);
}

#[test]
fn columns_of_one_name_are_not_thrown_away() {
    let place = Place::new();
    let csv = "a,a,when\n1,2,1700000000000\n";
    place.import_csv(csv, &["--key", "{a}", "--time", "when"]).fails(1, &["called `a`", "--value"]);
    let twice = ["--key", "{a}", "--time", "when", "--value", "v"];
    place.import_csv(csv, &twice).fails(1, &["columns 1 and 2", "`a`", "another name"]);
    place.import_csv(csv, &["--key", "{when}", "--time", "when", "--value", "v"]).ok();
    place.holds(1);
}

/// Some 120 MB behind the quote: more than any event of the store can need.
#[test]
fn a_quote_that_is_not_closed_does_not_end_up_in_memory() {
    let place = Place::new();
    let mut csv = String::from("tail,when\nN1,1700000000000\n\"N2,1700000000001\n");
    csv.push_str(&"N3,1700000000002\n".repeat(7_500_000));
    place
        .import_csv(&csv, &["--key", "{tail}", "--time", "when"])
        .fails(1, &["line 3", "too long", "the quote that is opened in line 3 is not closed"]);
    place.holds(1);
}
