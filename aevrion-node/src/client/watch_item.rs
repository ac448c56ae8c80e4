//! The items of a watch: the same for a watch of a node and of a directory.

use aevrion_core::{Effect, Event};

/// One item of a watch.
pub(crate) enum WatchItem {
    Event {
        event: Event,
        effect: Effect,
        cursor: String,
    },
    /// A note for the user; the watch goes on.
    Note(String),
}
