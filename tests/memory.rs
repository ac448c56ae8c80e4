//! The promise: memory does not grow with history. With every engine it stays below a bound during the import of a year
//! of events, the opening of that store, sending the year to a neighbour, receiving it, and reading an endless line.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::member::{Member, Place, agree};
use crate::support::{ENGINES, aevrion, run_on, sample, shared, status};
use flate2::read::GzDecoder;
use serde_json::Value;

const MB: u64 = 1_000_000;
/// For an import, independent of the length of the file.
const WHILE_IMPORTING: u64 = 300 * MB;
/// For opening a store and printing its status, independent of its size. A release build takes 10 MB with redb and 78
/// MB with sled. In a test build both engines check themselves, which takes most of this.
const WHILE_OPENING: u64 = 140 * MB;
/// For sending a whole store to a neighbour, or receiving it.
const WHILE_CATCHING_UP: u64 = 220 * MB;
/// A line may be as long as the largest event, some 34 MB; longer ones are not kept.
const WITH_A_LONG_LINE: u64 = 200 * MB;

/// The interval between two samples. Memory cannot grow much within it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Waits until a process succeeds, and returns its peak memory in bytes.
#[track_caller]
fn peak_of(mut child: Child) -> u64 {
    let mut peak = 0;
    loop {
        peak = peak.max(held_by(child.id()).unwrap_or(0));
        if let Some(end) = child.try_wait().expect("it can be waited for") {
            assert!(end.success(), "{end}");
            assert!(peak > MB, "what it held was not read");
            return peak;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The memory of a process without its code, which is large in a test build; `None` once the process has freed it.
fn held_by(process: u32) -> Option<u64> {
    memory_of(process, "RssAnon:")
}

/// A value of `/proc/PID/status`, in bytes.
fn memory_of(process: u32, what: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn start(arguments: &[&str], data: &Path) -> Child {
    let mut command = aevrion();
    command.args(arguments).arg("--data").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the binary starts")
}

/// A year of flights: the real one, or else the sample week repeated, a week later each time.
fn year(place: &Path) -> PathBuf {
    if let Some(real) = shared("data/flights.jsonl.gz") {
        return real;
    }
    const WEEK_MS: u64 = 7 * 86_400_000;
    let file = File::open(sample()).expect("the sample comes with the source");
    let week: Vec<String> =
        BufReader::new(GzDecoder::new(file)).lines().collect::<Result<_, _>>().expect("the sample is text");
    let path = place.join("year.jsonl");
    let mut out = std::io::BufWriter::new(File::create(&path).expect("it can be made"));
    for number in 0..52 {
        for line in &week {
            let (before, time) = line.rsplit_once(':').expect("the time comes last");
            let time: u64 = time.trim_end_matches('}').parse().expect("a number");
            writeln!(out, "{before}:{}}}", time + number * WEEK_MS).expect("it is written");
        }
    }
    out.flush().expect("it is written");
    path
}

#[test]
fn a_year_is_imported_and_opened_in_bounded_memory() {
    let place = tempfile::tempdir().expect("a directory");
    let year = year(place.path());
    let year = year.to_str().expect("the path is UTF-8");
    for engine in ENGINES {
        let data = place.path().join(engine);
        let importing = peak_of(start(&["import", year, "--store", engine], &data));
        assert!(
            status(&data)["events"].as_u64().expect("a number") > 500_000,
            "the year is shorter than one"
        );
        let opening = peak_of(start(&["status"], &data));
        let reading = peak_of(start(&["get", "plane:N14228"], &data));
        eprintln!(
            "{engine}: import {} MB, status {} MB, get {} MB",
            importing / MB,
            opening / MB,
            reading / MB
        );
        assert!(importing < WHILE_IMPORTING, "{engine}: the import took {} MB", importing / MB);
        assert!(opening < WHILE_OPENING, "{engine}: status took {} MB", opening / MB);
        assert!(reading < WHILE_OPENING, "{engine}: get took {} MB", reading / MB);
    }
}

#[test]
fn a_year_comes_from_a_neighbour_in_bounded_memory() {
    let place = Place::new();
    let year = year(place.at("").as_path());
    let mut giver = Member::found(place.at("giver"), "redb", "quic,tcp", &[]);
    let takers = [("redb", "quic"), ("sled", "tcp")];
    let mut takers =
        takers.map(|(engine, transport)| Member::join(place.at(engine), engine, transport, &giver, true));
    // The giver stores the year before the takers ask.
    takers.iter_mut().for_each(Member::stop);
    giver.stop();
    run_on(&giver.data, &["import", year.to_str().expect("the path is UTF-8")]).ok();
    giver.serve(&[]);
    takers.iter_mut().for_each(|taker| taker.serve(&[]));
    agree(&[(&giver, 2), (&takers[0], 1), (&takers[1], 1)]);
    let number = |value: &Value| value.as_u64().expect("a number");
    let events = number(&giver.status()["events"]);
    assert!(events > 500_000);
    // The year is sent only once; a slow taker used to receive it twice.
    for neighbour in giver.sync_status()["neighbours"].as_array().expect("a list") {
        assert!(number(&neighbour["sent"]) * 100 <= events * 115, "of {events} events: {neighbour:#}");
    }
    for (who, member) in [("giver", &giver), ("redb", &takers[0]), ("sled", &takers[1])] {
        // The processes still run, so the kernel reports their peak.
        let peak = memory_of(member.server().process(), "VmHWM:").expect("it is said");
        eprintln!("{who}: {} MB", peak / MB);
        assert!(peak < WHILE_CATCHING_UP, "{who} took {} MB", peak / MB);
    }
}

#[test]
fn a_line_without_end_does_not_end_up_in_memory() {
    let place = tempfile::tempdir().expect("a directory");
    for engine in ENGINES {
        let data = place.path().join(engine);
        let mut command = aevrion();
        command.args(["import", "-", "--skip-bad", "--store", engine, "--data"]).arg(&data);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it has an input");
        let feeder = std::thread::spawn(move || {
            for _ in 0..200 {
                stdin.write_all(&[b'x'; 1_000_000]).expect("it reads on");
            }
        });
        let peak = peak_of(child);
        feeder.join().expect("it took all of the line");
        eprintln!("{engine}: {} MB", peak / MB);
        assert!(peak < WITH_A_LONG_LINE, "{engine}: a line of 200 MB took {} MB", peak / MB);
        assert_eq!(status(&data)["events"], 0);
        run_on(&data, &["verify"]).ok();
    }
}
