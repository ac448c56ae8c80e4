//! Imports any bytes with any flags.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| aevrion::fuzzing::import(input));
