//! The promise: on a full disk no acknowledged write is lost, reads go on, refusals carry a clear error, and writing
//! resumes by itself when there is room again.
//!
//! The disk is a real one: a small file system in memory, mounted for the test. That takes root on Linux; elsewhere
//! the tests say that they were skipped.

#![cfg(target_os = "linux")]

use crate::support::engine;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::disk::SmallDisk;
use crate::support::random::Random;
use crate::support::{ENGINES, WEEK_ROOT, run_on, sample, status};
use aevrion_core::store::StoreError;
use aevrion_core::{Replica, WriteError};

/// The operating system's message, passed on by every engine.
const NO_SPACE: &str = "the disk is full";

/// Incompressible events of some 1.2 KiB each, as (key, line).
fn lines(count: usize) -> Vec<String> {
    let mut random = Random::new(4);
    let line = |number: usize| {
        let timestamp = 1_700_000_000_000 + number;
        let value = random.text(1_200);
        format!("{{\"key\":\"k{number:06}\",\"value\":\"{value}\",\"timestamp\":{timestamp}}}\n")
    };
    (0..count).map(line).collect()
}

/// The number in front of these words on standard error.
fn number_before(stderr: &str, words: &str) -> u64 {
    let (before, _) = stderr.split_once(words).unwrap_or_else(|| panic!("`{words}` is not in: {stderr}"));
    let number = before.rsplit(|c: char| !c.is_ascii_digit() && c != ',').next().unwrap_or_default();
    number.replace(',', "").parse().expect("a number")
}

#[test]
fn an_import_that_fills_the_disk_keeps_what_it_reported_and_can_be_repeated() {
    /// Some 38 MB in all: too much for the room beside the ballast, little for the 200 MiB without it.
    const EVENTS: usize = 30_000;
    const DISK: usize = 200;

    for engine in ENGINES {
        let Some(disk) = SmallDisk::new(DISK) else { return };
        // sled reserves some of the room for itself.
        let room = if *engine == "sled" { 48 } else { 24 };
        disk.put_ballast(DISK - room);
        let elsewhere = tempfile::tempdir().expect("a directory");
        let file = elsewhere.path().join("events.jsonl");
        fs::write(&file, lines(EVENTS).concat()).expect("it is written");
        let file = file.to_str().expect("a text");
        let whole = elsewhere.path().join("data");
        run_on(&whole, &["import", file, "--store", engine]).ok();

        let refused =
            run_on(&disk.data(), &["import", file, "--store", engine]).fails(1, &["not written", NO_SPACE]);
        let reported = number_before(&refused.stderr, " events were stored before that");
        assert!(
            reported > 0 && reported < EVENTS as u64,
            "{reported} were stored: the disk has another size"
        );

        expect_reads_while_full(&disk.data(), reported);
        run_on(&disk.data(), &["import", file]).fails(1, &[NO_SPACE]);
        expect_reads_while_full(&disk.data(), reported);

        disk.remove_ballast();
        let found = status(&disk.data())["events"].as_u64().expect("a number");
        assert!(found >= reported, "{engine}: {reported} events were reported as stored, {found} are");
        run_on(&disk.data(), &["verify"]).ok();
        run_on(&disk.data(), &["import", file]).ok();
        assert_eq!(status(&disk.data())["root"], status(&whole)["root"]);
        assert_eq!(status(&disk.data())["events"], EVENTS);
        run_on(&disk.data(), &["verify"]).ok();
    }
}

#[track_caller]
fn expect_reads_while_full(data: &Path, reported: u64) {
    let found = status(data)["events"].as_u64().expect("a number");
    assert!(found >= reported, "{reported} events were reported as stored, {found} are");
    run_on(data, &["verify"]).ok();
    assert_eq!(run_on(data, &["get", "k000000"]).ok().stdout.len(), 1_200);
    assert_eq!(run_on(data, &["export", "-"]).ok().stdout.lines().count() as u64, found);
}

#[test]
fn reads_go_on_when_something_else_has_filled_the_disk() {
    for engine in ENGINES {
        let Some(disk) = SmallDisk::new(100) else { return };
        run_on(&disk.data(), &["import", sample().to_str().expect("a text"), "--store", engine]).ok();
        fill(&disk.path().join("ballast"));
        if *engine == "sled" {
            // sled has to write when it opens. An early refusal leaves the store sound.
            run_on(&disk.data(), &["status"]).fails(1, &["full"]);
            run_on(&disk.data(), &["put", "k", "v"]).fails(1, &["full"]);
        } else {
            // The tree was never hashed. It is hashed now, although there is no room to store the hashes.
            assert_eq!(status(&disk.data())["root"], WEEK_ROOT);
            run_on(&disk.data(), &["scan", "--limit", "1"]).ok();
            run_on(&disk.data(), &["verify"]).ok();
        }
        disk.remove_ballast();
        run_on(&disk.data(), &["verify"]).ok();
        assert_eq!(status(&disk.data())["root"], WEEK_ROOT);
    }
}

