//! Gathers the events that the neighbour lacks, latest first, up to the budget of one answer.

use crate::agent::ReplicaView;
use crate::agent::outgoing::{Readable, readable};
use crate::bounds::{
    COMPARED_AT_LEAST, COMPARED_FOR_ONE, COMPARED_SHARES, SCAN_PAGE, SCANNED_EVENT_KEYS, WINDOW_BYTES,
};
use crate::message::{Ids, Listed, Share};
use crate::{Event, EventKey, ReadError, TimeSpan};

/// Event keys in the first page of a scan. If the first event fills an answer, no more are read.
const FIRST_PAGE: usize = SCAN_PAGE / 16;

/// The event keys of a span, latest first, a page at a time.
pub(super) struct EventKeys {
    span: TimeSpan,
    before: Option<EventKey>,
    page: usize,
}

impl EventKeys {
    pub(super) fn of(span: TimeSpan) -> Self {
        Self { span, before: None, page: FIRST_PAGE }
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self, view: &impl ReplicaView) -> Result<Option<Vec<EventKey>>, ReadError> {
        let page = view.event_keys(self.span, self.before, self.page).await?;
        self.page = SCAN_PAGE.min(self.page * 4);
        self.before = page.last().copied().or(self.before);
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

/// The events of a span to examine.
pub(super) struct Scope<'l> {
    span: TimeSpan,
    share: Share,
    rule: Rule<'l>,
}

/// The wanted events of a scope.
enum Rule<'l> {
    /// All events.
    All,
    /// Events that the list does not name.
    Not(&'l Ids),
    /// Events that the list names.
    Only(&'l Ids),
}

impl<'l> Scope<'l> {
    /// All events in `span`.
    pub(super) fn all_of(span: TimeSpan) -> Self {
        Self { span, share: Share::WHOLE, rule: Rule::All }
    }

    /// The events missing in the other side's list.
    pub(super) fn of(list: &'l Listed) -> Self {
        let nothing = list.ids.is_empty() && list.is_whole();
        let rule = if nothing { Rule::All } else { Rule::Not(&list.ids) };
        Self { span: list.span, share: list.share, rule }
    }

    /// The events named by the other side's list.
    pub(super) fn wanted(list: &'l Listed) -> Self {
        Self { span: list.span, share: list.share, rule: Rule::Only(&list.ids) }
    }

    /// The number of event keys after which the comparison with the list stops. A neighbour that holds that much less
    /// than this side gets one full answer, and requests more. Its events that this side lacks are found later, when
    /// the two are more alike.
    fn worth(&self) -> usize {
        match self.rule {
            Rule::All | Rule::Only(_) => usize::MAX,
            Rule::Not(ids) => {
                let shares = usize::try_from(self.share.of).unwrap_or(usize::MAX).min(COMPARED_SHARES);
                COMPARED_AT_LEAST.max(ids.len().saturating_mul(shares).saturating_mul(COMPARED_FOR_ONE))
            }
        }
    }

    fn list(&self) -> Option<&'l Ids> {
        match self.rule {
            Rule::All => None,
            Rule::Not(ids) | Rule::Only(ids) => Some(ids),
        }
    }
}

/// The gathered events.
#[derive(Debug, Default)]
pub(super) struct ResponseBuilder {
    /// Events, latest first.
    pub(super) events: Vec<Event>,
    /// Their span; `None` without events.
    pub(super) span: Option<TimeSpan>,
    /// The span of further events, beyond the budget.
    pub(super) rest: Option<TimeSpan>,
    /// For each scope, the indexes in its list whose ids this side does not hold.
    pub(super) unseen: Vec<Vec<usize>>,
    bytes: usize,
    /// Event keys read, and their limit.
    scanned: usize,
    most: usize,
}

/// The cost of an event beside its key and value, in memory and in a frame.
const EVENT_COST: usize = 48;

impl ResponseBuilder {
    /// Gathers from `scopes`, given latest first, and reads `most` event keys, or those of one moment more. Every
    /// scope with a list is compared to its end, however much there is to send: otherwise missing events could not be
    /// told from unread ones.
    pub(super) async fn gather(
        scopes: &[Scope<'_>],
        most: usize,
        view: &impl ReplicaView,
    ) -> Result<Self, ReadError> {
        let mut window = Self { most: most.min(SCANNED_EVENT_KEYS), ..Self::default() };
        for scope in scopes {
            let unseen = match scope.list() {
                None => {
                    window.gather_all(scope.span, view).await?;
                    Vec::new()
                }
                Some(ids) => window.gather_compared(scope, ids, view).await?,
            };
            window.unseen.push(unseen);
        }
        Ok(window)
    }

    async fn gather_all(&mut self, span: TimeSpan, view: &impl ReplicaView) -> Result<(), ReadError> {
        if self.is_full() || self.scanned >= self.most {
            // Further events, if any, do not fit.
            self.leave(span);
            return Ok(());
        }
        let mut pages = EventKeys::of(span);
        while let Some(page) = pages.next(view).await? {
            self.scanned += page.len();
            if let Some(left_out) = self.add(&page, view).await? {
                self.leave(TimeSpan::new(span.first(), left_out.timestamp).unwrap_or(span));
                break;
            }
        }
        Ok(())
    }

    /// Compares a scope with its list. Returns the indexes of the list that were not seen.
    async fn gather_compared(
        &mut self,
        scope: &Scope<'_>,
        ids: &Ids,
        view: &impl ReplicaView,
    ) -> Result<Vec<usize>, ReadError> {
        if self.scanned >= self.most {
            self.leave(scope.span);
            return Ok(Vec::new());
        }
        let listed = ids.sorted();
        let mut seen = vec![false; ids.len()];
        let wants_listed = matches!(scope.rule, Rule::Only(_));
        let mut pages = EventKeys::of(scope.span);
        let mut open = ids.len();
        let mut scanned_to = None;
        let most = self.most.min(self.scanned.saturating_add(scope.worth()));
        loop {
            // Everything in the list has been seen: no other events are wanted.
            let page = if wants_listed && open == 0 { None } else { pages.next(view).await? };
            let Some(page) = page else {
                let unseen = seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(place, _)| place);
                return Ok(unseen.collect());
            };
            let begins = page.first().map(|event_key| event_key.timestamp);
            if let Some(begins) = begins.filter(|_| self.scanned >= most && begins != scanned_to) {
                // Too many events to compare all: the missing ones here are unknown.
                self.leave(TimeSpan::new(scope.span.first(), begins).unwrap_or(scope.span));
                return Ok(Vec::new());
            }
            self.scanned += page.len() + 1;
            scanned_to = page.last().map(|event_key| event_key.timestamp);
            let mut wanted = Vec::new();
            for event_key in page {
                let Some(place) = listed.look_up(event_key.id, scope.share) else { continue };
                if let Some(place) = place.filter(|place| !seen[*place]) {
                    seen[place] = true;
                    open -= 1;
                }
                if place.is_some() == wants_listed {
                    wanted.push(event_key);
                }
            }
            if let Some(left_out) = self.add(&wanted, view).await? {
                self.leave(TimeSpan::new(scope.span.first(), left_out.timestamp).unwrap_or(scope.span));
                if open == 0 {
                    // No events are missing here, and those missing there do not fit.
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Adds events while there is room. Returns the first one that does not fit.
    async fn add(
        &mut self,
        event_keys: &[EventKey],
        view: &impl ReplicaView,
    ) -> Result<Option<EventKey>, ReadError> {
        for event_key in event_keys {
            if self.is_full() && !self.in_same_moment(*event_key) {
                return Ok(Some(*event_key));
            }
            // `verify` reports damaged events; the neighbour gets the others.
            let Readable::Event(event) = readable(view.event(*event_key).await)? else { continue };
            self.bytes += event.weight() + EVENT_COST;
            let here = TimeSpan::new(event_key.timestamp, event_key.timestamp);
            self.span = match (self.span, here) {
                (Some(span), Some(here)) => Some(span.hull(here)),
                (span, here) => span.or(here),
            };
            self.events.push(event);
        }
        Ok(None)
    }

    fn leave(&mut self, span: TimeSpan) {
        self.rest = Some(self.rest.map_or(span, |rest| rest.hull(span)));
    }

    fn is_full(&self) -> bool {
        self.bytes >= WINDOW_BYTES
    }

    /// Whether the event shares its moment with the last one gathered. Moments are not divided unless they are large:
    /// so the rest does not overlap with the sent part, and can be requested before that is stored.
    fn in_same_moment(&self, event_key: EventKey) -> bool {
        let last = self.events.last().map(Event::timestamp);
        self.bytes < WINDOW_BYTES * 2 && last == Some(event_key.timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::super::endless::{Endless, event_key};
    use super::*;
    use crate::bounds::PAGE_ROWS;
    use crate::message::ShortId;
    use crate::{EventId, Timestamp};

    /// Half as many again as the limit.
    const MANY: u64 = SCANNED_EVENT_KEYS as u64 * 3 / 2;

    fn span() -> TimeSpan {
        TimeSpan::new(Timestamp::MIN, Timestamp::from_millis(MANY - 1)).unwrap()
    }

    async fn gather(scope: Scope<'_>, most: usize) -> (ResponseBuilder, usize) {
        let endless = Endless::default();
        let window = ResponseBuilder::gather(&[scope], most, &endless).await.unwrap();
        (window, endless.looked_at())
    }

    #[tokio::test]
    async fn a_wish_for_what_lies_beyond_what_may_be_looked_at_ends_there() {
        let ids = Ids::Full(vec![event_key(0).id, EventId::from_bytes([9; 32])]);
        let wish = Listed { span: span(), share: Share::WHOLE, ids };
        let (window, looked_at) = gather(Scope::wanted(&wish), usize::MAX).await;
        assert!((SCANNED_EVENT_KEYS..SCANNED_EVENT_KEYS + PAGE_ROWS * 2).contains(&looked_at), "{looked_at}");
        assert_eq!(window.unseen, [Vec::<usize>::new()], "nothing is known of what was not looked at");
        let rest = window.rest.expect("more is there");
        assert!(rest.first() == Timestamp::MIN && rest.last().as_millis() < MANY - looked_at as u64 + 8_192);
        // A smaller allowance ends it sooner.
        let (_, looked_at) = gather(Scope::wanted(&wish), 10_000).await;
        assert!((10_000..10_000 + PAGE_ROWS * 2).contains(&looked_at), "{looked_at}");
    }

    #[tokio::test]
    async fn a_list_is_compared_with_little_more_than_it_names() {
        let list = |share, ids| Listed { span: span(), share, ids: Ids::Short { salt: 1, ids } };
        let one = || vec![ShortId([1; 5])];
        for (share, ids) in [(Share::WHOLE, one()), (Share { part: 7, of: 4_000_000_000 }, one())] {
            let list = list(share, ids);
            let (window, looked_at) = gather(Scope::of(&list), usize::MAX).await;
            assert!(looked_at <= COMPARED_AT_LEAST + PAGE_ROWS * 2, "{looked_at}");
            assert!(window.rest.is_some() && window.unseen == [Vec::<usize>::new()]);
        }
        // A list of the usual length is compared to the end.
        let all = TimeSpan::new(Timestamp::MIN, Timestamp::from_millis(99_999)).unwrap();
        let ids = Ids::Full((0..100_000 / 32).map(|ms| event_key(ms * 32).id).collect());
        let list = Listed { span: all, share: Share::WHOLE, ids };
        let (_, looked_at) = gather(Scope::of(&list), usize::MAX).await;
        assert_eq!(looked_at, 100_000);
    }
}
