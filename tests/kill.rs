//! The promise: an acknowledged write survives `kill -9`, and a batch is stored completely or not at all. After the
//! kill the store opens by itself and is sound; an interrupted import is simply repeated.
//!
//! The tests kill real processes, at moments chosen by a seed. A failure prints the seed; `AEVRION_TEST_SEED` replays
//! its choices (the exact moment of the kill depends on the machine).

use crate::support::engine;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::random::Random;
use crate::support::{ENGINES, aevrion, run_on, status};
use aevrion_core::EntryQuery;
use aevrion_core::bounds::COMMIT_EVENTS;
use aevrion_core::store::Durability;
use aevrion_core::{Operation, Replica};

/// The signal number of `kill -9`.
const SIGKILL: i32 = 9;

/// Kills per engine: enough for kills in every phase of a commit, few enough for a minute.
fn rounds(engine: &str) -> u32 {
    if engine == "redb" { 30 } else { 10 }
}

// ---- Killed during an import ----

const LINES: usize = 60_000;

/// A file of events, with the count and root of its store.
struct Input {
    text: Vec<u8>,
    /// The possible counts of stored events: an import stores whole batches in the order of the file.
    prefixes: BTreeSet<u64>,
    events: u64,
    root: String,
}

impl Input {
    /// Makes the file, and takes its root from an undisturbed import.
    fn new(engine: &str, place: &Path, random: &mut Random) -> Self {
        let lines = lines(random);
        let distinct: BTreeSet<_> = lines.iter().collect();
        // Duplicates of earlier lines are in no batch.
        let batches = (0..distinct.len()).step_by(COMMIT_EVENTS).chain([distinct.len()]);
        let prefixes = batches.map(|events| events as u64).collect();
        let text = lines.concat().into_bytes();
        let file = place.join("events.jsonl");
        std::fs::write(&file, &text).expect("the file is written");
        let whole = place.join("whole");
        let file = file.to_str().expect("the path is UTF-8");
        run_on(&whole, &["import", file, "--store", engine]).ok();
        let status = status(&whole);
        let events = status["events"].as_u64().expect("a number");
        assert_eq!(events, distinct.len() as u64, "every line that differs is one event");
        Self { text, prefixes, events, root: status["root"].as_str().expect("a text").to_owned() }
    }

    fn is_whole(&self, status: &serde_json::Value) -> bool {
        status["events"] == self.events && status["root"] == self.root.as_str()
    }
}

/// Puts and deletions of some thousand keys: some share a millisecond, some are late, large or repeated.
fn lines(random: &mut Random) -> Vec<String> {
    let mut lines: Vec<String> = Vec::with_capacity(LINES);
    for number in 0..LINES {
        if number % 500 == 499 {
            lines.push(lines[random.place(number)].clone());
            continue;
        }
        let late = if random.below(20) == 0 { random.below(3_600_000) } else { 0 };
        let timestamp = 1_700_000_000_000 + (number as u64 / 4) * 150 - late;
        let len = match random.below(100) {
            0 => 4_097 + random.place(5_000),
            1..5 => 0,
            _ => 10 + random.place(150),
        };
        let value = if random.below(15) == 0 { "null".into() } else { format!("\"{}\"", random.text(len)) };
        let key = random.below(3_000);
        lines.push(format!("{{\"key\":\"key:{key}\",\"value\":{value},\"timestamp\":{timestamp}}}\n"));
    }
    lines
}

/// The moment of the kill of an import.
#[derive(Debug)]
enum Moment {
    /// Once the import has taken so many bytes of the file.
    AtByte(usize),
    /// This long after the end of the file: during the last batches or the index, or after the import.
    AfterTheEnd(Duration),
    /// This long after the start, while the import creates or opens the store.
    AfterTheStart(Duration),
}

impl Moment {
    fn choose(random: &mut Random, bytes: usize) -> Self {
        match random.below(10) {
            0 => Self::AfterTheStart(Duration::from_micros(random.below(20_000))),
            1 | 2 => Self::AfterTheEnd(Duration::from_micros(random.below(200_000))),
            _ => Self::AtByte(random.place(bytes)),
        }
    }

