//! The name, the state and the table row of a neighbour, the same in every listing.

use crate::report::NeighbourReport;
use crate::sanitize::sanitized;

/// The cells of a table row for the identity, the address and the state of a neighbour.
pub(super) fn who_and_where(neighbour: &NeighbourReport) -> Vec<String> {
    let state = match &neighbour.problem {
        // It may quote the neighbour.
        Some(problem) => format!("{}: {}", neighbour.state, sanitized(problem)),
        None => neighbour.state.clone(),
    };
    let id = neighbour.id.as_ref().map(|id| id.chars().take(8).collect());
    let address = Some(&neighbour.address).filter(|address| !address.is_empty());
    vec![or_dash(id), or_dash(address.cloned()), state]
}

/// The name of a neighbour: its address, or else its identity.
pub(super) fn name_of(neighbour: &NeighbourReport) -> &str {
    match &neighbour.id {
        Some(id) if neighbour.address.is_empty() => id,
        _ => &neighbour.address,
    }
}

pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// The neighbours that are connected.
pub(super) fn connected(neighbours: &[NeighbourReport]) -> impl Iterator<Item = &NeighbourReport> {
    neighbours.iter().filter(|neighbour| neighbour.is_connected())
}
