//! Messages on standard error. The module stands below everything that fails, so that anything may print one.

use std::io::Write;

/// Prints a line to standard error. A reader that has gone, or a full disk, changes nothing.
macro_rules! say {
    ($($said:tt)*) => {
        $crate::stderr::say_line(format_args!($($said)*))
    };
}
pub(crate) use say;

/// The function behind `say`.
pub(crate) fn say_line(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
