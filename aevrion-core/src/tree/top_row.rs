//! The top row of the tree in memory, so that the cost of a root depends on the changes, not on the number of nodes.
//!
//! The root is the hash of the whole top row, which has a node for every two years of the default parameters, but
//! events at arbitrary times may make it as long as there are events. BLAKE3 is a tree itself: the row is kept as the
//! very bytes that the root hashes, with the chaining values of its aligned parts. A changed node costs the hash of its
//! part and the path above it; a new node also moves all nodes behind it.
//!
//! Staleness is tracked by index: entries not requested since they changed stay stale, because the present node changes
//! with every write, and is part of no root of the past. A row longer than [`TOP_ROW_NODES`] is not kept; then every
//! root reads all of it, page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use super::hash::{TOP_ENTRY as ENTRY, top_entry};
use super::{Indexed, Node, Root, add};
use crate::Hash;
use crate::bounds::{TOP_ROW_NODES, TOUCHED_TOP_NODES};

/// Bytes of a part with its own chaining value. A power of two of chunks, so that it is a subtree of BLAKE3; large
/// enough to fill its vector units, small enough that rehashing one takes some tens of microseconds.
const PART: usize = 64 << 10;

/// Nodes whose counts are summed at a time.
const BLOCK: usize = 1_024;

/// All nodes between two indexes of the row, both included.
pub(super) type Found = (RangeInclusive<u64>, Vec<Indexed>);

/// The top row.
pub(super) struct TopRow {
    /// The entries, ascending, one after the other.
    bytes: Vec<u8>,
    counts: Vec<u64>,
    parts: Cached<ChainingValue>,
    sums: Cached<u64>,
    stale: Ranges,
    /// The greatest number of kept nodes.
    most: usize,
    /// Whether there are more. Events are never removed, so this never resets.
    too_long: bool,
}

impl TopRow {
    /// A row without any known nodes.
    pub(super) fn unknown() -> Self {
        Self::of_at_most(TOP_ROW_NODES)
    }