#[test]
fn a_store_is_not_half_made_on_a_full_disk() {
    for engine in ENGINES {
        let Some(disk) = SmallDisk::new(24) else { return };
        fill(&disk.path().join("ballast"));
        let refused = run_on(&disk.data(), &["put", "k", "v", "--store", engine]);
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
        disk.remove_ballast();
        run_on(&disk.data(), &["put", "k", "v", "--store", engine]).ok();
        assert_eq!(run_on(&disk.data(), &["get", "k"]).ok().stdout, "v");
        run_on(&disk.data(), &["verify"]).ok();
    }
}

/// Fills the file system with one file.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a name still fits");
    let mut block = 64 << 10;
    while block > 0 {
        match file.write_all(&vec![0; block]) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => block /= 2,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_open_replica_turns_read_only_and_recovers_by_itself() {
    for engine in ENGINES {
        let Some(disk) = SmallDisk::new(48) else { return };
        disk.put_ballast(24);
        engine::runtime().block_on(fill_and_recover(engine, &disk));
    }
}

/// The replica tries the store again after a second; this bound suffices on any machine.
const RECOVERY: Duration = Duration::from_secs(60);

/// The keys and values of acknowledged writes.
type Written = Vec<(String, String)>;

/// Writes until a write fails. Returns the acknowledged writes and the error.
async fn write_until_full(replica: &Replica, random: &mut Random) -> (Written, WriteError) {
    let mut written = Vec::new();
    let failure = loop {
        let (key, value) = (format!("k{:05}", written.len()), random.text(20_000));
        match replica.put(&key, value.clone()).await {
            Ok(_) => written.push((key, value)),
            Err(error) => break error,
        }
        assert!(written.len() < 10_000, "the disk does not get full");
    };
    assert!(!written.is_empty(), "nothing fits: {failure}");
    (written, failure)
}

async fn expect_all(replica: &Replica, written: &Written) {
    for (key, value) in written {
        assert_eq!(replica.get(key).await.expect("it can be read").as_deref(), Some(value.as_bytes()));
    }
}

async fn fill_and_recover(engine: &str, disk: &SmallDisk) {
    let replica = engine::replica(engine, &disk.data()).await;
    let mut random = Random::new(5);
    let (written, failure) = write_until_full(&replica, &mut random).await;
    assert!(matches!(&failure, WriteError::Store(error) if error.is_full()), "{failure}");

    // A refused write may be the one that tries the store again; the writes behind it are refused without a try. The
    // replica tries again within a second, and a small write may fit where a large one did not.
    let mut little = 0;
    for attempt in 0.. {
        assert!(attempt < 100, "it is never read-only");
        let _ = replica.put("refused", random.text(20_000)).await.expect_err("there is no room");
        match replica.put("little", "x").await {
            Ok(_) => little += 1,
            Err(WriteError::ReadOnly(error)) => {
                assert!(error.is_full(), "{error}");
                break;
            }
            Err(error) => assert!(matches!(&error, WriteError::Store(error) if error.is_full()), "{error}"),
        }
    }
    let status = replica.status().await.expect("a full disk can be read");
    assert!(status.read_only.as_ref().is_none_or(StoreError::is_full), "{:?}", status.read_only);
    assert_eq!(status.events, written.len() as u64 + little);
    expect_all(&replica, &written).await;

    disk.remove_ballast();
    let freed = Instant::now();
    while let Err(error) = replica.put("after", "room").await {
        assert!(freed.elapsed() < RECOVERY, "there is room, and still: {error}");
        tokio::task::yield_now().await;
    }
    let status = replica.status().await.expect("it can be read");
    assert!(status.read_only.is_none(), "{:?}", status.read_only);
    assert_eq!(status.events, written.len() as u64 + little + 1);
    let verified = replica.verify(|_| ()).await.expect("it can be read");
    assert!(verified.is_clean(), "{verified:?}");
    replica.close().await.expect("it closes");

    let reopened = engine::replica(engine, &disk.data()).await;
    expect_all(&reopened, &written).await;
    assert_eq!(reopened.get("after").await.expect("it can be read").as_deref(), Some(&b"room"[..]));
    assert_eq!(reopened.get("refused").await.expect("it can be read"), None);
    reopened.close().await.expect("it closes");
}

#[test]
fn a_replica_that_was_full_is_whole_when_it_is_opened_again() {
    for engine in ENGINES {
        let Some(disk) = SmallDisk::new(48) else { return };
        disk.put_ballast(24);
        engine::runtime().block_on(async {
            let replica = engine::replica(engine, &disk.data()).await;
            let (written, failure) = write_until_full(&replica, &mut Random::new(6)).await;
            assert!(failure.to_string().contains(NO_SPACE), "{failure}");
            let _ = replica.put("refused", "x").await.expect_err("it is read-only");
            // Closing may fail to tidy up; the acknowledged writes are safe.
            let _ = replica.close().await;

            disk.remove_ballast();
            let replica = engine::replica(engine, &disk.data()).await;
            expect_all(&replica, &written).await;
            let verified = replica.verify(|_| ()).await.expect("it can be read");
            assert!(verified.is_clean(), "{verified:?}");
            replica.put("after", "room").await.expect("there is room");
            replica.close().await.expect("it closes");
        });
    }
}
