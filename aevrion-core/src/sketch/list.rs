//! Ascending lists of numbers in few bytes, for locators and short ids.
//!
//! Random numbers of b bits, sorted, lie some 2ᵇ / n apart. A Golomb–Rice code of the gaps takes about b − log₂ n + 1.5
//! bits a number, close to the least possible. Numbers in clusters, as of events in a few leaves, have small gaps with a
//! few very large ones between. So the parameter is that with the shortest result, and a gap that would take a long
//! code is written out.

use thiserror::Error;

/// Ones before a gap that is written out: so large a gap is rare among evenly spread numbers.
const ESCAPE: u32 = 16;

/// Gaps that the parameter is chosen by, evenly over the list.
const SAMPLE: usize = 4_096;

/// What keeps numbers from being a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unlistable {
    /// They do not ascend.
    #[error("the numbers of a list must ascend")]
    Order,
    /// One has too many bits.
    #[error("a number of a list has more than {bits} bits")]
    TooLarge {
        /// Bits of a number.
        bits: u8,
    },
    /// There are 2³² or more.
    #[error("a list has less than 2³² numbers")]
    TooMany,
}

/// Bytes that are no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MalformedList {
    /// The list goes on after the last byte.
    #[error("the list is cut off")]
    CutOff,
    /// More numbers than the reader takes.
    #[error("the list has {len} numbers, more than {max}")]
    TooMany {
        /// The number of numbers.
        len: usize,
        /// The most that the reader takes.
        max: usize,
    },
    /// No width is like this, or no parameter of that width.
    #[error("no list has numbers of {bits} bits and the parameter {parameter}")]
    Header {
        /// Bits of a number.
        bits: u8,
        /// The Rice parameter.
        parameter: u8,
    },
    /// A number has too many bits.
    #[error("a number of the list has too many bits")]
    TooLarge,
    /// A gap that has a shorter code is written out, or bits after the last number are set.
    #[error("the list is not in its shortest form")]
    NotCanonical,
}

/// A list of ascending numbers of a common width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberList {
    bits: u8,
    numbers: Vec<u64>,
}

impl NumberList {
    /// A list of numbers below 2^bits.
    ///
    /// # Errors
    /// If the numbers do not ascend, or one is too large.
    pub fn new(bits: u8, numbers: Vec<u64>) -> Result<Self, Unlistable> {
        if u32::try_from(numbers.len()).is_err() {
            return Err(Unlistable::TooMany);
        }
        if !numbers.is_sorted_by(|one, next| one < next) {
            return Err(Unlistable::Order);
        }
        if !(1..=64).contains(&bits) || numbers.last().is_some_and(|last| !fits(*last, bits)) {
            return Err(Unlistable::TooLarge { bits });
        }
        Ok(Self { bits, numbers })
    }

    /// Bits of a number.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The numbers, ascending.
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// The numbers, ascending.
    pub fn into_numbers(self) -> Vec<u64> {
        self.numbers
    }

