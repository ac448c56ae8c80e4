//! The promise: damage on disk is reported and never served. `verify` names it and `rebuild` repairs the tables derived
//! from the events. A damaged event is never replaced by an older version of its key.
//!
//! The tests damage rows through the storage engine, below all checks of Aevrion.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::engine::{Row, plant};
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::{ENGINES, Finished, WEEK_EVENTS, aevrion, run_on, run_with_input, sample, status};
use aevrion_core::store::{Table, WriteBatch};

/// A store with the sample week, all tree hashes stored, and one additional large value.
struct Week {
    _place: tempfile::TempDir,
    engine: &'static str,
    data: PathBuf,
    root: String,
}

/// The key of the large value. Its event is the earliest.
const LARGE: &str = "large";
const LARGE_AT: &str = "1000";

impl Week {
    fn new(engine: &'static str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let data = place.path().join("data");
        let large = ["put", LARGE, "-", "--at", LARGE_AT, "--store", engine];
        run_with_input(&data, &large, &[b'x'; 10_000]).ok();
        // The import comes last: it has enough events for all index rows to be written when the store closes.
        run_on(&data, &["import", sample().to_str().expect("a text")]).ok();
        assert_eq!(status(&data)["pending_index_rows"], 0);
        let root = status(&data)["root"].as_str().expect("a text").to_owned();
        run_on(&data, &["verify"]).ok();
        Self { _place: place, engine, data, root }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run_on(&self.data, arguments)
    }

    fn plant(&self, table: Table, change: impl FnOnce(&[Row], &mut WriteBatch)) {
        plant(self.engine, &self.data, table, change);
    }

    /// Damages a row of `events`, and returns its event.
    fn plant_in_event(&self, choose: fn(&[Row]) -> &Row, spoil: fn(&mut Vec<u8>)) -> Victim {
        let mut victim = None;
        self.plant(Table::Events, |rows, batch| {
            let (key, value) = choose(rows);
            victim = Some(Victim::of(key, value));
            let mut spoilt = value.clone();
            spoil(&mut spoilt);
            batch.put(Table::Events, key.clone(), spoilt);
        });
        victim.expect("an event was chosen")
    }

    #[track_caller]
    fn expect_damage(&self, words: &[&str]) {
        let found = self.run(&["verify"]).fails(7, &["found"]);
        for word in words {
            assert!(found.stdout.contains(word), "`{word}` is not in: {}", found.stdout);
        }
    }

    #[track_caller]
    fn expect_sound(&self) {
        self.run(&["verify"]).ok();
        let status = status(&self.data);
        assert_eq!(status["root"], self.root.as_str());
        assert_eq!(status["events"], WEEK_EVENTS + 1);
    }

    /// Damages a derived table: `verify` must name it and `rebuild` repair it.
    #[track_caller]
    fn expect_mendable(&self, words: &[&str]) {
        self.expect_damage(words);
        self.run(&["rebuild"]).ok();
        self.expect_sound();
    }
}

/// The event that was damaged.
struct Victim {
    address: String,
    timestamp: u64,
    key: String,
}

impl Victim {
    fn of(key: &[u8], row: &[u8]) -> Self {
        let (timestamp, id) = key.split_at(8);
        let timestamp = u64::from_be_bytes(timestamp.try_into().expect("eight bytes"));
        let key_len = u32::from_be_bytes(row[1..5].try_into().expect("four bytes"));
        let key = &row[5..5 + usize::try_from(key_len).expect("a length")];
        let key = String::from_utf8(key.to_vec()).expect("keys of the sample are text");
        Self { address: format!("{timestamp}-{}", hex::encode(id)), timestamp, key }
    }
}

/// The row of the last event: the newest version of its key, which has older ones.
fn newest(rows: &[Row]) -> &Row {
    rows.last().expect("there are events")
}

#[track_caller]
fn expect_get_refuses(week: &Week, key: &str) {
    let read = week.run(&["get", key]);
    assert!(read.stdout.is_empty(), "a damaged event was served, or an older one: {:.60}", read.stdout);
    read.fails(7, &["damaged"]);
}

