//! The reports of long work: its progress and its results.

use aevrion_core::store::Table;
use aevrion_core::{Damage, Progress, Rebuilt, Verification};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The report of `verify`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VerifyReport {
    pub(crate) clean: bool,
    pub(crate) events: u64,
    pub(crate) keys: u64,
    pub(crate) root: String,
    pub(crate) findings: u64,
    pub(crate) mendable: Vec<String>,
    pub(crate) lost: Vec<String>,
    /// The next step for the operator, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) advice: Option<String>,
}

impl From<&Verification> for VerifyReport {
    fn from(found: &Verification) -> Self {
        let list = |damages: &[Damage]| damages.iter().map(ToString::to_string).collect();
        Self {
            clean: found.is_clean(),
            events: found.events,
            keys: found.keys,
            root: found.root.hash.to_string(),
            findings: found.findings,
            mendable: list(&found.mendable),
            lost: list(&found.lost),
            advice: (!found.is_clean()).then(|| advice(found).to_owned()),
        }
    }
}

fn advice(found: &Verification) -> &'static str {
    let only_arrivals = found.lost.iter().all(|damage| damage.table == Table::Arrivals);
    match (found.lost.is_empty(), found.mendable.is_empty()) {
        (false, _) if only_arrivals => {
            "the order of arrival is damaged: no event is lost, but a watcher that resumes may miss some"
        }
        (true, _) => "`aevrion rebuild` mends it",
        (false, true) => {
            "restore these events from a backup or an export: import it, nothing is lost by that"
        }
        (false, false) => {
            "`aevrion rebuild` mends what is derived; import a backup or an export for the rest"
        }
    }
}

/// The report of `rebuild`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RebuildReport {
    pub(crate) rows_added: u64,
    pub(crate) rows_removed: u64,
    pub(crate) events: u64,
    pub(crate) damaged_events: u64,
    pub(crate) root: String,
}

impl From<&Rebuilt> for RebuildReport {
    fn from(rebuilt: &Rebuilt) -> Self {
        Self {
            rows_added: rebuilt.rows_added,
            rows_removed: rebuilt.rows_removed,
            events: rebuilt.root.count,
            damaged_events: rebuilt.damaged_events,
            root: rebuilt.root.hash.to_string(),
        }
    }
}

/// Progress of long work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProgressReport {
    pub(crate) phase: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl From<Progress> for ProgressReport {
    fn from(progress: Progress) -> Self {
        Self { phase: progress.phase.to_owned(), done: progress.done, total: progress.total }
    }
}

/// A line of the answer to long work: steps, then the result or an error.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line<T> {
    Progress(ProgressReport),
    Result(T),
    Problem(Problem),
}

/// The result of an import.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ImportReport {
    pub(crate) new: u64,
    pub(crate) known: u64,
    pub(crate) skipped: u64,
    /// The first bad lines, each with its number, the field and the fault.
    pub(crate) errors: Vec<String>,
}
