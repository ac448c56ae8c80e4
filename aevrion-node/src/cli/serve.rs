//! The command line of `serve`: addresses to listen at, and neighbours.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::failure::Failure;
use crate::moment::Span;
use crate::peer::TransportKind;
use crate::wire::HTTP_PORT;

/// Default port for peers.
const PEER_PORT: u16 = 7388;

/// A member that is away for this long is an alarm. A machine that starts anew is back long before.
pub(crate) const AWAY_ALARM: Duration = Duration::from_secs(10 * 60);

/// Below this a scrub is a verification that has no end.
const SHORTEST_SCRUB: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(next_help_heading = "The server")]
pub(crate) struct ServeArgs {
    /// Where to answer HTTP; port 0 takes a free one [default: 127.0.0.1:7387]
    #[arg(long, env = "AEVRION_HTTP", hide_env_values = true, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where to await peers [default: 127.0.0.1:7388]
    #[arg(long, env = "AEVRION_LISTEN", hide_env_values = true, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    transports: TransportArgs,
    /// A peer to keep in step with, host:port or quic://host:port or tcp://host:port; once for each.
    /// It is remembered, until `aevrion cluster forget`
    #[arg(long, env = "AEVRION_PEER", hide_env_values = true, value_name = "ADDR", value_delimiter = ',')]
    peer: Vec<String>,
    /// Take writes also while this clock is over a minute from the neighbours': others may see them only later, or they
    /// may lose to what was written long before
    #[arg(
        long,
        alias = "write-when-ahead",
        env = "AEVRION_WRITE_DESPITE_CLOCKS",
        hide_env_values = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    write_despite_clocks: Option<bool>,
    /// In how long everything that is stored is checked once, little by little, and mended where it can be; or off
    /// [default: 7d]
    #[arg(long, env = "AEVRION_SCRUB", hide_env_values = true, value_name = "SPAN|off")]
    scrub: Option<ScrubEvery>,
    /// Raise an alarm about members that are away for this long, without whom nothing more is settled [default: 10m]
    #[arg(long, env = "AEVRION_AWAY_ALARM", hide_env_values = true, value_name = "SPAN")]
    away_alarm: Option<Span>,
}

/// Duration of a full pass of the scrub, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ScrubEvery(pub(crate) Option<Duration>);

impl Default for ScrubEvery {
    fn default() -> Self {
        Self(Some(Duration::from_secs(7 * 24 * 60 * 60)))
    }
}

impl FromStr for ScrubEvery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let Span(every) = text.parse().map_err(|help| format!("{help}, or off"))?;
        if every < SHORTEST_SCRUB {
            return Err(format!("the shortest scrub takes {SHORTEST_SCRUB:?}; `off` is for none"));
        }
        Ok(Self(Some(every)))
    }
}

impl TryFrom<String> for ScrubEvery {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The transports of a node that listens, or announces its future addresses.
#[derive(Debug, Args)]
pub(crate) struct TransportArgs {
    /// How peers reach this node; once for each transport [default: quic]
    #[arg(
        long,
        env = "AEVRION_TRANSPORT",
        hide_env_values = true,
        value_name = "TRANSPORT",
        value_delimiter = ','
    )]
    transport: Vec<TransportKind>,
}

impl TransportArgs {
    /// The transports of the flags, or else of the file, each once; the default one if there are none.
    pub(crate) fn or(self, file: Option<Vec<TransportKind>>) -> Vec<TransportKind> {
        let asked = if self.transport.is_empty() { file.unwrap_or_default() } else { self.transport };
        let mut kinds = Vec::new();
        for kind in asked {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if kinds.is_empty() { vec![TransportKind::usual()] } else { kinds }
    }
}

/// The settings of a configuration file for `serve`.
#[derive(Debug, Default)]
pub(crate) struct ServeFile {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) transport: Option<Vec<TransportKind>>,
    pub(crate) peer: Option<Vec<String>>,
    pub(crate) write_despite_clocks: Option<bool>,
    pub(crate) scrub: Option<ScrubEvery>,
    pub(crate) away_alarm: Option<Span>,
}

/// The settings of `serve`, merged from flags, environment, file and defaults.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) http: SocketAddr,
    pub(crate) listen: SocketAddr,
    pub(crate) transports: Vec<TransportKind>,
    pub(crate) peers: Vec<String>,
    pub(crate) write_despite_clocks: bool,
    pub(crate) scrub: ScrubEvery,
    pub(crate) away_alarm: Duration,
}

impl ServeArgs {
    /// Fills in the settings that neither flags nor the environment give.
    pub(crate) fn with_file(self, file: ServeFile) -> Result<Serving, Failure> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let http = self.http.or(file.http).unwrap_or_else(|| loopback(HTTP_PORT));
        if !http.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "--http {http} is not an address of this machine alone: HTTP carries everything in plain text, and \
                 whoever reaches it may read and write. Give a loopback address such as 127.0.0.1:{}, and reach it \
                 from elsewhere through a tunnel (ssh -L) or a proxy that encrypts",
                http.port()
            )));
        }
        Ok(Serving {
            http,
            listen: self.listen.or(file.listen).unwrap_or_else(|| loopback(PEER_PORT)),
            transports: self.transports.or(file.transport),
            peers: if self.peer.is_empty() { file.peer.unwrap_or_default() } else { self.peer },
            write_despite_clocks: self.write_despite_clocks.or(file.write_despite_clocks).unwrap_or(false),
            scrub: self.scrub.or(file.scrub).unwrap_or_default(),
            away_alarm: self.away_alarm.or(file.away_alarm).map_or(AWAY_ALARM, |span| span.0),
        })
    }
}