/// Checks that every verb that meets a damaged event reports it, before and after a rebuild.
#[track_caller]
fn expect_never_served(week: &Week, victim: &Victim) {
    expect_get_refuses(week, &victim.key);
    week.run(&["get", &victim.key, "--at", &(victim.timestamp - 1).to_string()]).ok();
    week.run(&["history", &victim.key]).fails(7, &["damaged"]);
    week.run(&["scan", &victim.key]).fails(7, &["damaged"]);
    week.run(&["export", "-"]).fails(7, &["damaged"]);
    week.expect_damage(&[&victim.address]);
    week.run(&["rebuild"]).fails(7, &["1 events are damaged", "import"]);
    week.expect_damage(&[&victim.address]);
    expect_get_refuses(week, &victim.key);
    assert_eq!(status(&week.data)["root"], week.root.as_str(), "the root is over the ids, which are whole");
}

#[test]
fn a_flipped_bit_in_a_value_is_never_served() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let victim = week.plant_in_event(newest, |row| *row.last_mut().expect("it has bytes") ^= 0x04);
        expect_never_served(&week, &victim);
        expect_import_does_no_harm(&week, &victim);
    }
}

#[test]
fn a_flipped_bit_in_a_key_is_never_served() {
    for engine in ENGINES {
        let week = Week::new(engine);
        // Index 5 is behind the flags and the length of the key.
        let victim = week.plant_in_event(newest, |row| row[5] ^= 0x01);
        expect_never_served(&week, &victim);
        expect_import_does_no_harm(&week, &victim);
    }
}

#[test]
fn a_row_that_was_cut_off_is_never_served() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let victim = week.plant_in_event(newest, |row| row.truncate(3));
        expect_never_served(&week, &victim);
    }
}

/// Importing the original file may repair the damage or skip it, but must never make a false value readable.
#[track_caller]
fn expect_import_does_no_harm(week: &Week, victim: &Victim) {
    week.run(&["import", sample().to_str().expect("a text")]).ok();
    let read = week.run(&["get", &victim.key]);
    let verified = week.run(&["verify"]);
    eprintln!("{}: importing mends a damaged event: {}", week.engine, read.code == Some(0));
    match read.code {
        Some(0) => {
            let history = week.run(&["history", &victim.key, "--reverse", "--limit", "1", "-o", "json"]).ok();
            assert_eq!(history.json()[0]["timestamp"], victim.timestamp, "an older version was served");
            assert_eq!(
                verified.code,
                Some(0),
                "mended for a reader, and not for verify: {}",
                verified.stdout
            );
        }
        _ => {
            read.fails(7, &["damaged"]);
            verified.fails(7, &["fault"]);
        }
    }
    assert_eq!(status(&week.data)["root"], week.root.as_str());
}

#[test]
fn a_spoilt_or_missing_body_is_never_served() {
    for engine in ENGINES {
        for missing in [false, true] {
            let week = Week::new(engine);
            week.plant(Table::Bodies, |rows, batch| {
                let [(key, body)] = rows else { panic!("one value is large: {}", rows.len()) };
                if missing {
                    batch.remove(Table::Bodies, key.clone());
                } else {
                    let mut spoilt = body.clone();
                    spoilt[5_000] ^= 0x80;
                    batch.put(Table::Bodies, key.clone(), spoilt);
                }
            });
            expect_get_refuses(&week, LARGE);
            week.expect_damage(&["events 1000-"]);
            week.run(&["rebuild"]).fails(7, &["damaged"]);
            expect_get_refuses(&week, LARGE);
        }
    }
}

