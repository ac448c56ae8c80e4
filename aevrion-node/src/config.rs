//! Settings: a flag goes before the environment, which goes before the file, which goes before the default.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::cli::{Format, Global, StoreKind};
use crate::exit::Failure;

/// What a configuration file may say. Unknown keys are errors: a misspelt setting is worse than none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    store: Option<StoreKind>,
    granularity: Option<u64>,
    branching: Option<u32>,
    output: Option<Format>,
}

impl Global {
    /// Fills in what neither flags nor the environment say. (Those two are merged while parsing.)
    pub(crate) fn with_file(mut self) -> Result<Self, Failure> {
        let Some(path) = &self.config else { return Ok(self) };
        let problem = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| problem(&error))?;
        let file: File = toml::from_str(&text).map_err(|error| problem(&error.to_string().trim_end()))?;
        self.data = self.data.or(file.data);
        self.store = self.store.or(file.store);
        self.granularity = self.granularity.or(file.granularity);
        self.branching = self.branching.or(file.branching);
        self.output = self.output.or(file.output);
        Ok(self)
    }
}
