//! `watch`: events as they arrive, without end.

use aevrion_core::Cursor;

use crate::backend::Backend;
use crate::cli::Global;
use crate::client::WatchItem;
use crate::failure::Failure;
use crate::output::Listing;
use crate::stderr::say;

pub(super) async fn run(
    backend: &Backend,
    global: &Global,
    prefix: Option<&str>,
    from: Option<Cursor>,
) -> Result<(), Failure> {
    if from.is_none() && matches!(backend, Backend::Local(_)) {
        return Err(Failure::usage(
            "nobody can write to a directory while this watches it: leave --data out to watch a running node, or give \
             --from to see what has arrived since",
        ));
    }
    let prefix = global.encoding().decode("prefix", prefix.unwrap_or_default())?;
    let mut watch = backend.watch(prefix.into(), from)?;
    let mut listing = Listing::new(global.output.unwrap_or_default());
    while let Some(sight) = watch.next().await? {
        match sight {
            WatchItem::Event { event, effect, cursor } => listing.see(&event, effect, &cursor)?,
            WatchItem::Note(note) => say!("aevrion: {note}"),
        }
    }
    Ok(())
}