#[test]
fn a_damaged_event_that_is_not_indexed_yet_is_never_served() {
    for engine in ENGINES {
        for table in [Table::Events, Table::Bodies] {
            let week = Week::new(engine);
            // Few writes: their index rows are rebuilt from the events when the store next opens.
            run_with_input(&week.data, &["put", "late", "-", "--at", "2000"], &[b'y'; 10_000]).ok();
            let value = if table == Table::Bodies { vec![b'z'; 10_000] } else { b"z".to_vec() };
            run_with_input(&week.data, &["put", "late", "-", "--at", "3000"], &value).ok();
            assert_eq!(status(&week.data)["pending_index_rows"], 2);
            week.plant(table, |rows, batch| {
                let newest = |(key, _): &&Row| key.starts_with(&3_000_u64.to_be_bytes());
                let (key, row) = rows.iter().find(newest).expect("it was stored");
                let mut spoilt = row.clone();
                *spoilt.last_mut().expect("it has bytes") ^= 0x01;
                batch.put(table, key.clone(), spoilt);
            });
            expect_get_refuses(&week, "late");
            week.expect_damage(&["events 3000-"]);
            week.run(&["rebuild"]).fails(7, &["damaged"]);
            expect_get_refuses(&week, "late");
        }
    }
}

#[test]
fn an_event_that_is_gone_is_missed() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let mut victim = None;
        week.plant(Table::Events, |rows, batch| {
            let (key, row) = newest(rows);
            victim = Some(Victim::of(key, row));
            batch.remove(Table::Events, key.clone());
        });
        let victim = victim.expect("an event was chosen");
        expect_get_refuses(&week, &victim.key);
        week.expect_damage(&[&victim.address]);
        // Here importing the original file restores the event, and thereby everything.
        week.run(&["import", sample().to_str().expect("a text")]).ok();
        week.run(&["get", &victim.key]).ok();
    }
}

#[test]
fn a_missing_index_row_is_named_and_mended() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let mut key = String::new();
        week.plant(Table::ByKey, |rows, batch| {
            let row = &rows[rows.len() / 2].0;
            // The row continues after the key with its terminator, the timestamp and the beginning of the id.
            key = String::from_utf8(row[..row.len() - 18].to_vec()).expect("keys of the sample are text");
            batch.remove(Table::ByKey, row.clone());
        });
        week.expect_mendable(&["mendable", &format!("by_key key `{key}`"), "missing"]);
    }
}

#[test]
fn an_extra_index_row_is_named_and_mended() {
    for engine in ENGINES {
        let week = Week::new(engine);
        week.plant(Table::ByKey, |_, batch| {
            let mut row = b"plane:GHOST\0\0".to_vec();
            row.extend((!1_372_636_800_000_u64).to_be_bytes());
            row.extend([0xEE; 8]);
            batch.put(Table::ByKey, row, Vec::new());
        });
        week.run(&["get", "plane:GHOST"]).fails(7, &["damaged"]);
        week.expect_mendable(&["by_key key `plane:GHOST` at 1372636800000", "no such version"]);
        week.run(&["get", "plane:GHOST"]).fails(3, &[]);
    }
}

#[test]
fn every_index_row_lost_is_made_again() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let before = week.run(&["scan", "-o", "jsonl"]).ok().stdout;
        week.plant(Table::ByKey, |rows, batch| {
            rows.iter().for_each(|(row, _)| batch.remove(Table::ByKey, row.clone()));
        });
        week.expect_mendable(&["by_key"]);
        assert_eq!(week.run(&["scan", "-o", "jsonl"]).ok().stdout, before);
    }
}

/// The last row of `nodes` at a level: its index, key and value.
fn node(rows: &[Row], level: u8) -> (u64, &Row) {
    let row = rows.iter().rev().find(|(key, _)| key[0] == level).expect("the tree was hashed");
    (u64::from_be_bytes(row.0[1..].try_into().expect("eight bytes")), row)
}

#[test]
fn a_stale_hash_is_named_and_mended_at_every_level() {
    for engine in ENGINES {
        let week = Week::new(engine);
        for level in 0..5 {
            let mut index = 0;
            week.plant(Table::Nodes, |rows, batch| {
                let (at, (key, value)) = node(rows, level);
                index = at;
                let mut stale = value.clone();
                stale[20] ^= 0x10;
                batch.put(Table::Nodes, key.clone(), stale);
            });
            week.expect_mendable(&[&format!("nodes level {level} index {index}"), "hash"]);
        }
    }
}