    /// As [`TopRow::unknown`], with at most `most` nodes.
    pub(super) fn of_at_most(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            counts: Vec::new(),
            parts: Cached::default(),
            sums: Cached::default(),
            stale: Ranges::all(),
            most,
            too_long: false,
        }
    }

    /// Marks the whole row as stale.
    pub(super) fn forget(&mut self) {
        *self = Self { too_long: self.too_long, ..Self::of_at_most(self.most) };
    }

    /// Marks the nodes of these indexes as stale.
    pub(super) fn touch(&mut self, indexes: RangeInclusive<u64>) {
        self.stale.add(indexes);
        if self.stale.0.len() > TOUCHED_TOP_NODES {
            self.forget();
        }
    }

    /// Whether the row is kept in memory.
    pub(super) fn is_kept(&self) -> bool {
        !self.too_long
    }

    /// The parts of `indexes` that are stale or `touched`, and not `found`.
    pub(super) fn lacking(
        &self,
        indexes: &RangeInclusive<u64>,
        touched: &BTreeSet<u64>,
        found: &[Found],
    ) -> Vec<RangeInclusive<u64>> {
        let mut lacking = Ranges(BTreeMap::new());
        let mut rest = Some(indexes.clone());
        while let Some(stale) = rest.and_then(|rest| self.stale.first_within(&rest)) {
            rest =
                stale.end().checked_add(1).map(|next| next..=*indexes.end()).filter(|rest| !rest.is_empty());
            lacking.add(stale);
        }
        touched.iter().for_each(|index| lacking.add(*index..=*index));
        found.iter().for_each(|(indexes, _)| lacking.remove(indexes));
        lacking.0.into_iter().map(|(first, last)| first..=last).collect()
    }

    /// Enters the nodes read, in ascending order.
    pub(super) fn take(&mut self, found: &[Found]) {
        let moves_from = found.iter().position(|found| !self.take_in_place(found));
        if let Some(from) = moves_from {
            self.merge(&found[from..]);
        }
        for (indexes, _) in found {
            self.stale.remove(indexes);
        }
        if self.counts.len() > self.most {
            self.too_long = true;
            self.forget();
        }
    }

    /// Overwrites nodes with the same indexes; `false`, and nothing is done, if the indexes are not the same.
    fn take_in_place(&mut self, (indexes, nodes): &Found) -> bool {
        let entries = self.entries(indexes);
        let same = entries.len() == nodes.len()
            && entries.clone().zip(nodes).all(|(entry, (index, _))| self.node(entry).0 == *index);
        if !same {
            return false;
        }
        for (entry, (index, node)) in entries.zip(nodes) {
            self.counts[entry] = node.count;
            self.sums.change(entry / BLOCK);
            let bytes = entry * ENTRY..(entry + 1) * ENTRY;
            self.parts.change(bytes.start / PART);
            self.parts.change((bytes.end - 1) / PART);
            self.bytes[bytes].copy_from_slice(&top_entry(*index, node.hash));
        }
        true
    }

    /// Replaces nodes by the read ones. The nodes behind move once, for any number of replaced nodes.
    fn merge(&mut self, found: &[Found]) {
        let Some((first, _)) = found.first() else { return };
        let from = self.entries(first).start;
        self.sums.cut(from / BLOCK);
        self.parts.cut(from * ENTRY / PART);
        let (bytes, counts) = (self.bytes.split_off(from * ENTRY), self.counts.split_off(from));
        let mut next = 0;
        for (indexes, nodes) in found {
            let kept = next..first_from(&bytes, *indexes.start());
            next = first_behind(&bytes, *indexes.end());
            self.bytes.extend_from_slice(&bytes[kept.start * ENTRY..kept.end * ENTRY]);
            self.counts.extend_from_slice(&counts[kept]);
            for (index, node) in nodes {
                self.bytes.extend_from_slice(&top_entry(*index, node.hash));
                self.counts.push(node.count);
            }
        }
        self.bytes.extend_from_slice(&bytes[next * ENTRY..]);
        self.counts.extend_from_slice(&counts[next..]);
    }

    /// Hash and count of the nodes of `indexes`, none of which may be stale, between a node `before` them and one
    /// `behind` them that the row has in another form. Cost: the changed parts, if nothing before `indexes` is left
    /// out; else all of it is hashed.
    pub(super) fn root(
        &mut self,
        before: Option<Indexed>,
        indexes: Option<RangeInclusive<u64>>,
        behind: Option<Indexed>,
    ) -> Root {
        let entries = indexes.map_or(0..0, |indexes| self.entries(&indexes));
        let cut = before.iter().chain(&behind).map(|(_, node)| node.count);
        let count = cut.fold(self.count(entries.clone()), add);
        let [before, behind] =
            [before, behind].map(|cut| cut.map(|(index, node)| top_entry(index, node.hash)));
        let behind = behind.as_ref().map_or(&[][..], |entry| entry);
        let hash = match before {
            None if entries.start == 0 => self.hash_of_first(entries.end, behind),
            before => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(before.as_ref().map_or(&[], |entry| entry));
                hasher.update(&self.bytes[entries.start * ENTRY..entries.end * ENTRY]);
                hasher.update(behind);
                if hasher.count() == 0 { Hash::EMPTY } else { hasher.finalize().into() }
            }
        };
        Root { count, hash }
    }

    /// The last of the nodes of `indexes`, none of which may be stale: at most `most`, ascending.
    pub(super) fn latest(&self, indexes: &RangeInclusive<u64>, most: usize) -> Vec<Indexed> {
        let entries = self.entries(indexes);
        (entries.end - entries.len().min(most)..entries.end).map(|entry| self.node(entry)).collect()
    }

    /// The hash of the first `entries` and of the bytes `behind`, which are less than a part.
    fn hash_of_first(&mut self, entries: usize, behind: &[u8]) -> Hash {
        let bytes = &self.bytes[..entries * ENTRY];
        let len = bytes.len() + behind.len();
        let whole = bytes.len() / PART;
        let tail = [&bytes[whole * PART..], behind].concat();
        if len == 0 {
            return Hash::EMPTY;
        }
        if len <= PART {
            return blake3::hash(&tail).into();
        }
        let part = |number| chaining_value(&bytes[number * PART..(number + 1) * PART], number);
        let mut values: Vec<_> = (0..whole).map(|number| self.parts.get(number, part)).collect();
        values.extend((whole..).zip(tail.chunks(PART)).map(|(number, bytes)| chaining_value(bytes, number)));
        let (left, right) = split(&values, len);
        merge_subtrees_root(&subtree(left.0, left.1), &subtree(right.0, right.1), Mode::Hash).into()
    }

    fn count(&mut self, entries: Range<usize>) -> u64 {
        let mut sum = 0_u64;
        let mut entry = entries.start;
        while entry < entries.end {
            let (block, end) = (entry / BLOCK, (entry / BLOCK + 1) * BLOCK);
            if entry.is_multiple_of(BLOCK) && end <= entries.end {
                let counts = &self.counts[entry..end];
                sum = add(sum, self.sums.get(block, |_| counts.iter().copied().fold(0, add)));
                entry = end;
            } else {
                let end = end.min(entries.end);
                sum = self.counts[entry..end].iter().copied().fold(sum, add);
                entry = end;
            }
        }
        sum
    }

    /// The positions of the nodes of `indexes`.
    fn entries(&self, indexes: &RangeInclusive<u64>) -> Range<usize> {
        first_from(&self.bytes, *indexes.start())..first_behind(&self.bytes, *indexes.end())
    }

    fn node(&self, entry: usize) -> Indexed {
        let bytes = &self.bytes[entry * ENTRY..(entry + 1) * ENTRY];
        let hash = bytes[8..].try_into().map_or(Hash::EMPTY, Hash::from_bytes);
        (index_of(bytes), Node { count: self.counts[entry], hash })
    }
}

