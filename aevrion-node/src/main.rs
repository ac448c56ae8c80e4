//! The `aevrion` binary; its code is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    aevrion::main()
}