#[test]
fn a_wrong_count_is_named_and_mended() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let mut index = 0;
        week.plant(Table::Nodes, |rows, batch| {
            let (at, (key, value)) = node(rows, 0);
            index = at;
            let mut wrong = value.clone();
            wrong[6] ^= 0x01;
            batch.put(Table::Nodes, key.clone(), wrong);
        });
        week.expect_mendable(&[&format!("nodes level 0 index {index}: its count is")]);
    }
}

#[test]
fn a_node_without_events_is_named_and_mended() {
    for engine in ENGINES {
        let week = Week::new(engine);
        week.plant(Table::Nodes, |rows, batch| {
            let (key, value) = &rows[0];
            let mut key = key.clone();
            key[1..].copy_from_slice(&7_u64.to_be_bytes());
            batch.put(Table::Nodes, key, value.clone());
        });
        week.expect_mendable(&["nodes level 0 index 7", "no events below"]);
    }
}

#[test]
fn wrong_counts_of_the_whole_are_named_and_mended() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let mut planted = 0;
        week.plant(Table::Meta, |rows, batch| {
            let (key, value) = rows.iter().find(|(key, _)| key == b"checkpoint").expect("a checkpoint");
            let mut wrong = value.clone();
            // The counts of events and of keys.
            wrong[7] ^= 0x01;
            wrong[15] ^= 0x02;
            planted += 1;
            batch.put(Table::Meta, key.clone(), wrong);
        });
        assert_eq!(planted, 1);
        week.expect_mendable(&["events were counted, there are 12151", "keys were counted, there are 2101"]);
    }
}

/// The sequence number of the first arrival in a row of `arrivals`.
fn sequence(row: &Row) -> u64 {
    u64::from_be_bytes(row.0[..].try_into().expect("eight bytes"))
}

#[test]
fn missing_arrivals_are_named() {
    for engine in ENGINES {
        let week = Week::new(engine);
        let (mut gone, mut next) = (0, 0);
        week.plant(Table::Arrivals, |rows, batch| {
            let at = rows.len() / 2;
            (gone, next) = (sequence(&rows[at]), sequence(&rows[at + 1]));
            batch.remove(Table::Arrivals, rows[at].0.clone());
        });
        week.expect_damage(&[&format!("arrivals {next}"), &format!("{gone} was to follow")]);
        // The order of arrival cannot be derived from the events; reads do not depend on it.
        assert_eq!(status(&week.data)["root"], week.root.as_str());
        week.run(&["export", "-"]).ok();
    }
}

#[test]
fn arrivals_that_were_cut_off_or_point_nowhere_are_named() {
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(Spoil, &str); 2] =
        [(|run| run.truncate(run.len() - 1), "cannot be read"), (|run| run[20] ^= 0x01, "is missing")];
    for engine in ENGINES {
        for (spoil, word) in cases {
            let week = Week::new(engine);
            let mut at = 0;
            week.plant(Table::Arrivals, |rows, batch| {
                let row = &rows[rows.len() / 2];
                at = sequence(row);
                let mut spoilt = row.1.clone();
                spoil(&mut spoilt);
                batch.put(Table::Arrivals, row.0.clone(), spoilt);
            });
            week.expect_damage(&[&format!("arrivals {at}"), word]);
            week.run(&["export", "-"]).ok();
        }
    }
}

#[test]
fn a_spoilt_arrival_whose_event_is_not_indexed_yet_keeps_no_store_shut() {
    for engine in ENGINES {
        let week = Week::new(engine);
        week.run(&["put", "late", "value", "--at", "2000"]).ok();
        week.plant(Table::Arrivals, |rows, batch| {
            let (key, run) = rows.last().expect("there are arrivals");
            batch.put(Table::Arrivals, key.clone(), run[1..].to_vec());
        });
        week.expect_damage(&["arrivals"]);
        week.run(&["rebuild"]);
        assert_eq!(week.run(&["get", "late"]).ok().stdout, "value");
    }
}

