//! The end of the process: the person hears the failure, and the caller gets its code.

use std::io;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::say::say;
use crate::text::harmless_lines;

/// Tells the person and gives the code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // The words of others may be part of it.
    say!("{style}aevrion:{style:#} {}", harmless_lines(&failure.to_string()));
    ExitCode::from(failure.exit() as u8)
}

/// Ends the process at once.
pub(crate) fn now(failure: &Failure) -> ! {
    report(failure);
    std::process::exit(failure.code());
}

/// Writing to standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(|error| Failure::error(format!("cannot write the output: {error}"))),
    }
}
