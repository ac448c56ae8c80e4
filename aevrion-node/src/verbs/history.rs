//! `history`: the versions of a key.

use aevrion_core::Order;

use crate::backend::Backend;
use crate::cli::Global;
use crate::failure::Failure;
use crate::moment::Moment;
use crate::output::Listing;
use crate::requests::History;

pub(super) async fn run(
    backend: &Backend,
    global: &Global,
    key: &str,
    at: Option<Moment>,
    limit: Option<usize>,
    reverse: bool,
) -> Result<(), Failure> {
    let mut history = History {
        key: global.encoding().decode("key", key)?.into(),
        at,
        order: if reverse { Order::NewestFirst } else { Order::OldestFirst },
        limit,
        cursor: None,
    };
    let mut listing = Listing::new(global.output.unwrap_or_default());
    while history.limit != Some(0) {
        let page = backend.history(&history).await?;
        listing.add(&page.events)?;
        listing.note_stable(page.stable_until);
        history.limit = history.limit.map(|left| left.saturating_sub(page.events.len()));
        history.cursor = page.next;
        if history.cursor.is_none() {
            break;
        }
    }
    listing.finish()
}
