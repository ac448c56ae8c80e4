//! The acts of the demo.

use std::path::Path;
use std::time::{Duration, Instant};

use aevrion_core::Root;
use aevrion_core::VersionQuery;
use aevrion_core::store::Durability;
use aevrion_core::{EventKey, Operation};

use super::member::Member;
use super::screen::{Screen, size, took};
use crate::failure::Failure;
use crate::human::thousands;
use crate::import::{Message, Stop, read_lines};
use crate::moment;

/// A week of flights from New York.
const FLIGHTS: &[u8] = include_bytes!("../../sample/flights-week.jsonl.gz");

/// Far longer than any step takes on a working machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval of checks for agreement.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Interval of requested comparisons during a wait; the nodes also compare by themselves, every minute.
const COMPARE_INTERVAL: Duration = Duration::from_secs(1);

/// The key that both sides write while they are apart.
const CONTESTED: &str = "gate:B4";

/// Further writes on each side.
const LEFT_WRITES: u32 = 200;
const RIGHT_WRITES: u32 = 100;

/// Runs all acts. Nodes are added to `members`, also if an act fails.
pub(super) async fn tell(
    screen: &mut Screen,
    place: &Path,
    members: &mut Vec<Member>,
) -> Result<(), Failure> {
    let place_shown = place.display();
    screen.line(format_args!(
        "Aevrion: three nodes in this process, over QUIC, with stores in {place_shown}"
    ))?;
    assemble(screen, place, members).await?;
    let bytes = import(screen, members).await?;
    let parted = part(screen, members).await?;
    heal(screen, members, bytes, &parted).await?;
    contest(screen, members, &parted).await
}

/// Creates a cluster of one node, and joins the others.
async fn assemble(screen: &mut Screen, place: &Path, members: &mut Vec<Member>) -> Result<(), Failure> {
    screen.heading("1  Node 1 founds a cluster; 2 and 3 join, with a token each")?;
    members.push(Member::found(place).await?);
    for number in 2..=3 {
        let member = Member::join(place, number, &members[0], members).await?;
        members.push(member);
    }
    for member in members.iter() {
        let id = member.id.to_string();
        let address = member.address().map(|address| address.to_string()).unwrap_or_default();
        screen.fact(&member.name, format_args!("{}   {address}", &id[..16]))?;
    }
    meeting(members).await
}

/// Imports a week of flights into one node. Returns the bytes of keys and values.
async fn import(screen: &mut Screen, members: &[Member]) -> Result<u64, Failure> {
    screen.heading("2  A week of flights goes into node 1, and from there to the others")?;
    let began = Instant::now();
    let replica = &members[0].replica;
    let mut messages = read_lines(FLIGHTS, replica.parameters(), false);
    let (mut import, mut bytes) = (replica.import(), 0);
    while let Some(message) = messages.recv().await {
        match message {
            Message::Batch(events) => {
                for event in events {
                    bytes += event.weight() as u64;
                    import.push(event).await?;
                }
            }
            Message::Skipped(what) | Message::Stopped(Stop { why: what, .. }) => {
                return Err(Failure::error(format!("the sample that is built in: {what}")));
            }
            Message::Ended(_) => {}
        }
    }
    let imported = import.finish().await?.new;
    let took_import = began.elapsed();
    let began = Instant::now();
    agreement(members).await?;
    let after = took(began.elapsed());
    let (events, size, import) = (thousands(imported), size(bytes), took(took_import));
    screen.fact(
        "imported",
        format_args!("{events} events, {size}, in {import}; all three agree {after} later"),
    )?;
    show_roots(screen, members).await?;
    Ok(bytes)
}

/// The writes of the two sides during the partition.
struct Parted {
    /// The contested key's events, the earlier one first.
    writes: [EventKey; 2],
    left: u64,
    right: u64,
}

/// Cuts node 3 off, and writes on both sides.
async fn part(screen: &mut Screen, members: &mut [Member]) -> Result<Parted, Failure> {
    screen.heading("3  Node 3 is cut off; both sides go on writing")?;
    let [first, second, third] = members else { return Err(Failure::error("there are three nodes")) };
    third.cut_off().await;
    until("the others did not notice that node 3 was cut off", || async {
        Ok((first.met().len() == 1 && second.met().len() == 1).then_some(()))
    })
    .await?;
    let bags = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| Operation::put(format!("bag:{number:04}"), "loaded")).collect::<Vec<_>>()
    };
    first.replica.batch(bags(0..LEFT_WRITES), Durability::Immediate).await?;
    third.replica.batch(bags(LEFT_WRITES..LEFT_WRITES + RIGHT_WRITES), Durability::Immediate).await?;
    let left = first.replica.put(CONTESTED, "boarding").await?;
    // In one millisecond the greater id would win: just as good, but not the story told here.
    until("the clock does not go on", || async { Ok((third.replica.now() > left.timestamp).then_some(())) })
        .await?;
    let right = third.replica.put(CONTESTED, "closed").await?;
    agreement(&members[..2]).await?;
    show_roots(screen, members).await?;
    let (left_root, right_root) = (members[0].replica.root().await?, members[2].replica.root().await?);
    Ok(Parted { writes: [left, right], left: left_root.count, right: right_root.count })
}

