//! The command line, as it is parsed and as `--help` explains it.

mod cluster;
pub(crate) mod import;
mod serve;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aevrion_core::Cursor;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::encoding::Encoding;
use crate::moment::{Moment, Span};

pub(crate) use cluster::{ClusterVerb, SyncVerb};
pub(crate) use import::{
    ColumnArgs, Condition, FileFormat, ImportArgs, ImportFrom, Quotes, Ties, TimeArgs, TimeUnit, may_delimit,
};
pub(crate) use serve::{AWAY_ALARM, ScrubEvery, ServeArgs, ServeFile, Serving, TransportArgs};

/// Default timeout of a verb.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const SERVE_NOTES: &str = "\
A first Ctrl-C or SIGTERM lets requests finish, closes the store, and the exit code is 0. A second
one ends it at once, as does one before it is ready: the code is 130 or 143 then, and nothing that
was acknowledged is lost.
On standard error it says whom it turned away or cut off, and what it could not do.
AEVRION_LOG=error says less, AEVRION_LOG=info or =debug more, AEVRION_LOG=aevrion_core::replication=debug
more of one part.";

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 condition not met, 5 not allowed, 6 unreachable,
7 integrity failure, 8 not converged, 130 interrupted, 143 terminated.
A verb asks the node at --endpoint, or with --data works on that directory itself. `aevrion serve` starts a node.
TIME is milliseconds since 1970, RFC 3339 (2013-07-04T12:00:00Z) or a span ago (15m, 2h, 3days).";

/// A replicated key-value store in which every write is an immutable event on a time axis.
#[derive(Debug, Parser)]
#[command(name = "aevrion", version, styles = STYLES, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb understands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "For every verb")]
pub(crate) struct Global {
    /// Directory of the store; made if it is not there. Without it a verb asks a running node
    #[arg(long, global = true, env = "AEVRION_DATA", hide_env_values = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The running node to ask [default: http://127.0.0.1:7387]
    #[arg(long, global = true, env = "AEVRION_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Engine of a new store (an existing one knows its own) [default: redb]
    #[arg(long, global = true, env = "AEVRION_STORE", hide_env_values = true, value_name = "ENGINE")]
    pub(crate) store: Option<StoreKind>,
    /// Milliseconds covered by a leaf of a new store's tree [default: 60000]
    #[arg(long, global = true, env = "AEVRION_GRANULARITY", hide_env_values = true, value_name = "MS")]
    pub(crate) granularity: Option<u64>,
    /// Children of a node of a new store's tree [default: 32]
    #[arg(long, global = true, env = "AEVRION_BRANCHING", hide_env_values = true, value_name = "N")]
    pub(crate) branching: Option<u32>,
    /// How long to wait for a node that says nothing; `sync wait`: for agreement [default: 30s]
    ///
    /// Long work that says how far it has come is waited for longer, and a watch goes on.
    #[arg(long, global = true, env = "AEVRION_TIMEOUT", hide_env_values = true, value_name = "SPAN")]
    pub(crate) timeout: Option<Span>,
    /// Settings from a TOML file; flags and the environment go before it
    #[arg(long, global = true, env = "AEVRION_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How to print what is listed [default: table]
    #[arg(short, long, global = true, env = "AEVRION_OUTPUT", hide_env_values = true, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// Keys and values are hexadecimal
    #[arg(long, global = true, conflicts_with = "base64")]
    pub(crate) hex: bool,
    /// Keys and values are base64
    #[arg(long, global = true)]
    pub(crate) base64: bool,
    /// The endpoint was given on the command line: it overrides a directory named only by the environment or a file.
    #[arg(skip)]
    pub(crate) endpoint_insisted_on: bool,
    /// `--store memory` was given on the command line: only then does a verb work on a store that ends with it.
    #[arg(skip)]
    pub(crate) memory_insisted_on: bool,
}

/// A storage engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// One file, power-safe (the default)
    Redb,
    /// sled 0.34
    Sled,
    /// Nothing is kept: for `serve`, or to try a verb out
    Memory,
}

/// How to write events into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line, as `import` reads them
    Jsonl,
    /// Columns: timestamp, key, value, deleted, `expires_at`, id
    Csv,
}

