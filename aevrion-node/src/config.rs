//! Settings. Precedence: flags, environment, file, defaults.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize;

use crate::cli::{ClusterVerb, Format, Global, ScrubEvery, ServeFile, StoreKind, Verb};
use crate::failure::Failure;
use crate::moment::Span;
use crate::peer::TransportKind;

/// The contents of a configuration file. Unknown keys are errors: a misspelt setting is worse than none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    endpoint: Option<String>,
    store: Option<StoreKind>,
    granularity: Option<u64>,
    branching: Option<u32>,
    output: Option<Format>,
    #[serde(default, deserialize_with = "span")]
    timeout: Option<Span>,
    http: Option<SocketAddr>,
    listen: Option<SocketAddr>,
    transport: Option<Vec<TransportKind>>,
    peer: Option<Vec<String>>,
    #[serde(alias = "write_when_ahead")]
    write_despite_clocks: Option<bool>,
    scrub: Option<ScrubEvery>,
    #[serde(default, deserialize_with = "span")]
    away_alarm: Option<Span>,
}

/// A duration, as on the command line.
fn span<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

impl Global {
    /// Applies the command line's own choice between a directory and an endpoint, which exclude each other there unless
    /// the verb needs both. The command line concerns this one run; the environment and a file concern all runs, a
    /// server's among them.
    pub(crate) fn told_apart(mut self, matches: &ArgMatches, verb: &Verb) -> Result<Self, Failure> {
        let insisted_on = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        self.memory_insisted_on = insisted_on("store") && self.store == Some(StoreKind::Memory);
        let needs_both = matches!(verb, Verb::Cluster(ClusterVerb::Remove { .. }));
        if needs_both || !insisted_on("endpoint") {
            return Ok(self);
        }
        if insisted_on("data") {
            return Err(Failure::usage(
                "--data works on a directory, --endpoint asks a running node: give one of them",
            ));
        }
        self.endpoint_insisted_on = true;
        self.data = None;
        Ok(self)
    }

    /// Fills in from the file the settings that neither flags nor the environment give. (Those two are merged while
    /// parsing.) Returns the server's own settings too.
    pub(crate) fn with_file(mut self) -> Result<(Self, ServeFile), Failure> {
        let Some(path) = &self.config else { return Ok((self, ServeFile::default())) };
        let problem =
            |error: &dyn std::fmt::Display| Failure::usage(format!("--config {}: {error}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| problem(&error))?;
        let file: File = toml::from_str(&text).map_err(|error| problem(&error.to_string().trim_end()))?;
        self.data = self.data.or(file.data.filter(|_| !self.endpoint_insisted_on));
        self.endpoint = self.endpoint.or(file.endpoint);
        self.store = self.store.or(file.store);
        self.granularity = self.granularity.or(file.granularity);
        self.branching = self.branching.or(file.branching);
        self.output = self.output.or(file.output);
        self.timeout = self.timeout.or(file.timeout);
        let File { http, listen, transport, peer, write_despite_clocks, scrub, away_alarm, .. } = file;
        Ok((self, ServeFile { http, listen, transport, peer, write_despite_clocks, scrub, away_alarm }))
    }
}
