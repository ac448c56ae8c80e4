//! Which cells a locator belongs to.
//!
//! A locator is in cell i with the probability ρ(i) = 1 / (1 + αi), independent of its other cells. So each cell holds
//! about a constant share of any number of differences until they are few enough to decode, whatever that number is:
//! this makes the table rateless. With one α for all locators, ½ is the best. Three classes of locators, each with an α
//! of its own, need fewer cells, and are the better choice for more than some hundred differences.
//!
//! Both sides must compute the same cells, so the arithmetic is that of integers alone. From cell i the next one is
//! i + 1 + ⌊(i + c)(r^(−α) − 1)⌋ with r uniform in (0, 1] and c about (1 + 1/α) / 2. As r = 2^(−z) m with m in [½, 1), the
//! power is a product of two from tables: 2^(αz), but at most 32, and m^(−α), interpolated.

use std::sync::LazyLock;

use super::Locator;
use crate::bounds::CELL_INDEXES;
use crate::random::SplitMix64;

/// Locators of one α.
#[derive(Clone, Copy)]
struct Class {
    /// α in 16ths.
    alpha: u32,
    /// c in 256ths.
    offset: u16,
    /// The number of the 256 values of a locator's class byte.
    share: u16,
}

const REGULAR: Class = Class { alpha: 8, offset: 384, share: 256 };
const IRREGULAR: [Class; 3] = [
    Class { alpha: 2, offset: 1_072, share: 46 },
    Class { alpha: 11, offset: 314, share: 144 },
    Class { alpha: 13, offset: 285, share: 66 },
];

/// How locators are spread over cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// All locators alike: the best for few differences.
    Regular,
    /// Three classes of locators: the best for many differences.
    Irregular,
}

impl Mapping {
    /// The indexes of the cells that the locator belongs to, ascending, below 2²⁴. The first is 0.
    pub fn indexes(self, locator: Locator) -> Indexes {
        let mix = locator.mix();
        let class = u16::from(mix.class);
        let [regular, dense, middle, sparse] = &*POWERS;
        let powers = match self {
            Self::Regular => regular,
            Self::Irregular if class < IRREGULAR[0].share => dense,
            Self::Irregular if class < IRREGULAR[0].share + IRREGULAR[1].share => middle,
            Self::Irregular => sparse,
        };
        Indexes { next: 0, random: mix.random, powers }
    }

    /// The probability that a locator belongs to the cell with this index.
    #[expect(clippy::cast_precision_loss, reason = "an index has 24 bits")]
    pub fn probability(self, index: usize) -> f64 {
        let of = |class: &Class| {
            f64::from(class.share) / 256.0 / (1.0 + f64::from(class.alpha) / 16.0 * index as f64)
        };
        match self {
            Self::Regular => of(&REGULAR),
            Self::Irregular => IRREGULAR.iter().map(of).sum(),
        }
    }
}

/// The ascending cell indexes of one locator; see [`Mapping::indexes`].
#[derive(Debug, Clone)]
pub struct Indexes {
    next: u64,
    random: SplitMix64,
    powers: &'static Powers,
}

impl Iterator for Indexes {
    type Item = usize;

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "an offset has 33 bits, a power 38: a skip has 31")]
    fn next(&mut self) -> Option<usize> {
        let index = self.next;
        if index >= CELL_INDEXES {
            return None;
        }
        let power = self.powers.at(self.random.next());
        let offset = (index << 8) + self.powers.offset;
        let skip = (u128::from(offset) * u128::from(power.wrapping_sub(ONE))) >> (FRACTION + 8);
        self.next = (index + 1).wrapping_add(skip as u64);
        usize::try_from(index).ok()
    }
}

/// Bits of the fraction of a number in the tables.
const FRACTION: u32 = 32;
const ONE: u64 = 1 << FRACTION;

/// Bits of the mantissa that choose an entry.
const ENTRY_BITS: u32 = 8;
const ENTRIES: usize = 1 << ENTRY_BITS;

/// The largest 2^(αz). Without it some locators would have but a few early cells, two of them the same, and more cells
/// would not tell them apart: of 300 differences one decoding of 100 took more than 2 cells each, with it 1.5.
const LARGEST_OCTAVE: u64 = 32 << FRACTION;

/// The powers r^(−α) of one α, as tables of fixed-point numbers.
#[derive(Debug)]
struct Powers {
    /// c in 256ths.
    offset: u64,
    /// 2^(αz) for each number z of leading zeros.
    octaves: [u64; 64],
    /// m^(−α) for m from ½ to 1 in equal steps.
    mantissas: [u64; ENTRIES + 1],
}

/// Regular, then the irregular classes in order.
static POWERS: LazyLock<[Powers; 4]> = LazyLock::new(|| {
    let [dense, middle, sparse] = IRREGULAR;
    [REGULAR, dense, middle, sparse].map(Powers::new)
});

impl Powers {
    fn new(class: Class) -> Self {
        let octaves = std::array::from_fn(|z| {
            let exponent = class.alpha * u32::try_from(z).unwrap_or(0);
            let whole = u128::from(fixed(power(2 << WIDE, exponent % 16))) << (exponent / 16);
            u64::try_from(whole).map_or(LARGEST_OCTAVE, |whole| whole.min(LARGEST_OCTAVE))
        });
        let mantissas = std::array::from_fn(|entry| {
            let inverse = ((2 * ENTRIES as u128) << WIDE) / (ENTRIES + entry) as u128;
            fixed(power(inverse, class.alpha))
        });
        Self { offset: u64::from(class.offset), octaves, mantissas }
    }

