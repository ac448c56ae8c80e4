//! Messages in a line of text, for logs and transcripts.

use std::fmt;

use super::{
    Digest, EventList, Events, Hello, Ids, Listed, Message, NeedEvents, Nodes, Parent, Push, Reply, Share,
    Snapshot,
};
use crate::{Event, Hash, TimeSpan, Timestamp};

/// The number of items of a list that are written out.
const WRITTEN_OUT: usize = 4;

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self {
            Self::Hello(hello) => hello.describe(f),
            Self::Push(Push { events }) => list(f, events, describe_event),
            Self::Snapshot(snapshot) => snapshot.describe(f),
            Self::Nodes(Nodes { span, parents }) => {
                write!(f, " of {}", Brief(*span))?;
                list(f, parents, describe_parent)
            }
            Self::EventList(EventList::Announced(event_keys)) => {
                write!(f, " announced")?;
                list(f, event_keys, |f, event_key| write!(f, "{}", event_key.timestamp))
            }
            Self::EventList(EventList::Held(lists)) => {
                write!(f, " held")?;
                list(f, lists, describe_list)
            }
            Self::NeedEvents(NeedEvents::At(event_keys)) => {
                list(f, event_keys, |f, event_key| write!(f, "{}", event_key.timestamp))
            }
            Self::NeedEvents(NeedEvents::Of(lists)) => list(f, lists, describe_list),
            Self::Events(Events { reply, events }) => {
                match reply {
                    Reply::At { .. } => write!(f, " announced")?,
                    Reply::Of { .. } => write!(f, " wanted")?,
                    Reply::Block { span, .. } => write!(f, " of {}", Brief(*span))?,
                }
                list(f, events, describe_event)?;
                match reply {
                    Reply::At { more } => more_to_ask(f, *more),
                    Reply::Of { more, last } => {
                        more_to_ask(f, *more)?;
                        end(f, *last)
                    }
                    Reply::Block { rest, last, .. } => {
                        if let Some(rest) = rest {
                            write!(f, " rest {}", Brief(*rest))?;
                        }
                        end(f, *last)
                    }
                }
            }
        }
    }
}

impl Hello {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " number {}", self.number)?;
        if let Some(echo) = self.echo {
            write!(f, " echo {}", echo.number)?;
        }
        write!(f, " samples {}", self.samples)?;
        match &self.conflict {
            Some(address) => write!(f, " conflict with {}", address.escape_debug()),
            None => Ok(()),
        }
    }
}

impl Snapshot {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " of {} count {} root {}", Brief(self.span), self.count, short(self.root))?;
        if let Some(Digest { rows }) = &self.digest {
            for row in rows {
                write!(f, " level {}:", row.level)?;
                list(f, &row.nodes, |f, node| write!(f, "{}×{}", node.index, node.count))?;
            }
        }
        if self.answer { write!(f, " answer") } else { Ok(()) }
    }
}

fn describe_event(f: &mut fmt::Formatter<'_>, event: &Event) -> fmt::Result {
    write!(f, "{}@{}", event.key().escape_ascii(), event.timestamp())
}

fn describe_parent(f: &mut fmt::Formatter<'_>, parent: &Parent) -> fmt::Result {
    write!(f, "{}:", parent.node)?;
    list(f, &parent.children, |f, node| write!(f, "{}×{}", node.index, node.count))
}

fn describe_list(f: &mut fmt::Formatter<'_>, list: &Listed) -> fmt::Result {
    let kind = match &list.ids {
        Ids::Full(_) => "ids",
        Ids::Short { .. } => "short ids",
    };
    write!(f, "{}: {} {kind}", Brief(list.span), list.ids.len())?;
    if list.share == Share::WHOLE {
        Ok(())
    } else {
        write!(f, " of share {}/{}", list.share.part, list.share.of)
    }
}

/// The first items of a list, and their total number.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    describe: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    write!(f, " [")?;
    for (number, item) in items.iter().take(WRITTEN_OUT).enumerate() {
        if number > 0 {
            write!(f, ", ")?;
        }
        describe(f, item)?;
    }
    match items.len().checked_sub(WRITTEN_OUT).filter(|left| *left > 0) {
        Some(left) => write!(f, ", and {left} more]"),
        None => write!(f, "]"),
    }
}

fn more_to_ask(f: &mut fmt::Formatter<'_>, more: bool) -> fmt::Result {
    if more { write!(f, " more") } else { Ok(()) }
}

fn end(f: &mut fmt::Formatter<'_>, last: bool) -> fmt::Result {
    if last { write!(f, " last") } else { Ok(()) }
}

fn short(hash: Hash) -> String {
    hash.to_string().chars().take(8).collect()
}

/// A span, written without its open end.
struct Brief(TimeSpan);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.first() > Timestamp::MIN {
            write!(f, "{}", self.0.first())?;
        }
        write!(f, "..")?;
        if self.0.last() < Timestamp::MAX { write!(f, "={}", self.0.last()) } else { Ok(()) }
    }
}
