//! No bytes from a neighbour harm: the fuzz targets on a plain toolchain, with their seeds and with thousands of
//! pseudorandom mutations of them, the same ones each time.

#[path = "../../fuzz/checks/mod.rs"]
mod checks;

use std::fs;
use std::path::Path;

use aevrion_core::Parameters;
use aevrion_core::message::decode;
use aevrion_core::sketch::{Cells, Mapping, NumberList};

/// Length of a libFuzzer name: inputs that it adds to the seeds are named by a hash, and stay out of the repository.
const HASHED_NAME: usize = 40;

const MUTATIONS: u64 = 20_000;

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let named =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    let mut seeds: Vec<_> = named.filter(|(name, _)| name.len() < HASHED_NAME).collect();
    seeds.sort();
    seeds
}

/// The `SplitMix64` generator of Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn mutate(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len());
    let end = at + random.below((input.len() - at).min(20));
    match random.below(6) {
        0 => input.truncate(at),
        1 => input.insert(at, random.byte()),
        2 => drop(input.drain(at..end)),
        3 => drop(input.splice(at..at, input[at..end].to_vec())),
        4 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.byte()),
        _ => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
    }
}

/// Checks the seeds, mutations of them, and bytes that come of none.
fn check(target: &str, check: fn(&[u8])) {
    let seeds = seeds(target);
    seeds.iter().for_each(|(_, input)| check(input));
    for number in 0..MUTATIONS {
        let mut random = Random(number);
        let mut input = match seeds.get(random.below(seeds.len() + 1)) {
            Some((_, seed)) => seed.clone(),
            None => (0..random.below(400)).map(|_| random.byte()).collect(),
        };
        (0..=random.below(4)).for_each(|_| mutate(&mut input, &mut random));
        check(&input);
    }
}

#[test]
fn any_cells_end() {
    check("sketch", checks::sketch);
}

#[test]
fn any_list_ends() {
    check("list", checks::list);
}

#[test]
fn any_message_ends() {
    check("message", checks::message);
}

#[test]
fn every_seed_is_what_its_name_says() {
    for (name, input) in seeds("sketch") {
        let mapping = if input[0] == 0 { Mapping::Regular } else { Mapping::Irregular };
        let cells = Cells::from_bytes(mapping, 0, &input[2..]);
        let found = cells.as_ref().ok().and_then(|cells| aevrion_core::sketch::decode(cells).ok());
        let found = found.map(|found| found.len());
        let expected = match name.as_str() {
            "five-regular" => Some(5),
            "ten-irregular" => Some(10),
            "empty-cells" => Some(0),
            _ => None,
        };
        assert_eq!(found, expected, "{name}");
        assert_eq!(cells.is_err(), name == "cut-off");
    }
    for (name, input) in seeds("list") {
        assert_eq!(NumberList::from_bytes(&input, 100).is_ok(), name != "padded", "{name}");
    }
    for (name, input) in seeds("message") {
        assert!(decode(&input, &Parameters::default()).is_ok(), "{name}");
    }
}
