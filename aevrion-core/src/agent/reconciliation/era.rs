//! The past and the future are compared separately: the present lies between them and moves.

use crate::{TimeSpan, Timestamp};

/// The side of the present on which a compared span lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// From the beginning of time on.
    Past,
    /// Until the end of time.
    Future,
}

impl Era {
    /// The era of a span; `None` if it reaches neither the beginning nor the end of time.
    pub(super) fn of_compared(span: TimeSpan) -> Option<Self> {
        let is_compared = Self::of(span) == Self::Past || span.last() == Timestamp::MAX;
        is_compared.then_some(Self::of(span))
    }

    /// The era of a span that was compared.
    pub(super) fn of(span: TimeSpan) -> Self {
        if span.first() == Timestamp::MIN { Self::Past } else { Self::Future }
    }
}

/// One value for each era.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::agent) struct ByEra<T> {
    pub(super) past: T,
    pub(super) future: T,
}

impl<T> ByEra<T> {
    pub(super) fn of(&self, era: Era) -> &T {
        match era {
            Era::Past => &self.past,
            Era::Future => &self.future,
        }
    }

    pub(super) fn of_mut(&mut self, era: Era) -> &mut T {
        match era {
            Era::Past => &mut self.past,
            Era::Future => &mut self.future,
        }
    }

    pub(super) fn both(&self) -> [&T; 2] {
        [&self.past, &self.future]
    }
}
