//! Messages in a line of text, for logs and transcripts.

use std::fmt;

use super::{
    Differing, Digest, End, EventList, Events, Hello, Listed, Message, Naming, NeedEvents, Nodes, Parent,
    Push, Reply, Snapshot, Source, Stretch,
};
use crate::sketch::{Cells, Mapping};
use crate::{Event, Hash, TimeSpan, Timestamp};

/// The number of items of a list that are written out.
const WRITTEN_OUT: usize = 4;

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self {
            Self::Hello(hello) => hello.describe(f),
            Self::Push(Push { source, events }) => {
                describe_source(f, *source)?;
                list(f, events, describe_event)
            }
            Self::Snapshot(snapshot) => snapshot.describe(f),
            Self::Nodes(nodes) => nodes.describe(f),
            Self::EventList(list) => list.describe(f),
            Self::NeedEvents(NeedEvents::At(event_keys)) => {
                list(f, event_keys, |f, event_key| write!(f, "{}", event_key.timestamp))
            }
            Self::NeedEvents(NeedEvents::Of(lists)) => list(f, lists, describe_listed),
            Self::NeedEvents(NeedEvents::Cells { span, from, len }) => {
                write!(f, " {len} cells from {from} of {}", Brief(*span))
            }
            Self::Events(Events { reply, events }) => {
                if let Reply::At { .. } = reply {
                    write!(f, " announced")?;
                }
                list(f, events, describe_event)?;
                match reply {
                    Reply::At { more: true } => write!(f, " more"),
                    Reply::At { more: false } | Reply::Part => Ok(()),
                    Reply::End(End::Complete) => write!(f, " end"),
                    Reply::End(End::Before(event_key)) => {
                        write!(f, " more before {}", event_key.timestamp)
                    }
                    Reply::End(End::Later) => write!(f, " later"),
                    Reply::End(End::TooDifferent) => write!(f, " too different"),
                }
            }
        }
    }
}

impl Nodes {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cover { span, digest, counts } => {
                write!(f, " covering {}", Brief(*span))?;
                for row in digest.iter().flat_map(|Digest { rows }| rows) {
                    write!(f, " level {}:", row.level)?;
                    list(f, &row.nodes, |f, node| write!(f, "{}×{}", node.index, node.count))?;
                }
                match counts {
                    Some(counts) => write!(f, " {} counts of {} events", counts.counts.len(), counts.events),
                    None => Ok(()),
                }
            }
            Self::Children { span, parents } => {
                write!(f, " below, of {}", Brief(*span))?;
                list(f, parents, describe_parent)
            }
            Self::Differing(differing) => {
                write!(f, " differing")?;
                list(f, differing, |f, differing| match differing {
                    Differing::Count(span, count) => write!(f, "{}: {count}", Brief(*span)),
                    Differing::Children(parent) => describe_parent(f, parent),
                })
            }
        }
    }
}

impl EventList {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced { source, event_keys } => {
                write!(f, " announced")?;
                describe_source(f, *source)?;
                list(f, event_keys, |f, event_key| write!(f, "{}", event_key.timestamp))
            }
            Self::Held(lists) => {
                write!(f, " held")?;
                list(f, lists, describe_listed)
            }
            Self::Lacked(lists) => {
                write!(f, " lacked")?;
                list(f, lists, describe_listed)
            }
            Self::LackedIn(spans) => {
                write!(f, " lacked in")?;
                list(f, spans, |f, span| write!(f, "{}", Brief(*span)))
            }
            Self::Cells(cells) => describe_cells(f, cells),
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
        if let Some(cells) = &self.cells {
            describe_cells(f, cells)?;
        }
        if self.answer { write!(f, " answer") } else { Ok(()) }
    }
}

fn describe_source(f: &mut fmt::Formatter<'_>, source: Source) -> fmt::Result {
    if source == Source::UNKNOWN { Ok(()) } else { write!(f, " of {:016x}", u64::from_be_bytes(source.0)) }
}

fn describe_event(f: &mut fmt::Formatter<'_>, event: &Event) -> fmt::Result {
    write!(f, "{}@{}", event.key().escape_ascii(), event.timestamp())
}

fn describe_parent(f: &mut fmt::Formatter<'_>, parent: &Parent) -> fmt::Result {
    write!(f, "{}:", parent.node)?;
    list(f, &parent.children, |f, node| write!(f, "{}×{}", node.index, node.count))
}

fn describe_listed(f: &mut fmt::Formatter<'_>, listed: &Listed) -> fmt::Result {
    let Stretch { span, from, before } = &listed.stretch;
    let kind = match listed.naming {
        Naming::Locators => "locators",
        Naming::Short(_) => "short ids",
    };
    let (count, bits) = (listed.numbers.numbers().len(), listed.numbers.bits());
    write!(f, "{}: {count} {kind} of {bits} bits", Brief(*span))?;
    if let Some(from) = from {
        write!(f, " from {}", from.timestamp)?;
    }
    if let Some(before) = before {
        write!(f, " before {}", before.timestamp)?;
    }
    Ok(())
}

fn describe_cells(f: &mut fmt::Formatter<'_>, cells: &Cells) -> fmt::Result {
    let mapping = match cells.mapping() {
        Mapping::Regular => "regular",
        Mapping::Irregular => "irregular",
    };
    write!(f, " {} {mapping} cells", cells.len())?;
    if cells.from() > 0 { write!(f, " from {}", cells.from()) } else { Ok(()) }
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
