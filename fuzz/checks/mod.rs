//! What must be true of any bytes from a neighbour. The fuzz targets call these checks, and so does a test of the core.

use aevrion_core::Parameters;
use aevrion_core::message::{decode, encode};
use aevrion_core::sketch::{Cells, Decoder, Difference, Mapping, NumberList, Undecodable};

/// The most numbers of a list.
const NUMBERS: usize = 4_096;

/// Cells of a difference: those decoded are those given. The first byte chooses the mapping, the second one the number
/// of cells that come first; the others follow in a second part.
pub(super) fn sketch(input: &[u8]) {
    let Some(([choice, first], bytes)) = input.split_first_chunk() else { return };
    let mapping = if choice % 2 == 0 { Mapping::Regular } else { Mapping::Irregular };
    let Ok(cells) = Cells::from_bytes(mapping, 0, bytes) else {
        assert_ne!(bytes.len() % 8, 0, "whole cells are refused");
        return;
    };
    assert_eq!(cells.to_bytes(), bytes);
    let mut decoder = Decoder::new(mapping);
    for part in [cells.first(usize::from(*first)), cells.after(usize::from(*first))] {
        decoder.add(part).expect("the next cells");
        let given = cells.first(decoder.len());
        match decoder.decode() {
            Ok(found) => assert_eq!(of(&found, &given), given),
            Err(Undecodable { left, found }) => {
                assert!(left > 0 && left <= given.len());
                assert!(found.len() <= 2 * given.len());
            }
        }
    }
}

/// The same cells of this difference.
fn of(difference: &Difference, same: &Cells) -> Cells {
    let mut cells = Cells::new(same.mapping(), same.len());
    difference.ours.iter().for_each(|locator| cells.insert(*locator));
    difference.theirs.iter().for_each(|locator| cells.remove(*locator));
    cells
}

/// A list: its numbers ascend, and its shortest form is no longer than the one given.
pub(super) fn list(input: &[u8]) {
    let Ok(list) = NumberList::from_bytes(input, NUMBERS) else { return };
    assert!(list.numbers().len() <= NUMBERS);
    assert_eq!(NumberList::new(list.bits(), list.numbers().to_vec()).as_ref(), Ok(&list));
    let shortest = list.to_bytes();
    assert!(shortest.len() <= input.len());
    assert_eq!(NumberList::from_bytes(&shortest, NUMBERS), Ok(list));
}

/// A message: it has an encoding no longer than the one given, of the same meaning.
pub(super) fn message(input: &[u8]) {
    let Ok(message) = decode(input, &Parameters::default()) else { return };
    let encoded = encode(&message);
    assert!(encoded.len() <= input.len());
    assert_eq!(decode(&encoded, &Parameters::default()).as_ref(), Ok(&message));
}