    /// The list in as few bytes as its code allows. Cost: some 100 ns a number.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.code(self.best_parameter())
    }

    fn code(&self, parameter: u8) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.push(u64::from(self.bits), 8);
        writer.push(u64::from(parameter), 8);
        writer.push_varint(self.numbers.len());
        if let Some(first) = self.numbers.first() {
            writer.push(*first, u32::from(self.bits));
        }
        for gap in self.gaps() {
            match u32::try_from(gap >> parameter) {
                Ok(ones @ 0..ESCAPE) => {
                    writer.push((1 << (ones + 1)) - 2, ones + 1);
                    writer.push(gap & low_bits(parameter), u32::from(parameter));
                }
                _ => {
                    writer.push((1 << ESCAPE) - 1, ESCAPE);
                    writer.push(gap, u32::from(self.bits));
                }
            }
        }
        writer.finish()
    }

    /// The list of these bytes, if it has at most `max` numbers. Allocates no more than the bytes can hold.
    ///
    /// # Errors
    /// If the bytes are not a list in the form of [`NumberList::to_bytes`], whatever its parameter.
    pub fn from_bytes(bytes: &[u8], max: usize) -> Result<Self, MalformedList> {
        let mut reader = Reader { bytes, at: 0 };
        let (bits, parameter) = (reader.byte()?, reader.byte()?);
        let len = reader.varint()?;
        if !(1..=64).contains(&bits) || parameter >= bits || (len < 2 && parameter > 0) {
            return Err(MalformedList::Header { bits, parameter });
        }
        if len > max {
            return Err(MalformedList::TooMany { len, max });
        }
        // A number takes at least one bit.
        if len > reader.left() {
            return Err(MalformedList::CutOff);
        }
        let mut numbers = Vec::with_capacity(len);
        let mut last = None;
        for _ in 0..len {
            let number = match last {
                None => reader.take(u32::from(bits))?,
                Some(last) => {
                    let next =
                        reader.gap(bits, parameter)?.checked_add(1).and_then(|gap| gap.checked_add(last));
                    next.filter(|next| fits(*next, bits)).ok_or(MalformedList::TooLarge)?
                }
            };
            last = Some(number);
            numbers.push(number);
        }
        reader.finish()?;
        Ok(Self { bits, numbers })
    }

    /// The numbers between one and the next: at least 0.
    fn gaps(&self) -> impl Iterator<Item = u64> + '_ {
        self.numbers.iter().zip(self.numbers.iter().skip(1)).map(|(one, next)| next - one - 1)
    }

    /// The parameter with the shortest result, as far as a sample of the gaps tells.
    fn best_parameter(&self) -> u8 {
        let cost = |parameter: u8| -> u64 {
            let cost = |gap: u64| match gap >> parameter {
                quotient if quotient < u64::from(ESCAPE) => quotient + 1 + u64::from(parameter),
                _ => u64::from(ESCAPE) + u64::from(self.bits),
            };
            self.gaps().step_by(self.numbers.len() / SAMPLE + 1).map(cost).sum()
        };
        (0..self.bits).min_by_key(|parameter| cost(*parameter)).unwrap_or(0)
    }
}

/// Whether a number has at most so many bits, of 1 to 64.
fn fits(number: u64, bits: u8) -> bool {
    number.leading_zeros() + u32::from(bits) >= u64::BITS
}

/// So many ones, below 64.
fn low_bits(bits: u8) -> u64 {
    (1 << bits) - 1
}

/// Bits into bytes, the highest first.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// The bits of the next byte.
    pending: u8,
    /// Their number, below 8.
    len: u32,
}

impl Writer {
    /// Appends the low `len` bits of the number; the others are zero.
    fn push(&mut self, number: u64, len: u32) {
        for bit in (0..len).rev() {
            self.pending = self.pending << 1 | u8::from(number >> bit & 1 == 1);
            self.len += 1;
            if self.len == 8 {
                self.bytes.push(self.pending);
                (self.pending, self.len) = (0, 0);
            }
        }
    }

    /// Seven bits a byte, the lowest first; the highest bit of a byte says that another follows.
    fn push_varint(&mut self, number: usize) {
        let mut rest = number as u64;
        while rest >= 0x80 {
            self.push(rest & 0x7F | 0x80, 8);
            rest >>= 7;
        }
        self.push(rest, 8);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.len > 0 {
            self.push(0, 8 - self.len);
        }
        self.bytes
    }
}

/// Bits of bytes, the highest first.
struct Reader<'b> {
    bytes: &'b [u8],
    /// The number of bits read.
    at: usize,
}

