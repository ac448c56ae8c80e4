//! `scan`: the keys that have a value.

use aevrion_core::Replica;
use aevrion_core::index::{EntryQuery, KeySpan};

use crate::cli::Global;
use crate::encoding::Encoding;
use crate::exit::Failure;
use crate::moment::Moment;
use crate::output::Listing;

/// The keys to list: those of a prefix, or those of a range.
pub(super) fn span(
    global: &Global,
    prefix: Option<&str>,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<KeySpan, Failure> {
    let encoding = Encoding::of(global);
    if let Some(prefix) = prefix {
        return Ok(KeySpan::prefix(encoding.decode("prefix", prefix)?));
    }
    let from = encoding.decode("key", from.unwrap_or_default())?;
    let to = to.map(|to| encoding.decode("key", to)).transpose()?;
    Ok(KeySpan::range(from, to.as_deref()))
}

pub(super) async fn run(
    replica: &Replica,
    global: &Global,
    span: KeySpan,
    at: Option<Moment>,
    limit: Option<usize>,
) -> Result<(), Failure> {
    let now = replica.now();
    let at = Some(at.map_or(now, |at| at.resolve(now)));
    let mut query = EntryQuery { span, at, ..EntryQuery::default() };
    let mut left = limit.unwrap_or(usize::MAX);
    let mut listing = Listing::new(global.output.unwrap_or_default());
    while left > 0 {
        query.limit = query.limit.min(left);
        let entries = replica.scan(&query).await?;
        listing.add(&entries.events)?;
        left -= entries.events.len();
        query.after = entries.next;
        if query.after.is_none() {
            break;
        }
    }
    listing.finish()
}
