//! The promise: every verb works on a data directory to the byte, because scripts rely
//! on it: standard output, exit codes, names in JSON, and the precedence of settings.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{
    ENGINES, Finished, WEEK_EVENTS, WEEK_KEYS, WEEK_ROOT, aevrion, run_on, run_with_input, sample, status,
};
use serde_json::{Value, json};

/// A data directory of its own.
struct Store {
    place: tempfile::TempDir,
}

impl Store {
    fn new(engine: &str) -> Self {
        let store = Self { place: tempfile::tempdir().expect("a directory") };
        // An import without events makes an empty store.
        store.run(&["import", "/dev/null", "--store", engine]).ok();
        store
    }

    /// With two keys and their histories: a value, a later one, a deletion, all long ago.
    fn with_history(engine: &str) -> Self {
        let store = Self::new(engine);
        for (key, value, at) in
            [("plane:a", "one", 1_000), ("plane:a", "two", 2_000), ("plane:b", "bee", 1_500)]
        {
            store.run(&["put", key, value, "--at", &at.to_string()]).ok();
        }
        store.run(&["put", "tower", "high", "--at", "1700"]).ok();
        store
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn beside(&self, name: &str) -> String {
        self.place.path().join(name).into_os_string().into_string().expect("the path is UTF-8")
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run_on(&self.data(), arguments)
    }

    fn bytes(&self, arguments: &[&str]) -> Output {
        aevrion().args(arguments).arg("--data").arg(self.data()).output().expect("the binary starts")
    }

    fn keys(&self, arguments: &[&str]) -> Vec<String> {
        let lines = self.run(&[&["scan", "-o", "jsonl"], arguments].concat()).ok().json_lines();
        lines.iter().map(|line| line["key"].as_str().expect("keys are text").to_owned()).collect()
    }
}

#[track_caller]
fn hex_of_64(value: &Value) -> &str {
    let text = value.as_str().expect("a text");
    assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    text
}

#[track_caller]
fn names(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

// ---- put, get, delete ----

#[test]
fn a_value_comes_back_as_it_went_in() {
    for engine in ENGINES {
        let store = Store::new(engine);
        let put = store.run(&["put", "user:1", "Ada Lovelace"]).ok();
        let (timestamp, id) = put.stdout.trim_end().split_once('-').expect("timestamp-id");
        assert!(timestamp.parse::<u64>().is_ok() && id.len() == 64, "{}", put.stdout);
        assert_eq!(
            store.bytes(&["get", "user:1"]).stdout,
            b"Ada Lovelace",
            "no newline away from a terminal"
        );
        assert!(store.run(&["get", "user:1"]).ok().stderr.is_empty());

        let put = store.run(&["put", "user:1", "", "-o", "json"]).ok().json();
        assert_eq!(names(&put), ["timestamp", "id"]);
        hex_of_64(&put["id"]);
        assert_eq!(store.run(&["get", "user:1"]).ok().stdout, "", "an empty value is a value");

        store.run(&["put", "user:1", "-5"]).ok();
        assert_eq!(store.run(&["get", "user:1"]).ok().stdout, "-5");
        store.run(&["delete", "user:1"]).ok();
        store.run(&["get", "user:1"]).fails(3, &["user:1", "no value"]);
        store.run(&["get", "nobody"]).fails(3, &["nobody"]);
        assert_eq!(store.bytes(&["get", "nobody"]).stdout, b"");
        store.run(&["verify"]).ok();
    }
}

#[test]
fn bytes_of_every_kind_go_through_standard_input() {
    for engine in ENGINES {
        let store = Store::new(engine);
        let every_byte: Vec<u8> = (0..=255).collect();
        for bytes in [every_byte.repeat(40), b"line\n".to_vec(), Vec::new()] {
            run_with_input(&store.data(), &["put", "binary", "-"], &bytes).ok();
            assert_eq!(store.bytes(&["get", "binary"]).stdout, bytes);
        }
        store.run(&["put", "00ff", "fe00", "--hex"]).ok();
        assert_eq!(store.bytes(&["get", "00ff", "--hex"]).stdout, [0xFE, 0x00]);
        assert_eq!(store.bytes(&["get", "AP8=", "--base64"]).stdout, [0xFE, 0x00]);
        store.run(&["put", "AP8=", "AQI=", "--base64"]).ok();
        assert_eq!(store.bytes(&["get", "00FF", "--hex"]).stdout, [1, 2]);
        store.run(&["delete", "00ff", "--hex"]).ok();
        store.run(&["get", "00ff", "--hex"]).fails(3, &[]);
    }
}

#[test]
fn a_value_with_a_time_to_live_expires() {
    for engine in ENGINES {
        let store = Store::new(engine);
        store.run(&["put", "k", "lasting", "--at", "1000"]).ok();
        store.run(&["put", "k", "short", "--at", "2000", "--ttl", "3s"]).ok();
        for (at, value) in [("1999", "lasting"), ("2000", "short"), ("4999", "short")] {
            assert_eq!(store.run(&["get", "k", "--at", at]).ok().stdout, value);
        }
        store.run(&["get", "k", "--at", "5000"]).fails(3, &[]);
        store.run(&["get", "k"]).fails(3, &[]);
        let history = store.run(&["history", "k", "-o", "json"]).ok().json();
        assert_eq!(history[1]["expires_at"], 5_000);
        assert_eq!(history[0].get("expires_at"), None);
        store.run(&["put", "k", "now", "--ttl", "1h"]).ok();
        assert_eq!(store.run(&["get", "k"]).ok().stdout, "now");
    }
}

#[test]
fn reads_are_at_a_time_in_any_spelling() {
    for engine in ENGINES {
        let store = Store::new(engine);
        store.run(&["put", "k", "old", "--at", "1372939200000"]).ok();
        store.run(&["put", "k", "new"]).ok();
        for at in ["1372939200000", "2013-07-04T12:00:00Z", "2013-07-04T14:00:00+02:00", "15m", "1day"] {
            assert_eq!(store.run(&["get", "k", "--at", at]).ok().stdout, "old", "{at}");
        }
        for at in ["1372939199999", "2013-07-04T11:59:59.999Z"] {
            store.run(&["get", "k", "--at", at]).fails(3, &[]);
        }
        assert_eq!(store.run(&["get", "k", "--at", "0s"]).ok().stdout, "new");
        // An event from the future is stored, and is visible from its timestamp on.
        store.run(&["put", "k", "later", "--at", "9000000000000"]).ok();
        assert_eq!(store.run(&["get", "k"]).ok().stdout, "new");
        assert_eq!(store.run(&["get", "k", "--at", "9000000000000"]).ok().stdout, "later");
        assert_eq!(status(&store.data())["events"], 3);
    }
}

// ---- history, scan ----

#[test]
fn a_history_has_every_version_in_either_order() {
    for engine in ENGINES {
        let store = Store::with_history(engine);
        store.run(&["delete", "plane:a"]).ok();
        let values = |arguments: &[&str]| -> Vec<Value> {
            let lines =
                store.run(&[&["history", "plane:a", "-o", "jsonl"], arguments].concat()).ok().json_lines();
            lines.iter().map(|line| line["value"].clone()).collect()
        };
        assert_eq!(values(&[]), [json!("one"), json!("two"), Value::Null]);
        assert_eq!(values(&["--reverse"]), [Value::Null, json!("two"), json!("one")]);
        assert_eq!(values(&["--limit", "2"]), [json!("one"), json!("two")]);
        assert_eq!(values(&["--reverse", "--limit", "1"]), [Value::Null]);
        assert_eq!(values(&["--at", "1999"]), [json!("one")]);
        assert_eq!(values(&["--limit", "0"]), Vec::<Value>::new());
        assert_eq!(store.run(&["history", "nobody", "-o", "json"]).ok().stdout, "[]\n");
    }
}

#[test]
fn a_scan_lists_keys_in_byte_order() {
    for engine in ENGINES {
        let store = Store::with_history(engine);
        assert_eq!(store.keys(&[]), ["plane:a", "plane:b", "tower"]);
        assert_eq!(store.keys(&["plane:"]), ["plane:a", "plane:b"]);
        assert_eq!(store.keys(&["plane:b"]), ["plane:b"]);
        assert_eq!(store.keys(&["nobody"]), Vec::<String>::new());
        assert_eq!(store.keys(&["--limit", "2"]), ["plane:a", "plane:b"]);
        assert_eq!(store.keys(&["--from", "plane:b"]), ["plane:b", "tower"]);
        assert_eq!(store.keys(&["--to", "plane:b"]), ["plane:a"], "the end is not part of it");
        assert_eq!(store.keys(&["--from", "plane:b", "--to", "tower"]), ["plane:b"]);
        assert_eq!(store.keys(&["--at", "1500"]), ["plane:a", "plane:b"]);
        assert_eq!(store.keys(&["--at", "999"]), Vec::<String>::new());
        store.run(&["scan", "plane:", "--from", "a"]).fails(2, &["--from"]);
        store.run(&["delete", "plane:b"]).ok();
        assert_eq!(store.keys(&["plane:"]), ["plane:a"]);
    }
}

#[test]
fn prefixes_and_bounds_may_be_bytes() {
    for engine in ENGINES {
        let store = Store::new(engine);
        for key in ["00", "0000", "0001", "01", "ff", "ffff"] {
            store.run(&["put", key, "AA", "--hex"]).ok();
        }
        let count = |arguments: &[&str]| {
            let found = store.run(&[&["scan", "--hex", "-o", "jsonl"], arguments].concat()).ok();
            found.stdout.lines().count()
        };
        assert_eq!(count(&[]), 6);
        assert_eq!(count(&["00"]), 3);
        assert_eq!(count(&["ff"]), 2);
        assert_eq!(count(&["--from", "0001"]), 4);
        assert_eq!(count(&["--to", "0001"]), 2);
    }
}

#[test]
fn a_listing_of_many_pages_is_whole() {
    for engine in ENGINES {
        let store = Store::new(engine);
        let line =
            |n: u64| format!("{{\"key\":\"k{:05}\",\"value\":{n},\"timestamp\":{}}}\n", n % 9_000, 1_000 + n);
        let file = store.beside("many.jsonl");
        fs::write(&file, (0..18_000).map(line).collect::<String>()).expect("it is written");
        store.run(&["import", &file]).ok();
        let keys = store.keys(&[]);
        assert_eq!(keys.len(), 9_000);
        assert!(keys.is_sorted());
        assert_eq!(store.keys(&["--limit", "5000"]), keys[..5_000]);
        let line = |n: u64| format!("{{\"key\":\"one\",\"value\":{n},\"timestamp\":{}}}\n", 1_000 + n);
        fs::write(&file, (0..9_000).map(line).collect::<String>()).expect("it is written");
        store.run(&["import", &file]).ok();
        let times: Vec<u64> = store
            .run(&["history", "one", "-o", "jsonl"])
            .ok()
            .json_lines()
            .iter()
            .map(|line| line["timestamp"].as_u64().expect("a number"))
            .collect();
        assert_eq!(times, (1_000..10_000).collect::<Vec<_>>());
    }
}

// ---- Output ----

#[test]
fn json_has_the_names_that_others_script_against() {
    for engine in ENGINES {
        let store = Store::new(engine);
        store.run(&["put", "text", "value", "--at", "1000", "--ttl", "1day"]).ok();
        run_with_input(&store.data(), &["put", "text", "-", "--at", "2000"], b"\xFF\x00").ok();
        store.run(&["put", "ff", "00", "--hex", "--at", "3000"]).ok();
        store.run(&["delete", "text"]).ok();

        let history = store.run(&["history", "text", "-o", "json"]).ok().json();
        assert_eq!(names(&history[0]), ["key", "value", "timestamp", "id", "expires_at"]);
        assert_eq!(names(&history[1]), ["key", "value_base64", "timestamp", "id"]);
        assert_eq!(names(&history[2]), ["key", "value", "timestamp", "id"]);
        assert_eq!(history[0]["value"], "value");
        assert_eq!(
            (&history[0]["timestamp"], &history[0]["expires_at"]),
            (&json!(1_000), &json!(86_401_000))
        );
        assert_eq!(history[1]["value_base64"], "/wA=");
        assert_eq!(history[2]["value"], Value::Null);
        hex_of_64(&history[0]["id"]);

        let scan = store.run(&["scan", "-o", "jsonl"]).ok().json_lines();
        assert_eq!(names(&scan[0]), ["key_base64", "value", "timestamp", "id"]);
        assert_eq!((&scan[0]["key_base64"], &scan[0]["value"]), (&json!("/w=="), &json!("\0")));
        let lines = store.run(&["history", "text", "-o", "jsonl"]).ok().json_lines();
        assert_eq!(Value::Array(lines), history, "the same objects, a line each");
    }
}

#[test]
fn tables_and_raw_values_are_for_people_and_pipes() {
    for engine in ENGINES {
        let store = Store::with_history(engine);
        let table = store.run(&["scan"]).ok().stdout;
        let lines: Vec<_> = table.lines().collect();
        assert!(
            lines[0].starts_with("TIME") && lines[0].contains("KEY") && lines[0].ends_with("VALUE"),
            "{table}"
        );
        assert!(lines[1].starts_with("1970-01-01T00:00:02.000Z") && lines[1].ends_with("two"), "{table}");
        assert_eq!(lines.len(), 4);
        assert_eq!(store.run(&["scan", "-o", "table"]).ok().stdout, table);
        assert_eq!(store.run(&["scan", "-o", "raw"]).ok().stdout, "two\nbee\nhigh\n");
        assert_eq!(store.run(&["scan", "-o", "xml"]).fails(2, &["xml", "jsonl"]).stdout, "");
        let empty = store.run(&["scan", "nobody"]).ok();
        assert_eq!((empty.stdout.as_str(), empty.stderr.trim_end()), ("", "nothing there"));
        assert_eq!(store.run(&["scan", "nobody", "-o", "jsonl"]).ok().stdout, "");
    }
}

#[test]
fn status_says_what_the_page_promises() {
    for engine in ENGINES {
        let store = Store::with_history(engine);
        let status = store.run(&["status", "-o", "json"]).ok().json();
        for name in ["node_id", "events", "keys", "root", "store", "transport", "read_only"] {
            assert!(status.get(name).is_some(), "`{name}` is not in {status}");
        }
        hex_of_64(&status["node_id"]);
        hex_of_64(&status["root"]);
        assert_eq!((&status["events"], &status["keys"]), (&json!(4), &json!(3)));
        assert_eq!((&status["store"], &status["read_only"]), (&json!(engine), &json!(false)));
        let again = store.run(&["status", "-o", "json"]).ok().json();
        assert_eq!(again["node_id"], status["node_id"], "the identity stays");
        assert!(store.run(&["status"]).ok().stdout.contains(hex_of_64(&status["root"])));

        let verified = store.run(&["verify", "-o", "json"]).ok().json();
        assert_eq!((&verified["clean"], &verified["root"]), (&json!(true), &status["root"]));
        assert!(store.run(&["rebuild"]).ok().stdout.contains(hex_of_64(&status["root"])));
        assert_eq!(Store::new(engine).run(&["status", "-o", "json"]).ok().json()["root"], "0".repeat(64));
    }
}

// ---- import, export ----

#[test]
fn an_export_makes_the_same_store_elsewhere() {
    for engine in ENGINES {
        let store = Store::new(engine);
        store.run(&["import", sample().to_str().expect("a text")]).ok();
        store.run(&["put", "00ff", "ff00", "--hex"]).ok();
        store.run(&["put", "future", "x", "--at", "9000000000000", "--ttl", "1h"]).ok();
        store.run(&["delete", "future"]).ok();
        // JSON escapes a zero with six bytes: lines may be much longer than values.
        run_with_input(&store.data(), &["put", "zeros", "-"], &vec![0; 7 << 20]).ok();
        let root = status(&store.data())["root"].clone();
        let (plain, zipped) = (store.beside("all.jsonl"), store.beside("all.jsonl.gz"));
        store.run(&["export", &plain]).ok();
        store.run(&["export", &zipped]).ok();
        let piped = store.bytes(&["export"]).stdout;
        assert_eq!(fs::read(&plain).expect("it was written"), piped);
        assert!(fs::read(&zipped).expect("it was written").starts_with(&[0x1F, 0x8B]));
        let to_pipe = store.bytes(&["export", "-"]).stdout;
        assert_eq!(to_pipe, piped);
        for other in ENGINES {
            for file in [&plain, &zipped] {
                let copy = Store::new(other);
                copy.run(&["import", file]).ok();
                assert_eq!(status(&copy.data())["root"], root, "{engine} to {other}");
                copy.run(&["verify"]).ok();
            }
        }
        let times = piped.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
            let line: Value = serde_json::from_slice(line).expect("every line is JSON");
            line["timestamp"].as_u64().expect("a number")
        });
        assert!(times.is_sorted(), "an export is in the order of time");
    }
}

