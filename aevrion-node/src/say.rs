//! Words on standard error. They stand below everything that ends or fails, so that anything may speak.

use std::io::Write;

/// Says something on standard error, in a line of its own. A reader that has gone, or a full disk,
/// changes nothing.
macro_rules! say {
    ($($said:tt)*) => {
        $crate::say::say_line(format_args!($($said)*))
    };
}
pub(crate) use say;

/// The work of `say`.
pub(crate) fn say_line(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
