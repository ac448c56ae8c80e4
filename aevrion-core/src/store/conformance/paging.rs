//! Promises about pages: continuing from the last key reads every row once.

use bytes::Bytes;

use super::bench::{Bench, DIRECTIONS, Row, all_of, expected, page, read, view};
use crate::bounds::{PAGE_BYTES, PAGE_ROWS};
use crate::conformance::filler;
use crate::store::{Direction, KeyRange, PageLimit, Projection, ScanRequest, Table, View};

/// Rows of very different sizes. Some keys are prefixes of others.
fn uneven_rows(count: u32) -> Vec<Row> {
    (0..count)
        .map(|number| {
            let key = if number % 3 == 0 {
                format!("{number:02}")
            } else {
                format!("{:02}.{number}", number / 3 * 3)
            };
            let length = [0, 1, 7, 40, 300][number as usize % 5];
            (Bytes::from(key), filler(u64::from(number), length))
        })
        .collect()
}

async fn expect_the_same_in_pages(view: &dyn View, rows: &[Row], limit: PageLimit) {
    let [(first, _), .., (last, _)] = rows else { panic!("the suite's own rows are too few") };
    for range in [KeyRange::ALL, KeyRange::half_open(first, last)] {
        for direction in DIRECTIONS {
            let request = ScanRequest { limit, ..all_of(Table::Events, range, direction) };
            let wanted = expected(rows, range, direction);
            let found = read(view, request).await;
            assert!(found == wanted, "pages resume without gap or repeat: not so for {request:?}");

            let found = read(view, ScanRequest { projection: Projection::Keys, ..request }).await;
            assert!(
                found.iter().map(|(key, _)| key).eq(wanted.iter().map(|(key, _)| key)),
                "pages of keys resume without gap or repeat: not so for {request:?}"
            );
        }
    }
}

pub(super) async fn every_row_limit_resumes_without_gap_or_repeat(bench: &Bench<'_>) {
    let rows = uneven_rows(60);
    let store = bench.holding(Table::Events, &rows).await;
    let view = view(&*store).await;
    for limit in 0..=rows.len() + 1 {
        let limit = PageLimit { rows: limit, bytes: PAGE_BYTES };
        expect_the_same_in_pages(&*view, &rows, limit).await;

        let request = ScanRequest { limit, ..all_of(Table::Events, KeyRange::ALL, Direction::Forward) };
        let first = page(&*view, request).await;
        assert_eq!(
            first.complete(),
            first.len() == rows.len(),
            "complete is true exactly if nothing of the range lies behind the last row: {limit:?}"
        );
    }
}

pub(super) async fn every_byte_limit_resumes_without_gap_or_repeat(bench: &Bench<'_>) {
    let rows = uneven_rows(60);
    let store = bench.holding(Table::Events, &rows).await;
    let view = view(&*store).await;
    for bytes in (0..64).chain([100, 299, 300, 301, 302, 303, 304, 305, 1_000, 4_000, 100_000]) {
        expect_the_same_in_pages(&*view, &rows, PageLimit { rows: PAGE_ROWS, bytes }).await;
    }
}

pub(super) async fn a_row_of_any_size_fits_a_page_alone(bench: &Bench<'_>) {
    let rows: Vec<Row> = vec![
        ("a".into(), "small".into()),
        ("b".into(), filler(1, 3 * PAGE_BYTES)),
        ("c".into(), "small".into()),
        ("d".into(), filler(2, 2 * PAGE_BYTES)),
        ("e".into(), filler(3, PAGE_BYTES + 1)),
    ];
    let store = bench.holding(Table::Events, &rows).await;
    let view = view(&*store).await;
    for limit in [PageLimit::MOST, PageLimit::ONE, PageLimit { rows: 10, bytes: 1 }] {
        expect_the_same_in_pages(&*view, &rows, limit).await;
    }
}

pub(super) async fn pages_of_more_rows_than_one_holds(bench: &Bench<'_>) {
    let count = u32::try_from(PAGE_ROWS).unwrap_or(u32::MAX) + 3;
    let rows: Vec<Row> =
        (0..count).map(|number| (number.to_be_bytes().to_vec().into(), filler(number.into(), 12))).collect();
    let store = bench.holding(Table::Events, &rows).await;
    let view = view(&*store).await;
    for limit in [PageLimit::MOST, PageLimit::rows(PAGE_ROWS - 1), PageLimit::rows(1_000)] {
        expect_the_same_in_pages(&*view, &rows, limit).await;
    }
}
