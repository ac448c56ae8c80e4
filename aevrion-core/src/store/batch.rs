//! The content of a commit: rows to write and to remove, sorted per table.

use bytes::Bytes;

/// The tables of a replica. Their content is opaque to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// The single copy of every event, in order of time.
    Events,
    /// Values too long for `Events`, under the same key.
    Bodies,
    /// The versions of every key, newest first.
    ByKey,
    /// Hash and count of digest nodes, valid ones only.
    Nodes,
    /// The order in which this replica received events.
    Arrivals,
    /// A few named settings and checkpoints.
    Meta,
    /// Actions due in the future, in order of time.
    Timetable,
}

impl Table {
    /// All tables, in the order of their tags.
    pub const ALL: [Self; 7] =
        [Self::Events, Self::Bodies, Self::ByKey, Self::Nodes, Self::Arrivals, Self::Meta, Self::Timetable];

    /// The table's name in the engine's catalogue. It is stored, and so must never change.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Bodies => "bodies",
            Self::ByKey => "by_key",
            Self::Nodes => "nodes",
            Self::Arrivals => "arrivals",
            Self::Meta => "meta",
            Self::Timetable => "timetable",
        }
    }

    /// The table's prefix byte, for engines with one ordered map. It is stored, and so must never change.
    pub const fn tag(self) -> u8 {
        self as u8
    }

    const fn slot(self) -> usize {
        self as usize
    }
}

/// One row to write, or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The row's key.
    pub key: Bytes,
    /// The row's value; `None` removes the row if it exists.
    pub value: Option<Bytes>,
}

/// All changes of one commit, collected in any order. [`WriteBatch::into_tables`] sorts them.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    tables: [Vec<Write>; Table::ALL.len()],
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a row and replaces an existing one. Of several writes to one key, the last counts.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.tables[table.slot()].push(Write { key: key.into(), value: Some(value.into()) });
    }

    /// Removes a row if it exists.
    pub fn remove(&mut self, table: Table, key: impl Into<Bytes>) {
        self.tables[table.slot()].push(Write { key: key.into(), value: None });
    }

    /// Whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(Vec::is_empty)
    }

    /// The keys of the rows of a table that are removed.
    pub(crate) fn removed(&self, table: Table) -> impl Iterator<Item = &Bytes> {
        self.tables[table.slot()].iter().filter(|write| write.value.is_none()).map(|write| &write.key)
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        let weight = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
        self.tables.iter().flatten().map(weight).sum()
    }

    /// The writes per table, sorted by key, each key at most once. Tables without writes are left out.
    pub fn into_tables(self) -> impl Iterator<Item = (Table, Vec<Write>)> {
        Table::ALL.into_iter().zip(self.tables).filter(|(_, writes)| !writes.is_empty()).map(
            |(table, mut writes)| {
                if !writes.is_sorted_by(|a, b| a.key < b.key) {
                    writes.sort_by(|a, b| a.key.cmp(&b.key));
                    keep_last_of_each_key(&mut writes);
                }
                (table, writes)
            },
        )
    }
}

fn keep_last_of_each_key(writes: &mut Vec<Write>) {
    writes.reverse();
    writes.dedup_by(|earlier, later| earlier.key == later.key);
    writes.reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_with_the_last_write_of_a_key() {
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, "b", "1");
        batch.put(Table::Meta, "a", "2");
        batch.put(Table::Meta, "b", "3");
        batch.remove(Table::Meta, "a");
        let tables: Vec<_> = batch.into_tables().collect();
        let write = |key: &'static str, value: Option<&'static str>| Write {
            key: key.into(),
            value: value.map(Into::into),
        };
        assert_eq!(tables, [(Table::Meta, vec![write("a", None), write("b", Some("3"))])]);
    }

    #[test]
    fn tags_are_positions() {
        for (position, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(table.tag()), position);
        }
    }
}