impl Global {
    /// The timeout of a verb.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.map_or(DEFAULT_TIMEOUT, |Span(span)| span)
    }

    /// The encoding of keys and values.
    pub(crate) fn encoding(&self) -> Encoding {
        match (self.hex, self.base64) {
            (true, _) => Encoding::Hex,
            (_, true) => Encoding::Base64,
            _ => Encoding::Utf8,
        }
    }
}

impl ExportFormat {
    /// The format by the name of a file.
    pub(crate) fn of_name(path: &Path) -> Self {
        let name = path.to_str().unwrap_or_default().to_ascii_lowercase();
        if name.ends_with(".csv") || name.ends_with(".csv.gz") { Self::Csv } else { Self::Jsonl }
    }
}

/// The form of a printed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// Values alone, a line each
    Raw,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what this is: three nodes on this machine that are cut apart and mend themselves, then yours to try
    Demo {
        /// End after the show, rather than go on until interrupted
        #[arg(long)]
        exit: bool,
    },
    /// Open the store and answer over HTTP until it is told to stop
    #[command(after_help = SERVE_NOTES)]
    Serve(ServeArgs),
    /// Give a key a value
    Put {
        /// The key
        key: String,
        /// The value, or - to read it from standard input
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// How long the value is visible, such as 90s, 1h or 7days
        #[arg(long, value_name = "SPAN")]
        ttl: Option<Span>,
        /// When the write happened, in milliseconds since 1970 [default: now]
        #[arg(long, value_name = "MS")]
        at: Option<u64>,
    },
    /// Print the value of a key, and nothing else
    Get {
        /// The key
        key: String,
        /// The moment whose value is wanted [default: now]
        #[arg(long, value_name = "TIME")]
        at: Option<Moment>,
    },
    /// Leave a key without a value; its history stays
    Delete {
        /// The key
        key: String,
    },
    /// List the versions of a key, oldest first
    History {
        /// The key
        key: String,
        /// None later than this [default: now]
        #[arg(long, value_name = "TIME")]
        at: Option<Moment>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Newest first
        #[arg(long)]
        reverse: bool,
    },
    /// List the keys that have a value, in byte order
    Scan {
        /// Only keys that begin with this
        prefix: Option<String>,
        /// The moment whose values are wanted [default: now]
        #[arg(long, value_name = "TIME")]
        at: Option<Moment>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Only keys from this one on
        #[arg(long, value_name = "KEY", conflicts_with = "prefix")]
        from: Option<String>,
        /// Only keys before this one
        #[arg(long, value_name = "KEY", conflicts_with = "prefix")]
        to: Option<String>,
    },
    /// Print events as they arrive, each with the cursor to go on from, until interrupted
    Watch {
        /// Only keys that begin with this
        prefix: Option<String>,
        /// Go on behind the event that came with this cursor [default: from now on]
        #[arg(long, value_name = "CURSOR")]
        from: Option<Cursor>,
    },
    /// Store the events of a file, or the history of a git repository; what is stored already is passed over
    Import(ImportArgs),
    /// Write all events in the order of time, one JSON object a line or as a table
    Export {
        /// Where to; gzip if the name ends in .gz [default: standard output]
        file: Option<PathBuf>,
        /// How [default: csv if the name says so, else jsonl]
        #[arg(long, value_name = "FORMAT")]
        format: Option<ExportFormat>,
    },
    /// Say what the store holds, and how the node is
    Status,
    /// Check everything stored: events, index, tree
    Verify,
    /// Make index, tree and counts again from the events
    Rebuild,
    /// The clock that stamps local writes
    #[command(subcommand)]
    Clock(ClockVerb),
    /// Make a cluster, let others in, join one
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// How a running node keeps in step with its neighbours
    #[command(subcommand)]
    Sync(SyncVerb),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// `clock`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ClockVerb {
    /// Take writes again although the clock was set back, stamped after the latest one here
    ///
    /// For when the clock is right now and was ahead before. Until it has caught up, new writes carry times that are still
    /// to come, and other nodes show them only then.
    Resume,
}
