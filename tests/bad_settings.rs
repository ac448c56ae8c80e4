//! The promise: an unusable directory or setting is refused with the remedy, and is left as it was.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::support::place::{GOOD, Place};
use crate::support::{ENGINES, Finished, aevrion};

// ---- Directories ----

#[test]
fn a_directory_that_is_not_a_store_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.data()).expect("a directory");
    fs::write(place.data().join("thesis.txt"), "…").expect("a file");
    place.run(&["status"]).fails(1, &["no Aevrion store", "a new or an empty directory"]);
    place.run(&["put", "k", "v"]).fails(1, &["no Aevrion store"]);
    let names: Vec<_> = fs::read_dir(place.data()).expect("it can be read").collect();
    assert_eq!(names.len(), 1, "something was written into it: {names:?}");
}

#[test]
fn a_file_is_no_directory() {
    let place = Place::new();
    fs::write(place.data(), "text").expect("a file");
    place.run(&["status"]).fails(1, &["is a file", "a directory of its own"]);
    assert_eq!(fs::read(place.data()).expect("it can be read"), b"text");
}

#[test]
fn a_store_is_opened_by_its_own_engine_only() {
    for (own, other) in [("redb", "sled"), ("sled", "redb")] {
        if !ENGINES.contains(&own) {
            eprintln!("SKIPPED: the {own} half, {own} is not built in");
            continue;
        }
        let place = Place::new();
        place.run(&["put", "k", "v", "--store", own]).ok();
        place.run(&["get", "k", "--store", other]).fails(1, &[&format!("is a {own} store"), "--store"]);
        assert_eq!(place.run(&["get", "k"]).ok().stdout, "v");
        place.holds(1);
    }
}

#[test]
fn other_parameters_are_refused_with_both_values() {
    for engine in ENGINES {
        let place = Place::new();
        place.run(&["put", "k", "v", "--store", engine]).ok();
        place.run(&["status", "--granularity", "1000"]).fails(1, &["granularity is 60000, not 1000"]);
        place.run(&["status", "--branching", "16"]).fails(1, &["branching is 32, not 16"]);
        place.run(&["status", "--granularity", "60000", "--branching", "32"]).ok();
        place.holds(1);
    }
    let place = Place::new();
    place
        .run(&["put", "k", "v", "--granularity", "0"])
        .fails(2, &["granularity 0 is not between 1 and 86400000"]);
    place.run(&["put", "k", "v", "--branching", "1"]).fails(2, &["branching 1 is not between 2 and 256"]);
}

#[test]
fn a_tree_with_a_top_node_every_few_milliseconds_is_refused_with_what_to_choose() {
    let words = ["16 ms", "a day", "granularity of 5400000 or more", "branching of 97 or more"];
    for engine in ENGINES {
        let place = Place::new();
        for verb in [&["put", "k", "v"][..], &["cluster", "init"]] {
            let fine = ["--store", engine, "--granularity", "1", "--branching", "2"];
            place.run(&[verb, &fine].concat()).fails(2, &words);
        }
        place.run(&["cluster", "init", "--granularity", "5400000", "--branching", "2"]).ok();
        place.holds(0);
    }
}

#[test]
fn another_layout_is_refused_with_what_to_do() {
    for engine in ENGINES {
        let place = Place::new();
        place.run(&["put", "k", "v", "--store", engine]).ok();
        let descriptor = place.data().join("STORE");
        let own = fs::read_to_string(&descriptor).expect("it says what it is");
        fs::write(&descriptor, own.replace("layout 1", "layout 9")).expect("it is edited");
        place.run(&["get", "k"]).fails(1, &["layout 9", "layout 1", "export there and import here"]);
        fs::write(&descriptor, "").expect("it is emptied");
        place.run(&["get", "k"]).fails(1, &["layout unknown"]);
        fs::write(&descriptor, own).expect("it is edited");
        assert_eq!(place.run(&["get", "k"]).ok().stdout, "v");
    }
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_store() {
    for engine in ENGINES {
        let place = Place::new();
        place.run(&["put", "k", "v", "--store", engine]).ok();
        let mut command = aevrion();
        command.args(["import", "-", "--skip-bad", "--data"]).arg(place.data());
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().expect("the binary starts");
        let mut stdin = holder.stdin.take().expect("it has an input");
        // The input exceeds the pipe: once it is taken, the import has opened the store.
        stdin.write_all(GOOD.repeat(50_000).as_bytes()).expect("it reads");
        let process = format!("(process {})", holder.id());
        place.run(&["get", "k"]).fails(1, &["open in another process", &process]);
        place.run(&["put", "k", "w"]).fails(1, &["open in another process", &process]);
        drop(stdin);
        assert!(holder.wait().expect("it ends").success());
        // The lock ended with its process.
        place.holds(2);
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    /// The customary user id of `nobody`.
    const NOBODY: u32 = 65_534;

    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can run the binary as a user who may not write");
        return;
    }
    for engine in ENGINES {
        let place = Place::new();
        place.run(&["put", "k", "v", "--store", engine]).ok();
        let open_to_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.directory.path(), open_to_all).expect("they can be set");
        // A copy, because this user may not be able to reach the original binary.
        let binary = place.directory.path().join("aevrion");
        fs::copy(env!("CARGO_BIN_EXE_aevrion"), &binary).expect("it can be copied");
        let run = |arguments: &[&str], data: &Path| -> Finished {
            let mut command = std::process::Command::new(&binary);
            command.args(arguments).arg("--data").arg(data).stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
            command.output().expect("the copy starts").into()
        };
        run(&["put", "k", "w"], &place.data()).fails(1, &["data", "ermission denied"]);
        run(&["put", "k", "w"], &place.directory.path().join("new")).fails(1, &["new", "ermission denied"]);
        assert_eq!(place.run(&["get", "k"]).ok().stdout, "v");
        place.holds(1);
    }
}