impl Reader<'_> {
    /// The number of bits left.
    fn left(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }

    fn bit(&mut self) -> Result<bool, MalformedList> {
        let byte = self.bytes.get(self.at / 8).ok_or(MalformedList::CutOff)?;
        let bit = byte << (self.at % 8) & 0x80 != 0;
        self.at += 1;
        Ok(bit)
    }

    fn take(&mut self, len: u32) -> Result<u64, MalformedList> {
        (0..len).try_fold(0, |number, _| Ok(number << 1 | u64::from(self.bit()?)))
    }

    fn byte(&mut self) -> Result<u8, MalformedList> {
        Ok(u8::try_from(self.take(8)?).unwrap_or(u8::MAX))
    }

    /// At most 32 bits, in as few bytes as possible.
    fn varint(&mut self) -> Result<usize, MalformedList> {
        let mut number: u64 = 0;
        for place in 0..5 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << (7 * place);
            if byte == 0 && place > 0 {
                return Err(MalformedList::NotCanonical);
            }
            if byte < 0x80 {
                return u32::try_from(number)
                    .ok()
                    .and_then(|number| usize::try_from(number).ok())
                    .ok_or(MalformedList::NotCanonical);
            }
        }
        Err(MalformedList::NotCanonical)
    }

    fn gap(&mut self, bits: u8, parameter: u8) -> Result<u64, MalformedList> {
        let mut ones = 0;
        while ones < ESCAPE && self.bit()? {
            ones += 1;
        }
        if ones < ESCAPE {
            let low = self.take(u32::from(parameter))?;
            let high = u64::from(ones) << parameter;
            return if high >> parameter == u64::from(ones) {
                Ok(high | low)
            } else {
                Err(MalformedList::TooLarge)
            };
        }
        let gap = self.take(u32::from(bits))?;
        if gap >> parameter < u64::from(ESCAPE) { Err(MalformedList::NotCanonical) } else { Ok(gap) }
    }

    /// Checks that nothing follows but the zeros up to the end of the byte.
    fn finish(mut self) -> Result<(), MalformedList> {
        let left = self.left();
        if left >= 8 || self.take(u32::try_from(left).unwrap_or(0))? != 0 {
            return Err(MalformedList::NotCanonical);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::random::SplitMix64;

    fn list(bits: u8, numbers: impl IntoIterator<Item = u64>) -> NumberList {
        let numbers: BTreeSet<u64> = numbers.into_iter().collect();
        NumberList::new(bits, numbers.into_iter().collect()).unwrap()
    }

    #[test]
    fn bytes_are_pinned() {
        let bytes = |bits, numbers: &[u64]| hex::encode(list(bits, numbers.iter().copied()).to_bytes());
        assert_eq!(bytes(27, &[]), "1b0000");
        assert_eq!(bytes(27, &[5]), "1b0001000000a0");
        assert_eq!(bytes(8, &[0, 1, 2, 9, 255]), "080505000001bfaa");
        assert_eq!(
            bytes(48, &[0x0123_4567_89AB, 0x0123_4567_89FF, 0x0123_4570_0000, 0xFFFF_FFFF_FFFF]),
            "3011040123456789ab0014fc7600fffffedcba8ffffe"
        );
        assert_eq!(bytes(64, &[0, u64::MAX]), "403f020000000000000000bfffffffffffffff00");
    }

    #[test]
    fn bytes_of_another_form_are_refused() {
        let read = |bytes: &[u8]| NumberList::from_bytes(bytes, 10);
        assert_eq!(read(&[]), Err(MalformedList::CutOff));
        assert_eq!(read(&[0, 0, 0]), Err(MalformedList::Header { bits: 0, parameter: 0 }));
        assert_eq!(read(&[65, 0, 0]), Err(MalformedList::Header { bits: 65, parameter: 0 }));
        assert_eq!(read(&[8, 8, 2, 0, 0, 0]), Err(MalformedList::Header { bits: 8, parameter: 8 }));
        assert_eq!(read(&[8, 1, 1, 0]), Err(MalformedList::Header { bits: 8, parameter: 1 }));
        assert_eq!(read(&[8, 0, 11]), Err(MalformedList::TooMany { len: 11, max: 10 }));
        assert_eq!(read(&[8, 0, 9]), Err(MalformedList::CutOff));
        assert_eq!(read(&[8, 0, 0x80, 0]), Err(MalformedList::NotCanonical));
        assert_eq!(read(&[8, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F]), Err(MalformedList::NotCanonical));
        assert_eq!(read(&[8, 0, 1, 7]), Ok(list(8, [7])));
        // Beyond the width, the padding, and the bytes.
        assert_eq!(read(&[8, 0, 2, 255, 0]), Err(MalformedList::TooLarge));
        assert_eq!(read(&[8, 0, 2, 7, 1]), Err(MalformedList::NotCanonical));
        assert_eq!(read(&[8, 0, 1, 7, 0]), Err(MalformedList::NotCanonical));
        assert_eq!(read(&[8, 0, 2, 7, 0b0000_0000]), Ok(list(8, [7, 8])));
        // A gap of 15, written out; and of 16.
        assert_eq!(read(&[8, 0, 2, 7, 255, 255, 15]), Err(MalformedList::NotCanonical));
        assert_eq!(read(&[8, 0, 2, 7, 255, 255, 16]), Ok(list(8, [7, 24])));
    }

    #[test]
    fn numbers_that_are_no_list_are_refused() {
        assert_eq!(NumberList::new(8, vec![1, 1]), Err(Unlistable::Order));
        assert_eq!(NumberList::new(8, vec![2, 1]), Err(Unlistable::Order));
        assert_eq!(NumberList::new(8, vec![256]), Err(Unlistable::TooLarge { bits: 8 }));
        assert_eq!(NumberList::new(0, vec![]), Err(Unlistable::TooLarge { bits: 0 }));
        assert_eq!(NumberList::new(65, vec![]), Err(Unlistable::TooLarge { bits: 65 }));
    }

    /// 10,000 numbers of 48 bits: evenly spread; in one leaf; in ten leaves.
    #[test]
    fn a_number_takes_little_more_than_its_information() {
        let mut random = SplitMix64::new(3);
        let mut numbers = |leaves: u64| -> Vec<u64> {
            let leaf = |random: &mut SplitMix64| match leaves {
                0 => random.next() >> 44,
                _ => 0x4_0000 + random.next() % leaves * 1_000,
            };
            (0..10_000).map(|_| leaf(&mut random) << 28 | random.next() >> 36).collect()
        };
        let bits = |numbers: Vec<u64>| list(48, numbers).to_bytes().len() as f64 * 8.0 / 10_000.0;
        // log₂ of 10,000 is 13.3.
        assert!(bits(numbers(0)) < 48.0 - 13.3 + 1.6);
        assert!(bits(numbers(1)) < 28.0 - 13.3 + 1.6);
        assert!(bits(numbers(10)) < 28.0 - 10.0 + 1.7);
    }

    proptest! {
        #[test]
        fn lists_round_trip(bits in 1_u8..=64, shift in 0_u8..64, numbers in proptest::collection::vec(any::<u64>(), 0..300)) {
            let list = list(bits, numbers.iter().map(|number| number >> shift >> (64 - bits)));
            let bytes = list.to_bytes();
            let len = list.numbers().len();
            prop_assert_eq!(NumberList::from_bytes(&bytes, len), Ok(list));
            if let Some(max) = len.checked_sub(1) {
                prop_assert_eq!(NumberList::from_bytes(&bytes, max), Err(MalformedList::TooMany { len, max }));
            }
            for cut in 0..bytes.len() {
                prop_assert_eq!(NumberList::from_bytes(&bytes[..cut], len), Err(MalformedList::CutOff));
            }
        }

        #[test]
        fn bytes_that_are_a_list_are_its_only_form(
            bits in 0_u8..66, parameter in 0_u8..20, len in 0_u8..12, codes in proptest::collection::vec(any::<u8>(), 0..60)
        ) {
            let bytes = [&[bits, parameter, len][..], &codes].concat();
            if let Ok(list) = NumberList::from_bytes(&bytes, 10) {
                prop_assert_eq!(list.code(parameter), bytes);
            }
        }
    }
}
