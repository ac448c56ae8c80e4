//! The end of the process: a message for the person, and a code for the caller.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::sanitize::sanitized_lines;
use crate::stderr::say;

/// Prints a failure, and returns its code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // It may quote others.
    say!("{style}aevrion:{style:#} {}", sanitized_lines(&failure.to_string()));
    ExitCode::from(failure.kind() as u8)
}

/// Ends the process at once.
pub(crate) fn now(failure: &Failure) -> ! {
    report(failure);
    std::process::exit(failure.code());
}