#[test]
fn an_export_that_fails_leaves_no_file() {
    let store = Store::with_history(ENGINES[0]);
    let nowhere = store.beside("no-such-directory/all.jsonl");
    store.run(&["export", &nowhere]).fails(1, &["cannot write", "no-such-directory"]);
}

#[test]
fn an_export_is_for_whom_the_user_lets_read() {
    use std::os::unix::fs::PermissionsExt;
    let store = Store::with_history(ENGINES[0]);
    for (umask, mode) in [("077", 0o600), ("022", 0o644)] {
        let file = store.beside("mine.jsonl");
        let line =
            format!("umask {umask}; exec {} export \"$1\" --data \"$2\"", env!("CARGO_BIN_EXE_aevrion"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &line, "sh", &file]).arg(store.data());
        Finished::from(shell.output().expect("it starts")).ok();
        let found = fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(found & 0o777, mode, "{umask}");
    }
}

#[test]
fn an_import_can_be_repeated_and_says_what_was_new() {
    for engine in ENGINES {
        let store = Store::new(engine);
        let file = sample();
        let file = file.to_str().expect("a text");
        let first = store.run(&["import", file]).ok().stderr;
        assert!(first.contains("12,150 events imported, 0 were stored already"), "{first}");
        let second = store.run(&["import", file]).ok().stderr;
        assert!(second.contains("0 events imported, 12,150 were stored already"), "{second}");
        let third = run_with_input(&store.data(), &["import", "-"], &fs::read(file).expect("it can be read"));
        assert!(third.ok().stderr.contains("0 events imported, 12,150 were stored already"));
        let status = status(&store.data());
        assert_eq!(status["root"], WEEK_ROOT);
        assert_eq!((&status["events"], &status["keys"]), (&json!(WEEK_EVENTS), &json!(WEEK_KEYS)));
        store.run(&["verify"]).ok();
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let store = Store::new(ENGINES[0]);
    store.run(&["import", sample().to_str().expect("a text")]).ok();
    for arguments in [&["scan", "-o", "jsonl"][..], &["scan"], &["export"], &["scan", "-o", "raw"]] {
        let mut command = aevrion();
        command.args(arguments).arg("--data").arg(store.data());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut line = String::new();
        let mut stdout = BufReader::with_capacity(64, child.stdout.take().expect("it has an output"));
        stdout.read_line(&mut line).expect("it prints");
        drop(stdout);
        let finished: Finished = child.wait_with_output().expect("it ends").into();
        assert_eq!(finished.ok().stderr, "", "{arguments:?}");
    }
    store.run(&["verify"]).ok();
}

// ---- The command line itself ----

#[test]
fn completions_and_the_manual_are_printed_without_a_store() {
    for shell in ["bash", "zsh", "fish"] {
        let finished: Finished =
            aevrion().args(["completions", shell]).output().expect("the binary starts").into();
        let script = finished.ok().stdout;
        for word in ["aevrion", "import", "rebuild", "granularity"] {
            assert!(script.contains(word), "{shell}: `{word}` is not in the script");
        }
    }
    let finished: Finished = aevrion().args(["completions", "cmd"]).output().expect("it starts").into();
    finished.fails(2, &["bash", "zsh", "fish"]);
    let finished: Finished = aevrion().arg("man").output().expect("the binary starts").into();
    let manual = finished.ok().stdout;
    for word in [".TH aevrion", "import", "verify", "--granularity", ".SH"] {
        let word = word.replace('-', "\\-");
        assert!(manual.contains(&word), "`{word}` is not in the manual");
    }
}

#[test]
fn help_names_every_verb_and_the_exit_codes() {
    let finished: Finished = aevrion().arg("--help").output().expect("the binary starts").into();
    let help = finished.ok().stdout;
    let verbs = [
        "put", "get", "delete", "history", "scan", "watch", "import", "export", "status", "verify",
        "rebuild", "serve",
    ];
    for word in
        verbs.iter().chain(&["Exit codes", "6 unreachable", "7 integrity failure", "TIME is", "--endpoint"])
    {
        assert!(help.contains(word), "`{word}` is not in the help");
    }
    for verb in verbs {
        let finished: Finished = aevrion().args([verb, "--help"]).output().expect("it starts").into();
        finished.ok();
    }
    let version: Finished = aevrion().arg("--version").output().expect("it starts").into();
    assert_eq!(version.ok().stdout, format!("aevrion {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(unix)]
#[test]
fn an_export_goes_into_what_is_there() {
    let store = Store::with_history(ENGINES[0]);
    let [pipe, file, link] = ["pipe", "file", "link"].map(|name| store.beside(name));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it starts").success());
    fs::write(&file, "old").expect("it is written");
    std::os::unix::fs::symlink(&file, &link).expect("it is made");
    let from = pipe.clone();
    let reader = std::thread::spawn(move || fs::read_to_string(from).expect("it is read"));
    store.run(&["export", &pipe]).ok();
    let through_pipe = reader.join().expect("it ends");
    assert_eq!(through_pipe.lines().count(), 4);
    store.run(&["export", &link]).ok();
    assert_eq!(fs::read_to_string(&file).expect("it is there"), through_pipe);
    assert!(PathBuf::from(link).is_symlink() && !PathBuf::from(pipe).is_file(), "each is what it was");
}

#[test]
fn pipes_get_no_escape_codes() {
    let store = Store::with_history(ENGINES[0]);
    store.run(&["delete", "tower"]).ok();
    let calls: [&[&str]; 7] = [
        &["scan"],
        &["history", "tower"],
        &["status"],
        &["verify"],
        &["rebuild"],
        &["get", "tower"],
        &["--help"],
    ];
    for arguments in calls {
        for no_color in [None, Some("1")] {
            let mut command = aevrion();
            command.args(arguments).arg("--data").arg(store.data());
            no_color.map(|value| command.env("NO_COLOR", value));
            let output = command.output().expect("the binary starts");
            let codes = [output.stdout, output.stderr].concat().contains(&0x1B);
            assert!(!codes, "{arguments:?} printed escape codes");
        }
    }
}

#[test]
fn control_characters_of_a_value_do_not_reach_the_terminal() {
    let store = Store::new(ENGINES[0]);
    run_with_input(&store.data(), &["put", "k", "-"], b"\x1b[31mred\x07").ok();
    let table = store.run(&["scan"]).ok().stdout;
    assert!(!table.contains('\x1b') && !table.contains('\x07'), "{table:?}");
    assert_eq!(store.bytes(&["get", "k"]).stdout, b"\x1b[31mred\x07", "get gives the raw value");
}

#[test]
fn an_interrupted_import_says_so_and_keeps_what_it_stored() {
    use std::io::Write;
    for engine in ENGINES {
        let store = Store::new(engine);
        let mut command = aevrion();
        command.args(["import", "-", "--data"]).arg(store.data());
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it has an input");
        let line = |n: u64| format!("{{\"key\":\"k{n}\",\"value\":{n},\"timestamp\":{}}}\n", 1_000 + n);
        // More than fits in the pipe and in a batch: once it is taken, the import is running.
        stdin.write_all((0..50_000).map(line).collect::<String>().as_bytes()).expect("it reads");
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it is there");
        // The input stays open: only the signal ends the import.
        let finished: Finished = child.wait_with_output().expect("it ends").into();
        finished.fails(130, &["interrupted"]);
        drop(stdin);
        store.run(&["verify"]).ok();
    }
}

// ---- Settings ----

/// The granularity of the store that a run opened; it tells the stores apart.
fn granularity(command: &mut Command) -> u64 {
    let finished: Finished = command.args(["status", "-o", "json"]).output().expect("it starts").into();
    finished.ok().json()["granularity_ms"].as_u64().expect("a number")
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let place = tempfile::tempdir().expect("a directory");
    let at = |name: &str| place.path().join(name);
    fs::write(at("settings.toml"), format!("data = {:?}\ngranularity = 1000\n", at("of-the-file")))
        .expect("it is written");

    let make = |command: &mut Command| {
        let finished: Finished = command.args(["import", "/dev/null"]).output().expect("it starts").into();
        finished.ok();
    };
    make(aevrion().arg("--config").arg(at("settings.toml")));
    assert_eq!(granularity(aevrion().arg("--config").arg(at("settings.toml"))), 1_000);
    assert_eq!(granularity(aevrion().arg("--data").arg(at("of-the-file"))), 1_000);
    let mut with_all = aevrion();
    with_all.env("AEVRION_CONFIG", at("settings.toml")).env("AEVRION_DATA", at("of-the-environment"));
    make(with_all.env("AEVRION_GRANULARITY", "2000"));
    assert_eq!(granularity(aevrion().env("AEVRION_DATA", at("of-the-environment"))), 2_000);
    let mut with_flags = aevrion();
    with_flags.env("AEVRION_CONFIG", at("settings.toml")).env("AEVRION_DATA", at("of-the-environment"));
    with_flags.env("AEVRION_GRANULARITY", "2000").args(["--granularity", "3000", "--data"]);
    make(with_flags.arg(at("of-a-flag")));
    assert_eq!(granularity(aevrion().arg("--data").arg(at("of-a-flag"))), 3_000);
}

#[test]
fn the_format_can_be_set_for_good() {
    let store = Store::with_history(ENGINES[0]);
    let mut command = aevrion();
    command.env("AEVRION_OUTPUT", "raw").arg("scan").arg("--data").arg(store.data());
    let finished: Finished = command.output().expect("it starts").into();
    assert_eq!(finished.ok().stdout, "two\nbee\nhigh\n");
    let config = store.beside("settings.toml");
    fs::write(&config, "output = \"jsonl\"\n").expect("it is written");
    assert_eq!(store.run(&["scan", "--config", &config]).ok().json_lines().len(), 3);
    assert_eq!(store.run(&["scan", "--config", &config, "-o", "raw"]).ok().stdout, "two\nbee\nhigh\n");
}

#[cfg(feature = "memory")]
#[test]
fn only_who_asks_for_memory_on_the_command_line_gets_it() {
    let run = |arguments: &[&str], variables: &[(&str, &str)]| -> Finished {
        let mut command = aevrion();
        command.env_remove("AEVRION_ENDPOINT").envs(variables.iter().copied());
        command.args(arguments).output().expect("it starts").into()
    };
    run(&["put", "k", "v", "--store", "memory"], &[]).ok();
    run(&["get", "k", "--store", "memory"], &[]).fails(3, &[]);
    let place = tempfile::tempdir().expect("a directory");
    run_on(&place.path().join("data"), &["put", "k", "v", "--store", "memory"])
        .fails(2, &["keeps nothing", "--data"]);
    // With a node configured, a write must not go to a store that keeps nothing.
    let node = ("AEVRION_ENDPOINT", "http://127.0.0.1:1");
    run(&["put", "k", "v", "--store", "memory"], &[node]).fails(2, &["keeps nothing", "--endpoint"]);
    run(&["put", "k", "v"], &[node, ("AEVRION_STORE", "memory")]).fails(6, &["nothing answers"]);
    let config = place.path().join("settings.toml");
    fs::write(&config, "store = \"memory\"\nendpoint = \"http://127.0.0.1:1\"\n").expect("it is written");
    run(&["put", "k", "v", "--config", config.to_str().expect("UTF-8")], &[]).fails(6, &["nothing answers"]);
}
