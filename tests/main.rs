//! The whole-system tests, one promise per file. They share one program, because linking a program for each file took
//! longer than the tests. `cargo test -p aevrion-node --all-features --test system clocks::` runs those of one file.

mod support;

#[cfg(all(feature = "redb", feature = "quic", feature = "tcp"))]
mod alarms;
mod bad_input;
mod bad_settings;
#[cfg(all(feature = "redb", feature = "quic", feature = "tcp"))]
mod clocks;
#[cfg(all(feature = "redb", feature = "sled", feature = "quic", feature = "tcp"))]
mod cluster;
mod commands;
#[cfg(all(feature = "redb", feature = "quic", feature = "tcp"))]
mod copies;
mod damage;
#[cfg(all(feature = "quic", feature = "redb"))]
mod demo;
mod endpoint;
mod files;
mod flights;
mod full_disk;
#[cfg(target_os = "linux")]
mod git_import;
mod healing;
mod http;
#[cfg(all(feature = "redb", feature = "sled", feature = "quic", feature = "tcp"))]
mod in_step;
mod invariants;
#[cfg(all(feature = "redb", feature = "quic", feature = "tcp"))]
mod joining;
mod kill;
mod leases;
mod long_work;
#[cfg(all(feature = "redb", feature = "sled", feature = "quic", feature = "tcp"))]
mod memory;
mod migrating;
#[cfg(all(feature = "redb", feature = "quic", feature = "tcp"))]
mod network;
mod oracle;
#[cfg(all(feature = "redb", feature = "quic", feature = "tcp"))]
mod peers;
#[cfg(target_os = "linux")]
mod printing;
mod private;
#[cfg(target_os = "linux")]
mod read_only;
mod readme;
mod removing;
#[cfg(all(feature = "redb", feature = "quic", feature = "tcp"))]
mod renewing;
#[cfg(unix)]
mod silent;
mod slow;
mod stopping;
