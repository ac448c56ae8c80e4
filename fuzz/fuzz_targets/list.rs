//! Reads any bytes as a list of numbers.

#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code, reason = "each target calls one check")]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| checks::list(input));