/// Reconnects node 3.
async fn heal(
    screen: &mut Screen,
    members: &mut [Member],
    bytes: u64,
    parted: &Parted,
) -> Result<(), Failure> {
    screen.heading("4  Node 3 is back; they find what differs, and only that moves")?;
    let began = Instant::now();
    members[2].begin(Vec::new()).await?;
    meeting(members).await?;
    let root = agreement(members).await?;
    let healed = took(began.elapsed());
    let (totals, met) = (members[2].totals(), members[2].met());
    let messages: u64 = totals.messages.values().map(|flow| flow.sent + flow.received).sum();
    let wire: u64 = met.iter().map(|neighbour| neighbour.traffic.sent + neighbour.traffic.received).sum();
    let (came, went) = (root.count.saturating_sub(parted.right), root.count.saturating_sub(parted.left));
    screen
        .fact("repaired", format_args!("in {healed}: {came} events came to node 3, {went} went from it"))?;
    let (messages, wire, whole) = (thousands(messages), size(wire), size(bytes));
    screen.fact(
        "it took",
        format_args!(
            "{messages} messages, {wire} on the wire, handshakes included; a copy of all would be {whole}"
        ),
    )?;
    show_roots(screen, members).await
}

/// Shows the winner of the contested key, and the other write in the history.
async fn contest(screen: &mut Screen, members: &[Member], parted: &Parted) -> Result<(), Failure> {
    screen.heading(format_args!(
        "5  Both sides wrote {CONTESTED}: the later write is the value, the other is history"
    ))?;
    let mut told = None;
    for member in members {
        let versions = member.replica.history(CONTESTED, &VersionQuery::default()).await?.events;
        let ids: Vec<_> = versions.iter().map(aevrion_core::Event::event_key).collect();
        let whole = parted.writes.iter().all(|write| ids.contains(write));
        if !whole || told.as_ref().is_some_and(|(first, _)| *first != ids) {
            return Err(Failure::not_converged(format!(
                "{} tells another history of {CONTESTED}",
                member.name
            )));
        }
        told.get_or_insert((ids, versions));
    }
    for (place, event) in told.map(|(_, versions)| versions).unwrap_or_default().iter().enumerate() {
        let value = event.value().data().map(|data| String::from_utf8_lossy(data)).unwrap_or_default();
        let writer = if event.event_key() == parted.writes[1] { &members[2].name } else { &members[0].name };
        let part = if place == 0 { "the value" } else { "in the history" };
        let time = moment::show(event.timestamp());
        screen.fact(value, format_args!("{time}   by {writer}: {part} on all three"))?;
    }
    Ok(())
}

/// Shows the root of each node.
async fn show_roots(screen: &mut Screen, members: &[Member]) -> Result<(), Failure> {
    let mut roots = Vec::with_capacity(members.len());
    for member in members {
        roots.push(member.replica.root().await?);
    }
    let same = roots.windows(2).all(|pair| pair[0] == pair[1]);
    for (member, root) in members.iter().zip(&roots) {
        screen.holding(&member.name, root, same)?;
    }
    Ok(())
}

/// Waits until each of these nodes is connected to all others.
async fn meeting(members: &[Member]) -> Result<(), Failure> {
    until("the nodes did not meet", || async {
        Ok(members.iter().all(|member| member.met().len() == members.len() - 1).then_some(()))
    })
    .await
}

/// Waits until these nodes hold the same events, and returns their root.
async fn agreement(members: &[Member]) -> Result<Root, Failure> {
    let began = Instant::now();
    let mut compared = 0;
    until("the nodes did not come to hold the same", || {
        let due =
            u32::try_from(began.elapsed().as_millis() / COMPARE_INTERVAL.as_millis()).unwrap_or(u32::MAX);
        let compare = due >= compared;
        compared = due.max(compared) + u32::from(compare);
        async move {
            if compare {
                members.iter().for_each(Member::compare);
            }
            let root = members[0].replica.root().await?;
            for member in members {
                if member.replica.root().await? != root {
                    return Ok(None);
                }
            }
            Ok(Some(root))
        }
    })
    .await
}

/// Polls until there is a value, with a time limit.
async fn until<T, F: Future<Output = Result<Option<T>, Failure>>>(
    otherwise: &str,
    mut look: impl FnMut() -> F,
) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if began.elapsed() > STEP_TIMEOUT {
            return Err(Failure::not_converged(format!("{otherwise} within {}", took(STEP_TIMEOUT))));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