fn index_of(entry: &[u8]) -> u64 {
    entry.first_chunk().map_or(0, |index| u64::from_be_bytes(*index))
}

/// The position in `entries` of the first index from `index` on.
fn first_from(entries: &[u8], index: u64) -> usize {
    let (mut low, mut high) = (0, entries.len() / ENTRY);
    while low < high {
        let middle = low.midpoint(high);
        if index_of(&entries[middle * ENTRY..]) < index { low = middle + 1 } else { high = middle }
    }
    low
}

/// The position in `entries` of the first index behind `index`.
fn first_behind(entries: &[u8], index: u64) -> usize {
    index.checked_add(1).map_or(entries.len() / ENTRY, |behind| first_from(entries, behind))
}

fn chaining_value(part: &[u8], number: usize) -> ChainingValue {
    blake3::Hasher::new().set_input_offset((number * PART) as u64).update(part).finalize_non_root()
}

/// Parts of a subtree of BLAKE3, and their length in bytes.
type Subtree<'v> = (&'v [ChainingValue], usize);

/// The two halves of a subtree of more than one part.
fn split(values: &[ChainingValue], len: usize) -> (Subtree<'_>, Subtree<'_>) {
    let left = usize::try_from(left_subtree_len(len as u64)).unwrap_or(len);
    let (first, rest) = values.split_at(left / PART);
    ((first, left), (rest, len - left))
}

fn subtree(values: &[ChainingValue], len: usize) -> ChainingValue {
    if let [value] = values {
        return *value;
    }
    let (left, right) = split(values, len);
    merge_subtrees_non_root(&subtree(left.0, left.1), &subtree(right.0, right.1), Mode::Hash)
}