/// Unreadable rows in every derived table at once, below a server.
#[test]
fn a_server_starts_on_rows_that_cannot_be_read_and_serves_all_the_others() {
    for engine in ENGINES {
        let week = Week::new(engine);
        // The path to the last leaf.
        week.plant(Table::Nodes, |rows, batch| {
            for level in 0..5 {
                let (_, (key, value)) = node(rows, level);
                batch.put(Table::Nodes, key.clone(), value[1..].to_vec());
            }
        });
        let mut victim = String::new();
        week.plant(Table::ByKey, |rows, batch| {
            // The newest version of the first plane.
            let (row, _) = rows.iter().find(|(row, _)| row.starts_with(b"plane:")).expect("there are planes");
            victim = String::from_utf8(row[..row.len() - 18].to_vec()).expect("keys of the sample are text");
            batch.remove(Table::ByKey, row.clone());
            batch.put(Table::ByKey, row[..row.len() - 1].to_vec(), Vec::new());
        });
        let server = Server::start(&week.data);
        let status = server.run(&["status", "-o", "json"]).ok().json();
        assert_eq!(
            (&status["root"], &status["events"]),
            (&week.root.as_str().into(), &(WEEK_EVENTS + 1).into())
        );
        server.run(&["put", "new", "value"]).ok();
        for (key, value) in [(LARGE, "x".repeat(10_000)), ("new", "value".to_owned())] {
            assert_eq!(server.run(&["get", key]).ok().stdout, value);
            assert_eq!(server.run(&["scan", key, "-o", "jsonl"]).ok().json_lines().len(), 1);
        }
        for verb in ["get", "history", "scan"] {
            server.run(&[verb, &victim]).fails(7, &["damaged", "by_key"]);
        }
        let found = server.run(&["verify"]).fails(7, &["found"]).stdout;
        assert!(found.contains("by_key") && !found.contains("nodes"), "the tree has healed: {found}");
        server.run(&["rebuild"]).ok();
        server.run(&["verify"]).ok();
        server.run(&["get", &victim]).ok();
    }
}

#[test]
fn a_rebuild_that_was_killed_is_simply_repeated() {
    let seed = Random::seed_or(3);
    for engine in ENGINES {
        eprintln!("{engine}: AEVRION_TEST_SEED={seed}");
        let mut random = Random::new(seed);
        let week = Week::new(engine);
        // The duration of an undisturbed rebuild: the kills are spread over it.
        spoil_all_that_is_derived(&week);
        let began = Instant::now();
        week.run(&["rebuild"]).ok();
        let took = u64::try_from(began.elapsed().as_micros()).expect("a rebuild ends");
        let mut killed = 0;
        for _ in 0..12 {
            spoil_all_that_is_derived(&week);
            killed += u32::from(kill_rebuild(&week.data, Duration::from_micros(random.below(took))));
            week.run(&["rebuild"]).ok();
            week.expect_sound();
        }
        assert!(killed > 0, "no rebuild was killed before its end");
    }
}

fn spoil_all_that_is_derived(week: &Week) {
    week.plant(Table::ByKey, |rows, batch| {
        for (row, _) in rows.iter().step_by(2) {
            let mut ghost = row.clone();
            let last = ghost.len() - 1;
            ghost[last] ^= 0xFF;
            batch.put(Table::ByKey, ghost, Vec::new());
            batch.remove(Table::ByKey, row.clone());
        }
    });
    week.plant(Table::Nodes, |rows, batch| {
        for (key, value) in rows.iter().step_by(3) {
            batch.put(Table::Nodes, key.clone(), value.iter().map(|byte| !byte).collect::<Vec<u8>>());
        }
    });
}

/// Kills a rebuild after `pause`. Returns whether the rebuild was still running.
fn kill_rebuild(data: &Path, pause: Duration) -> bool {
    let mut command = aevrion();
    command.args(["rebuild", "--data"]).arg(data).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    // This sleep waits for no event: the moment of the kill is the test.
    std::thread::sleep(pause);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends").signal().is_some()
}
