//! Which cells a locator belongs to.
//!
//! A locator is in cell i with the probability ρ(i) = 1 / (1 + αi), independent of its other cells. So each cell holds
//! about a constant share of any number of differences until they are few enough to decode, whatever that number is:
//! this makes the table rateless. With one α for all locators, ½ is the best. Three classes of locators, each with an α
//! of its own, need fewer cells, and are the better choice for more than some hundred differences.
//!
//! Both sides must compute the same cells, so the arithmetic is that of integers alone. From cell i the next one is
//! i + 1 + ⌊(i + c)(r^(−α) − 1)⌋ with r uniform in (0, 1] and c = (1 + 1/α) / 2. As r = 2^(−z) m with m in [½, 1), the
//! power is a product of two from tables, 2^(αz) and m^(−α), the latter interpolated.

use std::sync::LazyLock;

use super::Locator;
use crate::bounds::CELL_INDEXES;
use crate::random::SplitMix64;

/// Locators of one α.
#[derive(Clone, Copy)]
struct Class {
    /// α in 64ths.
    alpha: u32,
    /// The number of the 256 values of a locator's class byte.
    share: u16,
}

const REGULAR: Class = Class { alpha: 32, share: 256 };
const IRREGULAR: [Class; 3] =
    [Class { alpha: 7, share: 46 }, Class { alpha: 44, share: 144 }, Class { alpha: 52, share: 66 }];

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
            f64::from(class.share) / 256.0 / (1.0 + f64::from(class.alpha) / 64.0 * index as f64)
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
    fn next(&mut self) -> Option<usize> {
        let index = self.next;
        if index >= CELL_INDEXES {
            return None;
        }
        let power = self.powers.at(self.random.next());
        let offset = (index << 8) + self.powers.offset;
        let skip = (u128::from(offset) * u128::from(power - ONE)) >> (FRACTION + 8);
        self.next = u64::try_from(skip).unwrap_or(CELL_INDEXES).saturating_add(index + 1);
        usize::try_from(index).ok()
    }
}

/// Bits of the fraction of a number in the tables.
const FRACTION: u32 = 32;
const ONE: u64 = 1 << FRACTION;

/// Bits of the mantissa that choose an entry.
const ENTRY_BITS: u32 = 8;
const ENTRIES: usize = 1 << ENTRY_BITS;

/// A larger power leads beyond the last cell from any cell.
const LARGEST_POWER: u64 = CELL_INDEXES << FRACTION;

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
    [REGULAR, dense, middle, sparse].map(|class| Powers::new(class.alpha))
});

impl Powers {
    fn new(alpha: u32) -> Self {
        let octaves = std::array::from_fn(|z| {
            let exponent = alpha * u32::try_from(z).unwrap_or(0);
            let whole = u128::from(fixed(power(2 << WIDE, exponent % 64))) << (exponent / 64);
            u64::try_from(whole).map_or(LARGEST_POWER, |whole| whole.min(LARGEST_POWER))
        });
        let mantissas = std::array::from_fn(|entry| {
            let inverse = ((2 * ENTRIES as u128) << WIDE) / (ENTRIES + entry) as u128;
            fixed(power(inverse, alpha))
        });
        Self { offset: u64::from(128 + 8_192 / alpha), octaves, mantissas }
    }

    /// r^(−α), where r is this number / 2⁶⁴.
    #[inline]
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

/// base^(exponent / 64) for a base in [1, 2] and an exponent below 64, each root and product rounded down.
fn power(base: u128, exponent: u32) -> u128 {
    let (mut root, mut product) = (base, 1 << WIDE);
    for bit in (0..6).rev() {
        root = (root << WIDE).isqrt();
        if exponent >> bit & 1 == 1 {
            product = (product * root) >> WIDE;
        }
    }
    product
}
