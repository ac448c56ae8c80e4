//! The `aevrion` binary, all of which is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    aevrion::main()
}
