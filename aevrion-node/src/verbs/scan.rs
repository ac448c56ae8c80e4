//! `scan`: the keys that have a value.

use crate::backend::Backend;
use crate::cli::Global;
use crate::failure::Failure;
use crate::moment::Moment;
use crate::output::Listing;
use crate::requests::{Keys, Scan};

/// The keys to list: those of a prefix, or those of a range.
pub(super) fn keys(
    global: &Global,
    prefix: Option<&str>,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<Keys, Failure> {
    let encoding = global.encoding();
    if let Some(prefix) = prefix {
        return Ok(Keys::Prefix(encoding.decode("prefix", prefix)?.into()));
    }
    let from = encoding.decode("key", from.unwrap_or_default())?;
    let to = to.map(|to| encoding.decode("key", to)).transpose()?;
    Ok(Keys::Range(from.into(), to.map(Into::into)))
}

pub(super) async fn run(
    backend: &Backend,
    global: &Global,
    keys: Keys,
    at: Option<Moment>,
    limit: Option<usize>,
) -> Result<(), Failure> {
    let mut scan = Scan { keys, at, limit, cursor: None };
    let mut listing = Listing::new(global.output.unwrap_or_default());
    while scan.limit != Some(0) {
        let page = backend.scan(&scan).await?;
        listing.add(&page.events)?;
        if at.is_some() {
            listing.note_stable(page.stable_until);
        }
        scan.limit = scan.limit.map(|left| left.saturating_sub(page.events.len()));
        scan.cursor = page.next;
        if scan.cursor.is_none() {
            break;
        }
    }
    listing.finish()
}