    /// r^(−α), where r is this number / 2⁶⁴.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "an entry has 8 bits; a power has 38")]
    fn at(&self, number: u64) -> u64 {
        let number = number | 1;
        let zeros = number.leading_zeros();
        // The bits after the leading 1: the entry, then the place between two entries.
        let mantissa = number << zeros << 1;
        let entry = (mantissa >> (64 - ENTRY_BITS)) as usize;
        let between = mantissa << ENTRY_BITS >> 32;
        let (above, below) = (self.mantissas[entry], self.mantissas[entry + 1]);
        let mantissa = above - (((above - below) * between) >> 32);
        ((u128::from(self.octaves[zeros as usize]) * u128::from(mantissa)) >> FRACTION) as u64
    }
}

/// Bits of the fraction while the tables are made.
const WIDE: u32 = 60;

fn fixed(wide: u128) -> u64 {
    u64::try_from(wide >> (WIDE - FRACTION)).unwrap_or(u64::MAX)
}

/// base^(exponent / 16) for a base in [1, 2] and an exponent below 16, each root and product rounded down.
fn power(base: u128, exponent: u32) -> u128 {
    let (mut root, mut product) = (base, 1 << WIDE);
    for bit in (0..4).rev() {
        root = (root << WIDE).isqrt();
        if exponent >> bit & 1 == 1 {
            product = (product * root) >> WIDE;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(mapping: Mapping, value: u64) -> Vec<usize> {
        mapping.indexes(Locator::from_value(value).unwrap()).take_while(|index| *index < 1_000).collect()
    }

    /// One locator of each irregular class.
    #[test]
    fn mappings_are_pinned() {
        assert_eq!(indexes(Mapping::Regular, 0), [0, 1, 14, 15, 50, 89, 216, 247, 500, 513, 816, 936]);
        assert_eq!(indexes(Mapping::Irregular, 0)[..12], [0, 1, 4, 5, 8, 10, 14, 15, 19, 20, 23, 24]);
        assert_eq!(indexes(Mapping::Irregular, 0)[34..], [356, 399, 474, 569, 633, 734, 798]);
        assert_eq!(indexes(Mapping::Irregular, 6), [0, 1, 15, 75, 114, 131, 410]);
        assert_eq!(indexes(Mapping::Irregular, 7), [0, 30, 33, 52, 101, 315, 585]);
    }

    #[test]
    fn tables_are_pinned() {
        let entries = POWERS.each_ref().map(|powers| {
            [
                powers.octaves[1],
                powers.octaves[2],
                powers.mantissas[0],
                powers.mantissas[100],
                powers.mantissas[255],
            ]
        });
        let expected = [
            [0x1_6A09_E667, 0x2_0000_0000, 0x1_6A09_E667, 0x1_3302_1812, 0x1_0040_180A],
            [0x1_172B_83C7, 0x1_306F_E0A3, 0x1_172B_83C7, 0x1_0BE5_920B, 0x1_0010_0481],
            [0x1_9C49_182A, 0x2_97FB_5AA6, 0x1_9C49_182A, 0x1_48A7_DCFF, 0x1_0058_2530],
            [0x1_C199_BDD8, 0x3_159C_A844, 0x1_C199_BDD8, 0x1_57ED_CD25, 0x1_0068_2F36],
        ];
        assert_eq!(entries, expected);
        for powers in &*POWERS {
            assert_eq!((powers.octaves[0], powers.mantissas[ENTRIES]), (ONE, ONE));
            assert!(powers.mantissas.is_sorted_by(|one, next| one > next));
            assert!(powers.octaves.is_sorted() && powers.octaves[63] == LARGEST_OCTAVE);
        }
    }

    /// Of 100,000 locators; three standard errors.
    #[test]
    fn cells_get_their_share() {
        const LOCATORS: u32 = 100_000;
        let mut random = SplitMix64::new(5);
        let locators: Vec<_> =
            (0..LOCATORS).filter_map(|_| Locator::from_value(random.next() >> 16)).collect();
        for mapping in [Mapping::Regular, Mapping::Irregular] {
            for index in [8, 31, 100, 1_000, 10_000] {
                let hits =
                    |locator: &&Locator| mapping.indexes(**locator).find(|hit| *hit >= index) == Some(index);
                let hits = f64::from(u32::try_from(locators.iter().filter(hits).count()).unwrap());
                let expected = mapping.probability(index) * f64::from(LOCATORS);
                assert!(
                    (hits - expected).abs() < 3.5 * expected.sqrt(),
                    "{mapping:?} {index}: {hits}, {expected}"
                );
            }
        }
    }

    #[test]
    fn indexes_ascend_to_the_end() {
        let mut random = SplitMix64::new(6);
        for _ in 0..1_000 {
            let locator = Locator::from_value(random.next() >> 16).unwrap();
            for mapping in [Mapping::Regular, Mapping::Irregular] {
                let indexes: Vec<_> = mapping.indexes(locator).collect();
                assert_eq!(indexes[0], 0);
                assert!(indexes.is_sorted_by(|one, next| one < next));
                assert!(indexes.len() < 250 && (indexes[indexes.len() - 1] as u64) < CELL_INDEXES);
            }
        }
    }
}
