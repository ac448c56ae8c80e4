//! The offset between the neighbour's wall clock and this node's, and the round-trip time of a message.
//!
//! Each Hello that echoes one of ours is a measurement (as in NTP, RFC 5905 §8): the time not spent at the other side
//! was spent on the way, half of it each way. The measurement with the shortest round trip is the best, because delays
//! only lengthen it. If a measurement contradicts the others by more than the round trips can explain, a clock has
//! jumped, and the measurements begin anew.

use std::collections::VecDeque;
use std::time::Duration;

use super::common::ClockReading;
use crate::Timestamp;

/// Measurements before data may flow.
pub const SAMPLES: u8 = 3;

/// Measurements kept: the best of them counts.
const KEPT: usize = 8;

/// Own Hellos whose time of sending is remembered, for late echoes.
const REMEMBERED: usize = 4;

/// Milliseconds by which wall clocks may drift between two readings without counting as a jump.
const SLACK: i64 = 50;

#[derive(Debug, Clone, Copy)]
struct Sample {
    offset: i64,
    round_trip: Duration,
}

/// The clocks of the two sides of a connection.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    sent: VecDeque<(u32, Duration)>,
    samples: VecDeque<Sample>,
    taken: u8,
}

impl Clocks {
    /// Notes the sending of our Hello `number`.
    pub(super) fn sending(&mut self, number: u32, steady: Duration) {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((number, steady));
    }

    /// Takes a measurement from an answer to our Hello `number`, sent when the neighbour's clock showed `theirs`.
    pub(super) fn answered(
        &mut self,
        number: u32,
        held: Duration,
        theirs: Timestamp,
        (steady, wall): (Duration, Timestamp),
    ) {
        let Some((_, sent)) = self.sent.iter().find(|(sent, _)| *sent == number) else { return };
        let round_trip = steady.saturating_sub(*sent).saturating_sub(held);
        let offset = difference(theirs.after(round_trip / 2), wall);
        let sample = Sample { offset, round_trip };
        if self.best().is_some_and(|best| contradict(best, sample)) {
            self.samples.clear();
        }
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.taken = self.taken.saturating_add(1);
        self.sent.retain(|(sent, _)| *sent > number);
    }

    /// The number of measurements taken.
    pub(super) fn taken(&self) -> u8 {
        self.taken
    }

    /// The best measurement; a guess before the first one.
    pub(super) fn reading(&self) -> ClockReading {
        let reading = |best: Sample| ClockReading { offset: Some(best.offset), round_trip: best.round_trip };
        self.best().map_or(ClockReading::UNKNOWN, reading)
    }

    fn best(&self) -> Option<Sample> {
        self.samples.iter().copied().min_by_key(|sample| sample.round_trip)
    }
}

/// `a - b` in milliseconds, saturating.
fn difference(a: Timestamp, b: Timestamp) -> i64 {
    let difference = i128::from(a.as_millis()) - i128::from(b.as_millis());
    i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
}

fn contradict(a: Sample, b: Sample) -> bool {
    let ways = (a.round_trip + b.round_trip) / 2;
    let explained = i64::try_from(ways.as_millis()).unwrap_or(i64::MAX).saturating_add(SLACK);
    a.offset.abs_diff(b.offset) > explained.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn the_way_is_taken_out_of_the_offset() {
        let mut clocks = Clocks::default();
        clocks.sending(1, ms(1_000));
        // 40 ms there, 5 ms held, 40 ms back; the other clock is 500 ms ahead of ours, which shows 10,000 at sending.
        clocks.answered(1, ms(5), at(10_545), (ms(1_085), at(10_085)));
        assert_eq!(clocks.reading().offset, Some(500));
        assert_eq!(clocks.reading().round_trip, ms(80));
    }

    #[test]
    fn the_shortest_way_counts() {
        let mut clocks = Clocks::default();
        for (number, back, seen) in [(1, 400, 0), (2, 10, 0), (3, 900, 0)] {
            let _: u32 = seen;
            clocks.sending(number, ms(0));
            // All of the delay is on the way back: the offset seems smaller than the true zero.
            clocks.answered(number, ms(0), at(10_000), (ms(back), at(10_000 + back)));
        }
        assert_eq!(clocks.reading().offset, Some(-5));
        assert_eq!(clocks.taken(), 3);
    }

    #[test]
    fn a_jump_begins_anew() {
        let mut clocks = Clocks::default();
        clocks.sending(1, ms(0));
        clocks.answered(1, ms(0), at(10_000), (ms(2), at(10_001)));
        clocks.sending(2, ms(100));
        clocks.answered(2, ms(0), at(600_000 + 10_100), (ms(110), at(10_105)));
        assert_eq!(clocks.reading().offset, Some(600_000));
    }

    #[test]
    fn an_echo_of_what_was_never_sent_measures_nothing() {
        let mut clocks = Clocks::default();
        clocks.answered(7, ms(0), at(1), (ms(1), at(1)));
        assert_eq!((clocks.taken(), clocks.reading().offset), (0, None));
    }
}
