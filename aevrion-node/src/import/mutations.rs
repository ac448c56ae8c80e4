//! The fuzz target on a plain toolchain: runs its seeds, and thousands of pseudorandom mutations of them, the same ones
//! each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::fuzz;

/// Number of mutated inputs.
const INPUTS: u64 = 4_000;

/// Length of a libFuzzer name: inputs that it adds to the seeds are named by a hash, and stay out of the repository.
const HASHED_NAME: usize = 40;

/// Seeds whose import fails.
const REFUSED: [&str; 4] = ["bad-checksum", "open-quote", "stray-and-open-quote", "two-of-a-name"];

const PIECES: [&str; 14] = [
    "\n",
    "\r\n",
    "\"",
    "\"\"",
    ",",
    "sep=;\n",
    "id,when,v\n",
    "\u{FEFF}",
    "\0",
    "[",
    "]",
    r#"{"key":"k","value":1,"timestamp":1714557600000}"#,
    "1714557600",
    "2024-10-27 02:30:00",
];

/// The `SplitMix64` generator of Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or zero.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn one<'o, T>(&mut self, of: &'o [T]) -> &'o T {
        &of[self.below(of.len())]
    }
}

/// Prints the input of a failure.
struct AtHand<'i>(&'i [u8]);

impl Drop for AtHand<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/import");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let named = paths.iter().map(|path| (name(path), path)).filter(|(name, _)| name.len() < HASHED_NAME);
    named.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

fn mutate(input: &mut Vec<u8>, seeds: &[(String, Vec<u8>)], random: &mut Random) {
    if input.is_empty() {
        return;
    }
    let at = random.below(input.len());
    let end = at + random.below((input.len() - at).min(40));
    match random.below(8) {
        // One of the choices at the front, which a random position rarely hits.
        0 | 1 => {
            let at = random.below(fuzz::choices::CHOICES.min(input.len()));
            input[at] = b'0' + u8::try_from(random.below(12)).unwrap();
        }
        2 => input[at] ^= 1 << random.below(8),
        3 => drop(input.drain(at..end)),
        4 => drop(input.splice(at..at, input[at..end].to_vec())),
        5 => drop(input.splice(at..at, random.one(&PIECES).bytes())),
        6 => {
            let (_, other) = random.one(seeds);
            input.splice(at.., other[other.len().min(at)..].iter().copied());
        }
        _ => input.truncate(at.max(fuzz::choices::CHOICES)),
    }
}

#[test]
fn every_seed_is_read_as_it_is_meant() {
    let seeds = seeds();
    assert!(seeds.len() > 30);
    for (name, input) in &seeds {
        let outcome = fuzz::outcome(input).expect("choices and a file");
        assert_eq!(outcome.stopped.is_some(), REFUSED.contains(&&name[..]), "{name}: {outcome:?}");
        assert!(outcome.stopped.is_some() || outcome.records() > 0, "{name}: {outcome:?}");
    }
}

#[test]
fn inputs_made_of_the_seeds_keep_the_promise() {
    let seeds = seeds();
    for number in 0..INPUTS {
        let mut random = Random(number);
        let mut input = random.one(&seeds).1.clone();
        for _ in 0..=random.below(5) {
            mutate(&mut input, &seeds, &mut random);
        }
        let _at_hand = AtHand(&input);
        fuzz::import(&input);
    }
}
