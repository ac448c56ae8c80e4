//! One step of a watch, as a person sees it. A watch of a node and a watch of a directory tell the same.

use aevrion_core::{Effect, Event};

/// One thing that a watcher sees.
pub(crate) enum Sight {
    Event {
        event: Event,
        effect: Effect,
        cursor: String,
    },
    /// Something for the person to know; the watch goes on.
    Note(String),
}
