//! The output of the demo: short, aligned, and line by line as it happens.

use std::fmt::Display;
use std::io::{self, Stdout, Write};
use std::time::Duration;

use aevrion_core::Root;
use anstream::AutoStream;
use anstyle::{AnsiColor, Color, Style};

use crate::failure::Failure;
use crate::human::thousands;

const HEADING: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const SAME: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const OTHER: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
/// Width of the names on the left.
const NAME: usize = 9;

/// Standard output.
pub(super) struct Screen {
    out: AutoStream<Stdout>,
    left: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { out: AutoStream::auto(io::stdout()), left: false }
    }

    /// Whether the reader has closed the pipe (`| head`).
    pub(super) fn is_left(&self) -> bool {
        self.left
    }

    /// Prints the heading of an act.
    pub(super) fn heading(&mut self, text: impl Display) -> Result<(), Failure> {
        self.line(format_args!("\n{HEADING}{text}{HEADING:#}"))
    }

    /// Prints a named fact.
    pub(super) fn fact(&mut self, name: impl Display, what: impl Display) -> Result<(), Failure> {
        let name = name.to_string();
        self.line(format_args!("  {FAINT}{name:<NAME$}{FAINT:#}  {what}"))
    }

    /// Prints the root of a node; `same` is whether all nodes hold the same.
    pub(super) fn holding(&mut self, name: &str, root: &Root, same: bool) -> Result<(), Failure> {
        let style = if same { SAME } else { OTHER };
        let (events, hash) = (thousands(root.count), root.hash.to_string());
        self.fact(name, format_args!("{events} events   root {style}{}{style:#}", &hash[..32]))
    }

    /// Prints a command to copy, and its purpose.
    pub(super) fn command(&mut self, command: impl Display) -> Result<(), Failure> {
        self.line(format_args!("  {command}"))
    }

    /// Prints a line unchanged.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        if self.left {
            return Ok(());
        }
        match writeln!(self.out, "{text}").and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.left = true;
                Ok(())
            }
            written => written.map_err(|error| Failure::error(format!("cannot write the output: {error}"))),
        }
    }
}

/// A duration for people.
pub(super) fn took(time: Duration) -> String {
    match time.as_millis() {
        ms @ ..1_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}
