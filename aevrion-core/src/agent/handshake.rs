//! The handshake: checks that two nodes are compatible, and measures the offset of their clocks. No data flows before
//! its end. A further Hello each minute measures the clocks again.

use std::sync::Arc;
use std::time::Duration;

use super::clocks::{Clocks, SAMPLES};
use super::common::{ClockReading, Common};
use super::outgoing::send_live;
use super::{AgentConfig, Fault, Incompatible, Now, Output};
use crate::Incarnation;
use crate::bounds::HELLOS;
use crate::message::{Echo, FEATURES, Hello, Message, PROTOCOL_VERSION};

/// The neighbour's description of itself. Only its identity is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The incarnation of its store: new with each opening.
    pub incarnation: Incarnation,
    /// Its listen addresses.
    pub listens: Vec<String>,
    /// The address of another machine with this node's identity, if it met one.
    pub conflict: Option<String>,
}

/// A Hello with this configuration, without an echo or a measurement.
pub(crate) fn hello(config: &AgentConfig, number: u32, now: Now) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        features: FEATURES,
        space: config.space.clone(),
        parameters: config.parameters,
        node: config.node,
        incarnation: config.incarnation,
        listens: config.listens.clone(),
        conflict: None,
        wall: now.wall,
        number,
        echo: None,
        samples: 0,
    }
}

/// The neighbour's last Hello.
#[derive(Debug, Clone, Copy)]
struct LastHello {
    number: u32,
    /// Measurements that it stated.
    samples: u8,
    came_at: Duration,
}

/// The state of the handshake with one neighbour.
#[derive(Debug)]
pub(super) struct Handshake {
    common: Arc<Common>,
    clocks: Clocks,
    /// Hellos sent on this connection.
    sent: u32,
    /// Measurements that this side's last Hello stated.
    stated: u8,
    last: Option<LastHello>,
    introduction: Option<Introduction>,
    /// The address of another machine with the neighbour's identity.
    conflict: Option<String>,
}

impl Handshake {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self {
            common,
            clocks: Clocks::default(),
            sent: 0,
            stated: 0,
            last: None,
            introduction: None,
            conflict: None,
        }
    }

    /// Takes a Hello, and answers it if needed.
    ///
    /// # Errors
    /// [`Fault::Incompatible`] if the two are not compatible, [`Fault::Babble`] after too many Hellos without an end.
    pub(super) fn handle(&mut self, hello: Hello, now: Now) -> Result<Option<Output>, Fault> {
        self.check_fit(&hello)?;
        if !self.is_settled() && hello.number > HELLOS {
            return Err(Fault::Babble);
        }
        if let Some(echo) = hello.echo {
            let held = Duration::from_micros(echo.held_us);
            self.clocks.answered(echo.number, held, hello.wall, (now.steady, now.wall));
        }
        self.last = Some(LastHello { number: hello.number, samples: hello.samples, came_at: now.steady });
        let Hello { incarnation, listens, conflict, .. } = hello;
        self.introduction = Some(Introduction { incarnation, listens, conflict });
        // A Hello without an echo is a question. Before both sides know that both measured enough, answer every Hello.
        let asks = hello.echo.is_none() || hello.samples < SAMPLES || self.stated < SAMPLES;
        Ok(asks.then(|| self.hello(now, true)))
    }

    /// A Hello that asks for an answer: the first one, and one each minute.
    pub(super) fn start(&mut self, now: Now) -> Output {
        self.hello(now, false)
    }

    /// Another machine with the neighbour's identity is at this address (`None`: no longer). The neighbour is told at
    /// once, and with every further Hello.
    pub(super) fn tell_conflict(&mut self, there: Option<String>, now: Now) -> Option<Output> {
        let is_news = there.is_some() && there != self.conflict;
        self.conflict = there;
        is_news.then(|| self.start(now))
    }

    /// Whether data may flow: both sides have measured the other's clock.
    pub(super) fn is_settled(&self) -> bool {
        self.measured_enough() && self.last.is_some_and(|last| last.samples >= SAMPLES)
    }

    /// Whether this side has measured the neighbour's clock. The neighbour may settle first, so its data may arrive
    /// from now on.
    pub(super) fn measured_enough(&self) -> bool {
        self.clocks.taken() >= SAMPLES
    }

    pub(super) fn introduction(&self) -> Option<&Introduction> {
        self.introduction.as_ref()
    }

    pub(super) fn clock(&self) -> ClockReading {
        self.clocks.reading()
    }

    /// The next Hello; an answer echoes the neighbour's last one.
    fn hello(&mut self, now: Now, answer: bool) -> Output {
        self.sent = self.sent.wrapping_add(1);
        self.clocks.sending(self.sent, now.steady);
        self.stated = self.clocks.taken();
        let echo = self.last.filter(|_| answer).map(|last| {
            let held = now.steady.saturating_sub(last.came_at).as_micros();
            Echo { number: last.number, held_us: u64::try_from(held).unwrap_or(u64::MAX) }
        });
        let (conflict, samples) = (self.conflict.clone(), self.stated);
        let hello = Hello { conflict, echo, samples, ..hello(&self.common.config, self.sent, now) };
        send_live(Message::Hello(hello))
    }

    fn check_fit(&self, hello: &Hello) -> Result<(), Incompatible> {
        let Common { config, neighbour, .. } = &*self.common;
        if hello.version != PROTOCOL_VERSION {
            return Err(Incompatible::Version(hello.version));
        }
        if hello.node != *neighbour {
            return Err(Incompatible::Identity { said: hello.node, proven: *neighbour });
        }
        if hello.space != config.space {
            let (theirs, ours) = (hello.space.clone(), config.space.clone());
            return Err(Incompatible::Space { theirs, ours });
        }
        let differences = config.parameters.differences(&hello.parameters);
        if differences.is_empty() { Ok(()) } else { Err(Incompatible::Parameters(differences)) }
    }
}
