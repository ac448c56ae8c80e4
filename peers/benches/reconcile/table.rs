//! The table: a row for each difference, with the costs of both contenders and the ratio of their bytes.

/// The cost of a reconciliation.
pub(crate) struct Cost {
    /// In both directions, without the events themselves.
    pub(crate) bytes: u64,
    pub(crate) round_trips: f64,
    /// Of computing, on both sides.
    pub(crate) seconds: f64,
}

/// The cost of Aevrion's.
pub(crate) struct OurCost {
    /// Until both sides hold all events; where nothing differs, until both know it.
    pub(crate) work: Cost,
    /// With the confirmations that follow.
    pub(crate) bytes_to_rest: u64,
}

/// The costs of both contenders, negentropy's for each limit of its frames.
pub(crate) type Row = (OurCost, [Cost; 2]);

pub(crate) fn print_head(events: u64) {
    println!(
        "{} events on each side. Bytes both ways beyond the events, round trips, seconds;",
        grouped(events)
    );
    println!(
        "of Aevrion also the bytes until both sides rest. Ratios of bytes: Aevrion's to the fewer of negentropy's.\n"
    );
    println!(
        "{:<32}|{:^38}|{:^26}|{:^26}|{:^16}",
        "differences", "Aevrion", "negentropy", "in frames of 60,000 B", "ratio"
    );
    let cost = format!("{:>10} {:>7} {:>7}", "bytes", "trips", "s");
    println!("{:<32}|{cost} {:>11}|{cost}|{cost}|{:>7} {:>8}", "", "to rest", "", "to rest");
}

pub(crate) fn print_row(name: &str, ours: &OurCost, theirs: &[Cost; 2]) {
    let fewer = theirs[0].bytes.min(theirs[1].bytes) as f64;
    let [plain, framed] = theirs.each_ref().map(shown);
    println!(
        "{name:<32}|{} {:>11}|{plain}|{framed}|{:>7.4} {:>8.4}",
        shown(&ours.work),
        grouped(ours.bytes_to_rest),
        ours.work.bytes as f64 / fewer,
        ours.bytes_to_rest as f64 / fewer,
    );
}

/// The row of the sums.
pub(crate) fn print_sum(name: &str, rows: &[Row]) {
    let sum = |costs: Vec<&Cost>| Cost {
        bytes: costs.iter().map(|cost| cost.bytes).sum(),
        round_trips: costs.iter().map(|cost| cost.round_trips).sum(),
        seconds: costs.iter().map(|cost| cost.seconds).sum(),
    };
    let ours = OurCost {
        work: sum(rows.iter().map(|(ours, _)| &ours.work).collect()),
        bytes_to_rest: rows.iter().map(|(ours, _)| ours.bytes_to_rest).sum(),
    };
    let theirs = [0, 1].map(|limit: usize| sum(rows.iter().map(|(_, theirs)| &theirs[limit]).collect()));
    print_row(name, &ours, &theirs);
}

fn shown(cost: &Cost) -> String {
    format!("{:>10} {:>7.1} {:>7.2}", grouped(cost.bytes), cost.round_trips, cost.seconds)
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

pub(crate) fn print_limits() {
    println!("{LIMITS}");
}

const LIMITS: &str = "
Here: the side that begins in negentropy, and has the smaller id in Aevrion. There: the other side. One side of these
rows lacks the events, here or there. Neither knows beforehand which, so the sum of both counts; negentropy costs little
if the beginner has all.

In favour of negentropy:
- It finds ids. The requests for events, the frames around them and a further round trip are its caller's. Aevrion's
  bytes have requests and frames in them, its round trips the transfer of the events.
- Its bytes are those of its messages. Aevrion's have the length of each frame in them, and the events that came twice.
- Only the beginner learns the outcome. In Aevrion both sides end in the knowledge that they agree: the bytes to rest.
- Its seconds are those of its messages, over sorted vectors. Aevrion's have the hashing of the tree after events were
  stored, the reading of events, the check of each that came, and the confirmations.

Not counted: the handshake of Aevrion, the events, the sorting of negentropy's vectors, the upkeep of Aevrion's tree and
sketch with each write.

Not measured: a transport and its encryption, a disk (all is in memory), the loss of connections, more than two nodes,
time under load, memory, values other than of 60 B.";