/// Cached results for numbered pieces, until they change.
struct Cached<T>(Vec<Option<T>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Cached<T> {
    /// Drops the result of this piece.
    fn change(&mut self, piece: usize) {
        if let Some(piece) = self.0.get_mut(piece) {
            *piece = None;
        }
    }

    /// Drops the results of this piece and all behind it.
    fn cut(&mut self, piece: usize) {
        self.0.truncate(piece);
    }

    fn get(&mut self, piece: usize, compute: impl FnOnce(usize) -> T) -> T {
        if self.0.len() <= piece {
            self.0.resize(piece + 1, None);
        }
        *self.0[piece].get_or_insert_with(|| compute(piece))
    }
}

/// Indexes, as disjoint ranges: the last of each by its first.
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn all() -> Self {
        Self(BTreeMap::from([(0, u64::MAX)]))
    }

    fn add(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        while let Some((met_first, met_last)) = self.latest_until(last).filter(|(_, met)| *met >= first) {
            self.0.remove(&met_first);
            (first, last) = (first.min(met_first), last.max(met_last));
        }
        self.0.insert(first, last);
    }

    fn remove(&mut self, range: &RangeInclusive<u64>) {
        while let Some((first, last)) =
            self.latest_until(*range.end()).filter(|(_, last)| last >= range.start())
        {
            self.0.remove(&first);
            if let Some(behind) = range.end().checked_add(1).filter(|behind| *behind <= last) {
                self.0.insert(behind, last);
            }
            if first < *range.start() {
                self.0.insert(first, range.start() - 1);
            }
        }
    }

    fn first_within(&self, range: &RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
        let before = self.latest_until(*range.start()).filter(|(_, last)| last >= range.start());
        let next = || self.0.range(range.clone()).next().map(|(first, last)| (*first, *last));
        let (first, last) = before.or_else(next)?;
        Some(first.max(*range.start())..=last.min(*range.end()))
    }

    /// The last range that begins at `index` or before.
    fn latest_until(&self, index: u64) -> Option<(u64, u64)> {
        self.0.range(..=index).next_back().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::hash::RootHasher;

    type Model = BTreeMap<u64, Node>;

    fn node(seed: u64) -> Node {
        Node { count: seed % 1_000 + 1, hash: blake3::hash(&seed.to_be_bytes()).into() }
    }

    /// The root of these nodes, straight from its definition.
    fn plain(nodes: impl IntoIterator<Item = Indexed>) -> Root {
        let (mut count, mut hasher) = (0, RootHasher::new());
        for (index, node) in nodes {
            count += node.count;
            hasher.update(index, node.hash);
        }
        Root { count, hash: hasher.finish() }
    }

    /// Reads the stale nodes of `indexes` from the model.
    fn refresh(row: &mut TopRow, model: &Model, indexes: &RangeInclusive<u64>) {
        let read = |stale: RangeInclusive<u64>| {
            let nodes = model.range(stale.clone()).map(|(index, node)| (*index, *node)).collect();
            (stale, nodes)
        };
        let found: Vec<Found> = lacking(row, indexes).into_iter().map(read).collect();
        row.take(&found);
    }

    fn lacking(row: &TopRow, indexes: &RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        row.lacking(indexes, &BTreeSet::new(), &[])
    }

    /// An action on a row.
    #[derive(Debug, Clone)]
    enum Act {
        /// Writes a number of nodes, from an index on, at a fixed distance.
        Write(u64, u64, u64, u64),
        /// Removes nodes: a hash was mended.
        Remove(u64, u64),
        Forget,
        /// Computes the root between two indexes, of which the first and the last may be cut.
        Root(u64, u64, bool, bool),
    }

    fn act() -> impl Strategy<Value = Act> {
        let index = || prop_oneof![0..60_u64, 0..6_000_u64, Just(u64::MAX), u64::MAX - 9..u64::MAX];
        prop_oneof![
            4 => (index(), prop_oneof![Just(1_u64), 1..2_000_u64], 1..5_u64, any::<u64>())
                .prop_map(|(first, count, apart, seed)| Act::Write(first, count, apart, seed)),
            1 => (index(), 1..50_u64).prop_map(|(first, count)| Act::Remove(first, count)),
            1 => Just(Act::Forget),
            6 => (index(), index(), any::<bool>(), any::<bool>())
                .prop_map(|(a, b, before, behind)| Act::Root(a.min(b), a.max(b), before, behind)),
            3 => (any::<bool>()).prop_map(|behind| Act::Root(0, u64::MAX, false, behind)),
        ]
    }

    fn check(row: &mut TopRow, model: &Model, (first, last): (u64, u64), cut: (bool, bool)) {
        refresh(row, model, &(first..=last));
        let before = cut.0.then(|| first.checked_sub(1)).flatten().map(|index| (index, node(!index)));
        let behind = cut.1.then(|| last.checked_add(1)).flatten().map(|index| (index, node(!index)));
        let whole = || model.range(first..=last).map(|(index, node)| (*index, *node));
        let expected = plain(before.into_iter().chain(whole()).chain(behind));
        assert_eq!(row.root(before, Some(first..=last), behind), expected);
        let latest: Vec<_> = whole().collect();
        let most = latest.len() / 2 + 1;
        assert_eq!(row.latest(&(first..=last), most), latest[latest.len() - most.min(latest.len())..]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_kept_row_has_the_root_of_its_nodes(acts in prop::collection::vec(act(), 1..30)) {
            let (mut row, mut model) = (TopRow::unknown(), Model::new());
            for act in acts {
                match act {
                    Act::Write(first, count, apart, seed) => {
                        for number in 0..count {
                            let Some(index) = first.checked_add(number * apart) else { break };
                            model.insert(index, node(seed.wrapping_add(number)));
                            row.touch(index..=index);
                        }
                    }
                    Act::Remove(first, count) => {
                        let indexes = first..=first.saturating_add(count);
                        model.retain(|index, _| !indexes.contains(index));
                        row.touch(indexes);
                    }
                    Act::Forget => row.forget(),
                    Act::Root(first, last, before, behind) => {
                        check(&mut row, &model, (first, last), (before, behind));
                    }
                }
            }
            check(&mut row, &model, (0, u64::MAX), (false, false));
        }
    }

    #[test]
    fn rows_of_every_length_around_the_parts_of_a_hash() {
        // 1,639 entries are the first that need a second part, 8,192 fill five of them exactly.
        for len in [0, 1, 2, 1_637, 1_638, 1_639, 3_276, 3_277, 4_915, 8_191, 8_192, 8_193, 13_107, 13_108] {
            let (mut row, mut model) = (TopRow::unknown(), Model::new());
            model.extend((0..len).map(|index| (index * 3, node(index))));
            check(&mut row, &model, (0, u64::MAX), (false, false));
            check(&mut row, &model, (0, len * 3), (false, true));
            check(&mut row, &model, (0, len), (false, true));
            check(&mut row, &model, (len, len * 2), (true, true));
        }
    }

    #[test]
    fn one_change_costs_one_part() {
        let (mut row, mut model) = (TopRow::unknown(), Model::new());
        model.extend((0..100_000).map(|index| (index, node(index))));
        check(&mut row, &model, (0, u64::MAX), (false, false));
        model.insert(50_000, node(7));
        row.touch(50_000..=50_000);
        refresh(&mut row, &model, &(0..=u64::MAX));
        let missing = |row: &TopRow| row.parts.0.iter().filter(|part| part.is_none()).count();
        assert_eq!((missing(&row), row.parts.0.len()), (1, 100_000 * ENTRY / PART));
        assert_eq!(row.sums.0.iter().filter(|sum| sum.is_none()).count(), 1);
        check(&mut row, &model, (0, u64::MAX), (false, false));
        assert_eq!(missing(&row), 0);
    }

    #[test]
    fn a_stale_node_that_nobody_asks_for_is_left_alone() {
        let (mut row, mut model) = (TopRow::unknown(), Model::new());
        model.extend((0..10).map(|index| (index, node(index))));
        check(&mut row, &model, (0, u64::MAX), (false, false));
        row.touch(9..=9);
        assert_eq!(lacking(&row, &(0..=8)), []);
        assert_eq!(lacking(&row, &(0..=20)), [9..=9]);
        check(&mut row, &model, (0, 8), (false, true));
        assert_eq!(lacking(&row, &(0..=20)), [9..=9]);
    }

    #[test]
    fn what_is_touched_lacks_and_what_is_found_does_not() {
        let mut row = TopRow::unknown();
        refresh(&mut row, &Model::new(), &(0..=u64::MAX));
        row.touch(3..=5);
        let (touched, found) = (BTreeSet::from([1, 4, 6, 9]), [(4..=4, Vec::new()), (9..=9, Vec::new())]);
        assert_eq!(row.lacking(&(0..=9), &touched, &found), [1..=1, 3..=3, 5..=5, 6..=6]);
    }

    #[test]
    fn too_many_single_nodes_are_all() {
        let mut row = TopRow::unknown();
        refresh(&mut row, &Model::new(), &(0..=u64::MAX));
        (0..TOUCHED_TOP_NODES as u64).for_each(|number| row.touch(number * 2..=number * 2));
        assert_eq!(lacking(&row, &(1..=1)), []);
        row.touch(u64::MAX..=u64::MAX);
        assert_eq!(lacking(&row, &(1..=1)), [1..=1]);
    }
}
