//! Promises about the reads of a view: order, ranges, directions, projections, tables.

use std::ops::Bound;

use bytes::Bytes;

use super::bench::{
    Bench, DIRECTIONS, Row, all_of, batch_of, commit, expected, get, page, read, read_table, view,
};
use crate::store::{Direction, KeyRange, PageLimit, Projection, ScanRequest, Table, WriteBatch};

/// Keys that a wrong order would confuse: prefixes of each other, the least and the greatest bytes, the empty key.
const KEYS: [&[u8]; 14] = [
    b"",
    b"\x00",
    b"\x00\x00",
    b"\x00\xFF",
    b"\x01",
    b"a",
    b"a\x00",
    b"a\x00\x00",
    b"ab",
    b"\x7F",
    b"\x80",
    b"\xFF",
    b"\xFF\x00",
    b"\xFF\xFF",
];

/// Bounds that are not keys: between, before and after the keys.
const BETWEEN: [&[u8]; 5] = [b"\x00\x00\x00", b"\x02", b"aa", b"\xFE\xFF", b"\xFF\xFF\xFF"];

fn awkward_rows() -> Vec<Row> {
    KEYS.iter().map(|key| (Bytes::from_static(key), Bytes::from(format!("value of {key:?}")))).collect()
}

pub(super) async fn keys_are_ordered_as_bytes(bench: &Bench<'_>) {
    let rows = awkward_rows();
    // Written one by one and out of order, so that only the store sorts them.
    let store = bench.fresh().await;
    for row in rows.iter().step_by(2).rev().chain(rows.iter().skip(1).step_by(2)) {
        commit(&*store, batch_of(Table::ByKey, std::slice::from_ref(row))).await;
    }
    let view = view(&*store).await;
    for direction in DIRECTIONS {
        let found = read(&*view, all_of(Table::ByKey, KeyRange::ALL, direction)).await;
        assert_eq!(
            found,
            expected(&rows, KeyRange::ALL, direction),
            "keys are ordered as bytes ({direction:?})"
        );
    }
}

pub(super) async fn every_byte_value_is_kept(bench: &Bench<'_>) {
    let mut rows: Vec<Row> = Vec::new();
    for byte in 0..=u8::MAX {
        rows.push((vec![byte].into(), vec![byte].into()));
        rows.push((vec![b'k', byte, b'k'].into(), vec![byte; 3].into()));
    }
    rows.push((b"all".as_slice().into(), (0..=u8::MAX).collect::<Vec<u8>>().into()));
    rows.push((b"empty".as_slice().into(), Bytes::new()));
    let store = bench.holding(Table::Events, &rows).await;
    let view = view(&*store).await;
    for (key, value) in &rows {
        let found = get(&*view, Table::Events, key).await;
        assert_eq!(
            found.as_ref(),
            Some(value),
            "every byte value is kept, in keys and in values (get {key:?})"
        );
    }
    assert_eq!(
        read_table(&*view, Table::Events).await,
        expected(&rows, KeyRange::ALL, Direction::Forward),
        "every byte value is kept, in keys and in values (scan)"
    );
}

pub(super) async fn get_finds_exactly_the_key(bench: &Bench<'_>) {
    let rows: Vec<Row> = awkward_rows().into_iter().step_by(2).collect();
    let store = bench.holding(Table::Meta, &rows).await;
    let view = view(&*store).await;
    for key in KEYS.iter().chain(&BETWEEN) {
        let wanted = rows.iter().find(|(there, _)| there == key).map(|(_, value)| value.clone());
        let found = get(&*view, Table::Meta, key).await;
        assert_eq!(
            found, wanted,
            "get gives the value under exactly the key, and none for any other ({key:?})"
        );
    }
}

pub(super) async fn every_kind_of_range_is_exact(bench: &Bench<'_>) {
    let rows = awkward_rows();
    let store = bench.holding(Table::Events, &rows).await;
    // The same keys in the adjacent tables, to catch a range that crosses the edge of its table.
    commit(&*store, batch_of(Table::Bodies, &[(Bytes::new(), "b".into()), ("\u{7F}".into(), "b".into())]))
        .await;
    let view = view(&*store).await;

    let bounds: Vec<Bound<&[u8]>> = std::iter::once(Bound::Unbounded)
        .chain(KEYS.iter().chain(&BETWEEN).flat_map(|key| [Bound::Included(*key), Bound::Excluded(*key)]))
        .collect();
    for start in &bounds {
        for end in &bounds {
            let range = KeyRange { start: *start, end: *end };
            for direction in DIRECTIONS {
                let wanted = expected(&rows, range, direction);
                let request = all_of(Table::Events, range, direction);
                let found = page(&*view, request).await;
                assert!(found.complete(), "a page that holds all of its range is complete: {request:?}");
                let found: Vec<Row> = found.into_rows().collect();
                assert_eq!(
                    found, wanted,
                    "a scan gives the rows of its range, no other and no fewer: {request:?}"
                );

                let keys = page(&*view, ScanRequest { projection: Projection::Keys, ..request }).await;
                assert!(
                    keys.rows().map(|(key, _)| key).eq(wanted.iter().map(|(key, _)| &key[..])),
                    "a scan of keys alone gives the same keys as one of rows: {request:?}"
                );

                let first = page(&*view, ScanRequest { limit: PageLimit::ONE, ..request }).await;
                let first_found: Vec<Row> = first.clone().into_rows().collect();
                assert_eq!(
                    first_found,
                    wanted[..wanted.len().min(1)],
                    "a page begins with the first row: {request:?}"
                );
                assert_eq!(
                    first.complete(),
                    wanted.len() <= 1,
                    "complete is true exactly if nothing of the range lies behind the last row: {request:?}"
                );
            }
        }
    }
}

pub(super) async fn tables_do_not_mix(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    let row = |table: Table, key: &'static [u8]| (Bytes::from(key), Bytes::from(table.name()));
    let keys: [&[u8]; 4] = [b"", b"\x00", b"same", b"\xFF\xFF"];
    let mut batch = WriteBatch::new();
    for table in Table::ALL {
        for key in keys {
            let (key, value) = row(table, key);
            batch.put(table, key, value);
        }
    }
    commit(&*store, batch).await;
    let mut batch = WriteBatch::new();
    batch.remove(Table::Bodies, "same");
    batch.remove(Table::Meta, "");
    commit(&*store, batch).await;

    let view = view(&*store).await;
    for table in Table::ALL {
        let wanted: Vec<Row> = keys
            .iter()
            .filter(|key| !matches!((table, **key), (Table::Bodies, b"same") | (Table::Meta, b"")))
            .map(|key| row(table, key))
            .collect();
        for direction in DIRECTIONS {
            let found = read(&*view, all_of(table, KeyRange::ALL, direction)).await;
            let wanted = expected(&wanted, KeyRange::ALL, direction);
            assert_eq!(
                found, wanted,
                "the rows of one table are no rows of another ({table:?}, {direction:?})"
            );
        }
        let same = get(&*view, table, b"same").await;
        let wanted = (table != Table::Bodies).then(|| Bytes::from(table.name()));
        assert_eq!(same, wanted, "the rows of one table are no rows of another ({table:?})");
    }
}
