//! `history`: the versions of a key.

use aevrion_core::Replica;
use aevrion_core::index::{Order, VersionQuery};

use crate::cli::Global;
use crate::encoding::Encoding;
use crate::exit::Failure;
use crate::moment::Moment;
use crate::output::Listing;

pub(super) async fn run(
    replica: &Replica,
    global: &Global,
    key: &str,
    at: Option<Moment>,
    limit: Option<usize>,
    reverse: bool,
) -> Result<(), Failure> {
    let key = Encoding::of(global).decode("key", key)?;
    let now = replica.now();
    let mut query = VersionQuery {
        order: if reverse { Order::NewestFirst } else { Order::OldestFirst },
        until: Some(at.map_or(now, |at| at.resolve(now))),
        ..VersionQuery::default()
    };
    let mut left = limit.unwrap_or(usize::MAX);
    let mut listing = Listing::new(global.output.unwrap_or_default());
    while left > 0 {
        query.limit = query.limit.min(left);
        let versions = replica.history(&key, &query).await?;
        listing.add(&versions.events)?;
        left -= versions.events.len();
        query.after = versions.next;
        if query.after.is_none() {
            break;
        }
    }
    listing.finish()
}
