//! The transcripts of `docs/PROTOCOL.md` match the real messages of two agents: text in, messages out.
//!
//! A block marked `transcript` has the events of the two sides and the actions above a line of dashes, and the messages
//! below it. With `AEVRION_WRITE_TRANSCRIPTS=1` the test rewrites the lower part instead of comparing it.

use std::fmt::Write;
use std::time::Duration;

use crate::support::pair::Pair;
use aevrion_core::{Event, Parameters, Timestamp, Value};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md");
const BEGIN: &str = "```transcript\n";
const RULE: &str = "---\n";

/// The time of the transcripts: ten minutes after the epoch.
const WALL: u64 = 600_000;

fn event(key: &str, ms: u64) -> Event {
    let value = Value::Data(format!("value at {ms}").into_bytes().into());
    Event::new(key.as_bytes().to_vec().into(), value, Timestamp::from_millis(ms)).unwrap()
}

/// Plays the script of a block, and returns the messages.
async fn play(script: &str) -> String {
    let mut pair = Pair::new(Parameters::default(), WALL).await;
    for line in script.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().unwrap_or_else(|_| panic!("no number in `{line}`"));
        let sides: &[usize] = match words[0] {
            "a" => &[0],
            "b" => &[1],
            _ => &[0, 1],
        };
        match words[..] {
            [_, "hold" | "holds", count, "events", "from", first, "every", step] => {
                let (first, step) = (number(first), number(step));
                let events: Vec<_> =
                    (0..number(count)).map(|n| event(&format!("k{n}"), first + n * step)).collect();
                for side in sides {
                    pair.hold(*side, events.clone()).await;
                }
            }
            [_, "hold" | "holds", key, "at", ms] => {
                for side in sides {
                    pair.hold(*side, vec![event(key, number(ms))]).await;
                }
            }
            [_, "writes", key, "at", ms] => pair.write(sides[0], event(key, number(ms))).await,
            ["they", "greet"] => {
                pair.connect().await;
                // Messages after the handshake stay in the transcript unless `from here` follows.
            }
            ["from", "here"] => pair.begin_to_count(),
            ["a", "minute", "passes"] => pair.pass_time(Duration::from_secs(60)).await,
            _ => panic!("`{line}` is no line of a script"),
        }
    }
    assert!(pair.agree().await, "the two agree at the end");
    let mut said = std::mem::take(&mut pair.transcript);
    let _ = writeln!(said, "{} bytes in {} frames, greetings not counted", pair.bytes(), pair.frames());
    said
}

#[tokio::test]
async fn the_transcripts_of_the_protocol_are_true() {
    let document = std::fs::read_to_string(DOCUMENT).expect("docs/PROTOCOL.md can be read");
    let rewrite = std::env::var_os("AEVRION_WRITE_TRANSCRIPTS").is_some();
    let mut written = String::new();
    let mut rest = document.as_str();
    let mut played = 0;
    while let Some((before, block)) = rest.split_once(BEGIN) {
        let (block, after) = block.split_once("```").expect("a block ends");
        let (script, expected) = block.split_once(RULE).expect("a block has a line of dashes");
        let said = play(script).await;
        if !rewrite {
            assert_eq!(said, expected, "\nin the block that begins with\n{script}");
        }
        let _ = write!(written, "{before}{BEGIN}{script}{RULE}{said}```");
        rest = after;
        played += 1;
    }
    written.push_str(rest);
    assert!(played >= 3, "{played} transcripts in docs/PROTOCOL.md");
    if rewrite {
        std::fs::write(DOCUMENT, written).expect("docs/PROTOCOL.md can be written");
    }
}
