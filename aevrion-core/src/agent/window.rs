//! Gathering what the neighbour lacks, latest first, up to the budget of one answer.

use super::Holdings;
use crate::bounds::{SCAN_PAGE, SCANNED_ADDRESSES, WINDOW_BYTES};
use crate::message::{Ids, Listed, Share};
use crate::{Address, Event, ReadError, TimeSpan};

/// The addresses of a span, latest first, a page at a time.
pub(super) struct Addresses {
    span: TimeSpan,
    before: Option<Address>,
}

impl Addresses {
    pub(super) fn of(span: TimeSpan) -> Self {
        Self { span, before: None }
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self, holdings: &impl Holdings) -> Result<Option<Vec<Address>>, ReadError> {
        let page = holdings.addresses(self.span, self.before, SCAN_PAGE).await?;
        self.before = page.last().copied().or(self.before);
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

/// Events of a span that are looked at.
pub(super) struct Scope<'l> {
    span: TimeSpan,
    share: Share,
    rule: Rule<'l>,
}

/// Which of the events of a scope are wanted.
enum Rule<'l> {
    /// All.
    All,
    /// Those that the list does not name.
    Not(&'l Ids),
    /// Those that the list names.
    Only(&'l Ids),
}

impl<'l> Scope<'l> {
    /// Everything in `span`.
    pub(super) fn all_of(span: TimeSpan) -> Self {
        Self { span, share: Share::WHOLE, rule: Rule::All }
    }

    /// What the list of the other side lacks.
    pub(super) fn of(list: &'l Listed) -> Self {
        let nothing = list.ids.is_empty() && list.is_whole();
        let rule = if nothing { Rule::All } else { Rule::Not(&list.ids) };
        Self { span: list.span, share: list.share, rule }
    }

    /// What the list of the other side names.
    pub(super) fn wanted(list: &'l Listed) -> Self {
        Self { span: list.span, share: list.share, rule: Rule::Only(&list.ids) }
    }

    fn list(&self) -> Option<&'l Ids> {
        match self.rule {
            Rule::All => None,
            Rule::Not(ids) | Rule::Only(ids) => Some(ids),
        }
    }
}

/// What was gathered.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Events, latest first.
    pub(super) events: Vec<Event>,
    /// The span in which they lie; `None` if there are none.
    pub(super) span: Option<TimeSpan>,
    /// Where more of them lie that the budget left out.
    pub(super) rest: Option<TimeSpan>,
    /// For each scope the places in its list of ids that this side does not hold.
    pub(super) unseen: Vec<Vec<usize>>,
    bytes: usize,
    /// Addresses looked at.
    scanned: usize,
}

/// What an event costs beside its key and value, in memory and in a frame.
const EVENT_COST: usize = 48;

impl Window {
    /// Gathers from `scopes`, which come latest first. Every scope with a list is compared to its end, whatever the
    /// budget: otherwise what is missing here could not be told from what was not looked at.
    pub(super) async fn gather(scopes: &[Scope<'_>], holdings: &impl Holdings) -> Result<Self, ReadError> {
        let mut window = Self::default();
        for scope in scopes {
            let unseen = match scope.list() {
                None => {
                    window.gather_all(scope.span, holdings).await?;
                    Vec::new()
                }
                Some(ids) => window.gather_compared(scope, ids, holdings).await?,
            };
            window.unseen.push(unseen);
        }
        Ok(window)
    }

    async fn gather_all(&mut self, span: TimeSpan, holdings: &impl Holdings) -> Result<(), ReadError> {
        if self.is_full() {
            // What there is, if anything, does not fit.
            self.leave(span);
            return Ok(());
        }
        let mut pages = Addresses::of(span);
        while let Some(page) = pages.next(holdings).await? {
            if let Some(left_out) = self.add(&page, holdings).await? {
                self.leave(TimeSpan::new(span.first(), left_out.timestamp).unwrap_or(span));
                break;
            }
        }
        Ok(())
    }

    /// Compares a scope with its list. Returns the places of the list that were not seen.
    async fn gather_compared(
        &mut self,
        scope: &Scope<'_>,
        ids: &Ids,
        holdings: &impl Holdings,
    ) -> Result<Vec<usize>, ReadError> {
        let listed = ids.sorted();
        let mut seen = vec![false; ids.len()];
        let wants_listed = matches!(scope.rule, Rule::Only(_));
        let mut pages = Addresses::of(scope.span);
        let mut open = ids.len();
        let mut scanned_to = None;
        loop {
            // Everything that the list names has been seen: of what else there is nothing is wanted.
            let page = if wants_listed && open == 0 { None } else { pages.next(holdings).await? };
            let Some(page) = page else {
                let unseen = seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(place, _)| place);
                return Ok(unseen.collect());
            };
            let begins = page.first().map(|address| address.timestamp);
            if self.scanned >= SCANNED_ADDRESSES && begins != scanned_to {
                // Too much to compare it all: nothing can be said of what is missing here.
                return Ok(Vec::new());
            }
            self.scanned += page.len() + 1;
            scanned_to = page.last().map(|address| address.timestamp);
            let mut wanted = Vec::new();
            for address in page {
                let Some(place) = listed.look_up(address.id, scope.share) else { continue };
                if let Some(place) = place.filter(|place| !seen[*place]) {
                    seen[place] = true;
                    open -= 1;
                }
                if place.is_some() == wants_listed {
                    wanted.push(address);
                }
            }
            if let Some(left_out) = self.add(&wanted, holdings).await? {
                self.leave(TimeSpan::new(scope.span.first(), left_out.timestamp).unwrap_or(scope.span));
                if open == 0 {
                    // Nothing is missing here, and what is missing there does not fit.
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Adds events while there is room. Returns the first that has none.
    async fn add(
        &mut self,
        addresses: &[Address],
        holdings: &impl Holdings,
    ) -> Result<Option<Address>, ReadError> {
        for address in addresses {
            if self.is_full() && !self.in_same_moment(*address) {
                return Ok(Some(*address));
            }
            // Damaged events are for `verify` to report; the neighbour gets the others.
            let Readable::Event(event) = readable(holdings.event(*address).await)? else { continue };
            self.bytes += event.weight() + EVENT_COST;
            let here = TimeSpan::new(address.timestamp, address.timestamp);
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

    /// Whether the event shares its moment with the last one gathered. Moments are not parted unless they are large:
    /// then the rest does not overlap with what was sent, and can be asked for before that is stored.
    fn in_same_moment(&self, address: Address) -> bool {
        let last = self.events.last().map(Event::timestamp);
        self.bytes < WINDOW_BYTES * 2 && last == Some(address.timestamp)
    }
}

/// An event that cannot be trusted is passed over; a store that fails is an error.
pub(super) fn readable(event: Result<Option<Event>, ReadError>) -> Result<Readable, ReadError> {
    match event {
        Ok(Some(event)) => Ok(Readable::Event(event)),
        Ok(None) => Ok(Readable::Unknown),
        Err(ReadError::Damaged(damage)) => {
            tracing::warn!(%damage, "a damaged event is not sent to a neighbour");
            Ok(Readable::Damaged)
        }
        Err(error) => Err(error),
    }
}

/// What reading an event for a neighbour came to.
pub(super) enum Readable {
    Event(Event),
    /// There is none at this address.
    Unknown,
    /// There is one, for `verify` to report.
    Damaged,
}