// ---- The command line ----

#[test]
fn what_is_not_hexadecimal_or_base64_is_said_so() {
    let place = Place::new();
    place.run(&["put", "xyz", "00", "--hex"]).fails(2, &["key", "not hexadecimal"]);
    place.run(&["put", "00", "123", "--hex"]).fails(2, &["value", "not hexadecimal"]);
    place.run(&["get", "%%%", "--base64"]).fails(2, &["key", "not base64"]);
    place.run(&["put", "AA==", "%%%", "--base64"]).fails(2, &["value", "not base64"]);
    place.run(&["get", "00", "--hex", "--base64"]).fails(2, &["--hex", "--base64"]);
    place.holds(0);
}

#[test]
fn times_that_are_none_are_usage_errors() {
    let place = Place::new();
    for time in ["yesterday", "2013-13-01T00:00:00Z", "-5", "1969-07-20T20:17:00Z", ""] {
        place.run(&["get", "k", &format!("--at={time}")]).fails(2, &["--at"]);
    }
    place.run(&["get", "k", "--at", "soon"]).fails(2, &["milliseconds", "RFC 3339", "span"]);
    place.run(&["put", "k", "v", "--at", "1.5"]).fails(2, &["--at"]);
    place.run(&["put", "k", "v", "--ttl", "soon"]).fails(2, &["--ttl", "such as 90s"]);
    place.run(&["put", "k", "v", "--ttl=-1h"]).fails(2, &["--ttl"]);
    place.holds(0);
}

#[test]
fn a_scrub_has_a_length_or_is_off() {
    let place = Place::new();
    for span in ["weekly", "-1h", "0s", "10ms", ""] {
        place.run(&["serve", &format!("--scrub={span}")]).fails(2, &["--scrub", "off"]);
    }
    assert!(!place.data().exists(), "a store was made in spite of the error");
}

#[test]
fn settings_that_do_not_exist_are_errors() {
    let place = Place::new();
    for (config, words) in [
        ("colour = \"red\"\n", &["unknown field", "colour", "settings.toml"][..]),
        ("granularity = \"long\"\n", &["granularity", "settings.toml"]),
        ("store = \"mysql\"\n", &["mysql", "redb"]),
        ("scrub = \"weekly\"\n", &["settings.toml", "such as 90s", "off"]),
        ("data = \n", &["settings.toml"]),
    ] {
        let file = place.file("settings.toml", config);
        place.run(&["status", "--config", &file]).fails(2, words);
    }
    place.run(&["status", "--config", "no-such.toml"]).fails(2, &["no-such.toml", "No such file"]);
    assert!(!place.data().exists(), "a store was made in spite of the error");
}

#[test]
fn without_a_store_or_a_node_nothing_is_done() {
    let finished: Finished = aevrion().arg("status").output().expect("the binary starts").into();
    finished.fails(6, &["nothing answers at", "aevrion serve --data DIR", "--data"]);
    let finished: Finished = aevrion().arg("serve").output().expect("the binary starts").into();
    finished.fails(2, &["which store?", "--data", "AEVRION_DATA"]);
    let finished: Finished = aevrion().args(["frobnicate"]).output().expect("the binary starts").into();
    finished.fails(2, &["frobnicate"]);
}
