//! Greetings: whether the two fit together, and what time it is on either side. No data flows before that is settled.

use std::time::Duration;

use super::{Agent, Fault, Halt, Hello, Incompatible, Message, Moment, Output, SAMPLES, Terms};
use crate::Incarnation;
use crate::bounds::GREETINGS;
use crate::message::{Echo, FEATURES, PROTOCOL_VERSION};
use crate::transport::Lane;

/// What a neighbour says of itself, beside what has to fit. Only its identity is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Which opening of its store it is.
    pub incarnation: Incarnation,
    /// Where it listens.
    pub listens: Vec<String>,
    /// Where it has met another machine with this node's identity.
    pub conflict: Option<String>,
}

/// The first words on these terms; no answer, and no measurement.
pub(crate) fn hello(terms: &Terms, number: u32, now: Moment) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        features: FEATURES,
        space: terms.space.clone(),
        parameters: terms.parameters,
        node: terms.node,
        incarnation: terms.incarnation,
        listens: terms.listens.clone(),
        conflict: None,
        wall: now.wall,
        number,
        echo: None,
        samples: 0,
    }
}

impl Agent {
    /// Another machine has the neighbour's identity, and is there (`None`: no more). It is told at once, and with every
    /// further Hello.
    pub(super) fn tell_conflict(&mut self, there: Option<String>, now: Moment) -> Vec<Output> {
        let is_news = there.is_some() && there != self.conflict;
        self.conflict = there;
        if is_news { vec![self.greeting(now, false)] } else { Vec::new() }
    }

    /// The next Hello; an answer echoes the neighbour's last one.
    pub(super) fn greeting(&mut self, now: Moment, answer: bool) -> Output {
        self.greetings = self.greetings.wrapping_add(1);
        self.clocks.sending(self.greetings, now.steady);
        self.stated = self.clocks.taken();
        let echo = self.heard.filter(|_| answer).map(|(number, _, came)| {
            let held = now.steady.saturating_sub(came).as_micros();
            Echo { number, held_us: u64::try_from(held).unwrap_or(u64::MAX) }
        });
        let (conflict, samples) = (self.conflict.clone(), self.stated);
        let hello = Hello { conflict, echo, samples, ..hello(&self.terms, self.greetings, now) };
        Output::Send(Lane::Live, Message::Hello(hello))
    }

    pub(super) fn on_hello(&mut self, hello: Hello, now: Moment) -> Result<Vec<Output>, Halt> {
        self.check_fit(&hello).map_err(Fault::Incompatible)?;
        let was_settled = self.is_settled();
        if !was_settled && hello.number > GREETINGS {
            return Err(Fault::Babble.into());
        }
        if let Some(echo) = hello.echo {
            let held = Duration::from_micros(echo.held_us);
            self.clocks.answered(echo.number, held, hello.wall, (now.steady, now.wall));
        }
        self.heard = Some((hello.number, hello.samples, now.steady));
        let Hello { incarnation, listens, conflict, .. } = hello;
        self.introduction = Some(Introduction { incarnation, listens, conflict });
        let mut outputs = Vec::new();
        // A question is answered; and so is everything until each side knows that both have measured enough.
        if hello.echo.is_none() || hello.samples < SAMPLES || self.stated < SAMPLES {
            outputs.push(self.greeting(now, true));
        }
        if !was_settled && self.is_settled() {
            self.compare_soon(now.steady);
            self.schedule.tick(now.steady + self.until_tick(now.wall));
        }
        Ok(outputs)
    }

    fn check_fit(&self, hello: &Hello) -> Result<(), Incompatible> {
        if hello.version != PROTOCOL_VERSION {
            return Err(Incompatible::Version(hello.version));
        }
        if hello.node != self.neighbour {
            return Err(Incompatible::Identity { said: hello.node, proven: self.neighbour });
        }
        if hello.space != self.terms.space {
            let (theirs, ours) = (hello.space.clone(), self.terms.space.clone());
            return Err(Incompatible::Space { theirs, ours });
        }
        let differences = self.terms.parameters.differences(&hello.parameters);
        if differences.is_empty() { Ok(()) } else { Err(Incompatible::Parameters(differences)) }
    }
}
