//! The conformance suite for the contract of [`EventStore`] and [`View`].
//!
//! A store is sound if and only if it passes: the core relies on these promises only. Each promise is one small
//! function, named after it and listed in [`run`]. A failure is a panic that begins with the promise. Everything is
//! deterministic except the interleaving of threads and the moment of a kill, and no promise depends on either.

mod bench;
mod closing;
mod committing;
mod concurrent;
mod killing;
mod model;
mod paging;
mod reading;
mod sizes;

use std::fmt::Display;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use super::EventStore;
#[cfg(doc)]
use super::View;

use bench::Bench;

/// Runs the whole suite on the store that `open` opens, or creates, in a given directory.
///
/// ```no_run
/// # use aevrion_core::store::MemoryStore as MyStore;
/// #[tokio::test]
/// async fn keeps_the_contract() {
///     aevrion_core::store::conformance::run(|directory| async move {
/// #       let _ = directory; Ok::<_, std::io::Error>(MyStore::new())
/// #       /*
///         MyStore::open(directory)
/// #       */
///     })
///     .await;
/// }
/// ```
///
/// Call it once in a test of its own, directly in the test's body. For a [persistent](super::Capabilities::persistent)
/// store, the suite restarts that test as another process, which commits until it is killed. It finds the test by the
/// thread name that the test harness sets. Isolation is checked for stores that [declare
/// it](super::Capabilities::isolated_views). The runtime needs its clock enabled, as in `#[tokio::test]`. Its flavour
/// does not matter, as the suite starts its own threads.
///
/// Takes a few seconds, up to 100 MiB of memory, and as much of the temporary directory.
///
/// # Panics
/// If a promise is broken. The text begins with the promise.
pub async fn run<S, E, F, Opening>(open: F)
where
    S: EventStore,
    E: Display,
    F: Fn(PathBuf) -> Opening,
    Opening: Future<Output = Result<S, E>>,
{
    let open = &open;
    let bench = Bench::new(move |directory| {
        Box::pin(async move {
            let store = open(directory).await.map_err(|error| error.to_string())?;
            Ok(Arc::new(store) as Arc<dyn EventStore>)
        })
    });
    if let Some(directory) = killing::told_to_be_killed() {
        return killing::commit_until_killed(&bench, directory).await;
    }
    // Read before the first await: later the code may run on another thread.
    let test = std::thread::current().name().map(str::to_owned);

    committing::a_commit_is_visible_to_every_view_from_then_on(&bench).await;
    reading::every_byte_value_is_kept(&bench).await;
    reading::get_finds_exactly_the_key(&bench).await;
    committing::the_last_write_of_a_key_counts(&bench).await;
    committing::removals_remove_and_nothing_else(&bench).await;
    committing::an_empty_batch_is_allowed(&bench).await;

    reading::keys_are_ordered_as_bytes(&bench).await;
    reading::every_kind_of_range_is_exact(&bench).await;
    reading::tables_do_not_mix(&bench).await;

    paging::every_row_limit_resumes_without_gap_or_repeat(&bench).await;
    paging::every_byte_limit_resumes_without_gap_or_repeat(&bench).await;
    paging::a_row_of_any_size_fits_a_page_alone(&bench).await;
    paging::pages_of_more_rows_than_one_holds(&bench).await;

    sizes::values_of_every_size_are_kept(&bench).await;
    sizes::keys_of_the_longest_size_are_kept(&bench).await;

    committing::a_large_batch_is_one_commit(&bench).await;

    concurrent::a_view_stays_as_it_was_taken(&bench).await;
    concurrent::no_reader_sees_half_a_batch(&bench).await;
    concurrent::reading_and_writing_go_on_together(&bench).await;

    model::any_sequence_reads_like_a_sorted_map(&bench).await;

    closing::a_closed_store_says_so(&bench).await;
    closing::closing_makes_everything_durable_and_lets_go(&bench).await;
    closing::dropping_lets_go_too(&bench).await;
    killing::kill_takes_nothing_acknowledged_and_leaves_nothing_half(&bench, test).await;
}