    /// Feeds an import until its moment. The pauses wait for no event: the moment is the test.
    fn wait(&self, child: &mut Child, text: &[u8]) {
        let mut stdin = child.stdin.take().expect("it has an input");
        match self {
            Self::AtByte(bytes) => stdin.write_all(&text[..*bytes]).expect("the import takes its input"),
            Self::AfterTheEnd(pause) => {
                stdin.write_all(text).expect("the import takes its input");
                drop(stdin);
                std::thread::sleep(*pause);
                return;
            }
            Self::AfterTheStart(pause) => std::thread::sleep(*pause),
        }
        // The input stays open until the kill, because its end would end the import.
        child.kill().expect("it can be killed");
    }
}

#[test]
fn a_killed_import_leaves_whole_lots_and_can_be_repeated() {
    let seed = Random::seed_or(1);
    for engine in ENGINES {
        eprintln!("{engine}: AEVRION_TEST_SEED={seed}");
        let mut random = Random::new(seed);
        let place = tempfile::tempdir().expect("a directory");
        let input = Input::new(engine, place.path(), &mut random);
        let mut data = place.path().join("0");
        for round in 0..rounds(engine) {
            let moment = Moment::choose(&mut random, input.text.len());
            eprintln!("{engine}, kill {round}: {moment:?}");
            kill_import(engine, &data, &moment, &input);
            // Otherwise the next import continues from, and is killed in, the state that this one left.
            if random.below(2) == 0 || round + 1 == rounds(engine) {
                finish_import(&data, &input);
                std::fs::remove_dir_all(&data).expect("it can be removed");
                data = place.path().join((round + 1).to_string());
            }
        }
    }
}

fn kill_import(engine: &str, data: &Path, moment: &Moment, input: &Input) {
    let mut command = aevrion();
    command.args(["import", "-", "--store", engine, "--data"]).arg(data);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    moment.wait(&mut child, &input.text);
    child.kill().expect("it can be killed");
    let end = child.wait().expect("it ends");
    let ended_before = matches!(moment, Moment::AfterTheEnd(_)) && end.success();
    assert!(end.signal() == Some(SIGKILL) || ended_before, "it ended by itself: {end}");

    // A kill may have prevented the store. This creates it, with the engine.
    run_on(data, &["import", "/dev/null", "--store", engine]).ok();
    let found = status(data);
    let events = found["events"].as_u64().expect("a number");
    eprintln!("  {events} events are stored");
    assert!(input.prefixes.contains(&events), "{events} events are not whole batches: {:?}", input.prefixes);
    run_on(data, &["verify"]).ok();
}

fn finish_import(data: &Path, input: &Input) {
    let mut command = aevrion();
    command.args(["import", "-", "--data"]).arg(data);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    child.stdin.take().expect("it has an input").write_all(&input.text).expect("the import takes its input");
    assert!(child.wait().expect("it ends").success());
    let found = status(data);
    assert!(input.is_whole(&found), "{found} is not {} events, root {}", input.events, input.root);
    run_on(data, &["verify"]).ok();
}

// ---- Killed while the store is created ----

#[test]
fn a_store_whose_making_was_killed_is_made_after_all() {
    /// Few moments could leave a half-made file.
    const KILLS: u32 = 100;
    /// Longer than the creation of a store takes.
    const MOST_MICROS: u64 = 20_000;

    let seed = Random::seed_or(7);
    for engine in ENGINES {
        eprintln!("{engine}: AEVRION_TEST_SEED={seed}");
        let mut random = Random::new(seed);
        for _ in 0..KILLS {
            let place = tempfile::tempdir().expect("a directory");
            let data = place.path().join("data");
            let mut command = aevrion();
            command.args(["import", "/dev/null", "--store", engine, "--data"]).arg(&data);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let pause = Duration::from_micros(random.below(MOST_MICROS));
            let mut child = command.spawn().expect("the binary starts");
            // This sleep waits for no event: the moment of the kill is the test.
            std::thread::sleep(pause);
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            eprintln!("{engine}, killed after {pause:?}");
            run_on(&data, &["put", "k", "v", "--store", engine]).ok();
            assert_eq!(run_on(&data, &["get", "k"]).ok().stdout, "v");
        }
    }
}

// ---- Killed while writes are acknowledged ----

/// Makes this test program, started again, the writer. The value holds the engine and the first number.
const WRITER: &str = "AEVRION_TEST_WRITER";
const WRITER_DATA: &str = "AEVRION_TEST_WRITER_DATA";

/// Concurrent writers, so that a commit holds several writes.
const WRITERS: u64 = 8;
/// Numbers per run of the writer: more than a run can reach.
const LIFE: u64 = 1_000_000;

#[test]
fn every_acknowledged_write_is_there_after_a_kill() {
    if let Ok(writer) = std::env::var(WRITER) {
        return be_the_writer(&writer);
    }
    let seed = Random::seed_or(2);
    for engine in ENGINES {
        eprintln!("{engine}: AEVRION_TEST_SEED={seed}");
        let mut random = Random::new(seed);
        let place = tempfile::tempdir().expect("a directory");
        let data = place.path().join("data");
        let mut acknowledged = BTreeSet::new();
        for life in 0..u64::from(rounds(engine) / 2) {
            let enough = 1 + random.place(1_500);
            let writer = start_writer(engine, &data, life * LIFE);
            acknowledged.extend(kill_after(writer, enough));
            engine::runtime().block_on(expect_all(engine, &data, &acknowledged));
        }
        assert!(acknowledged.len() > 1_000, "the writers acknowledged {} writes", acknowledged.len());
    }
}

fn start_writer(engine: &str, data: &Path, first: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", "kill::every_acknowledged_write_is_there_after_a_kill", "--nocapture"]);
    command.env(WRITER, format!("{engine} {first}")).env(WRITER_DATA, data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the writer starts")
}

/// Kills the writer after enough acknowledged writes. Returns the numbers of all acknowledged writes.
fn kill_after(mut writer: Child, enough: usize) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let lines = BufReader::new(writer.stdout.take().expect("it has an output")).lines();
    for line in lines {
        let line = line.expect("it is text");
        let Some((_, number)) = line.split_once("acknowledged ") else { continue };
        acknowledged.push(number.parse().expect("a number"));
        if acknowledged.len() == enough {
            writer.kill().expect("it can be killed");
        }
    }
    let end = writer.wait().expect("it ends");
    assert_eq!(end.signal(), Some(SIGKILL), "the writer ended by itself: {end}");
    acknowledged
}

/// Opens the replica and writes numbered operations until killed, several at a time.
fn be_the_writer(writer: &str) {
    let (engine, first) = writer.split_once(' ').expect("an engine and a number");
    let data = PathBuf::from(std::env::var_os(WRITER_DATA).expect("a directory"));
    let next = Arc::new(AtomicU64::new(first.parse().expect("a number")));
    engine::runtime().block_on(async {
        let replica = engine::replica(engine, &data).await;
        let writers = (0..WRITERS).map(|_| tokio::spawn(write_for_ever(replica.clone(), Arc::clone(&next))));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("it is killed, never ended");
        }
    });
}

async fn write_for_ever(replica: Replica, next: Arc<AtomicU64>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let operations =
            (0..size_of_batch(number)).map(|part| Operation::put(key(number, part), value(number)));
        replica.batch(operations.collect(), Durability::Immediate).await.expect("the write is taken");
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number}").and_then(|()| out.flush()).expect("the parent listens");
    }
}

/// Most writes are single puts; every fifth is a batch.
fn size_of_batch(number: u64) -> u64 {
    if number.is_multiple_of(5) { 2 + number % 40 } else { 1 }
}

fn key(number: u64, part: u64) -> String {
    format!("{number:010}/{part}")
}

fn value(number: u64) -> String {
    let mut random = Random::new(number);
    let len = if random.below(50) == 0 { 5_000 } else { random.place(200) };
    random.text(len)
}

/// Checks that every acknowledged write is stored unchanged, and every other batch completely or not at all.
async fn expect_all(engine: &str, data: &Path, acknowledged: &BTreeSet<u64>) {
    let replica = engine::replica(engine, data).await;
    let mut parts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut query = EntryQuery::default();
    loop {
        let page = replica.scan(&query).await.expect("it can be read");
        for event in &page.events {
            let key = std::str::from_utf8(event.key()).expect("keys are text");
            let number = key.split_once('/').expect("a number and a part").0.parse().expect("a number");
            assert_eq!(event.value().data().map(|data| &data[..]), Some(value(number).as_bytes()), "{key}");
            *parts.entry(number).or_default() += 1;
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    for (number, found) in &parts {
        assert_eq!(*found, size_of_batch(*number), "batch {number} is there in part");
    }
    let missing: Vec<_> = acknowledged.iter().filter(|number| !parts.contains_key(number)).collect();
    assert!(missing.is_empty(), "acknowledged and not there: {missing:?}");
    let found = replica.verify(|_| ()).await.expect("it can be read");
    assert!(found.is_clean(), "{found:?}");
    replica.close().await.expect("it closes");
}
