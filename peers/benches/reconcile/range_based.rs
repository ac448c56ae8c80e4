//! A reconciliation by negentropy, to the end: the initiator knows all ids that only one side has.

use std::collections::BTreeSet;
use std::time::Instant;

use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::table::Cost;

/// The cost of reconciling two sealed sets with frames of at most `limit` bytes; 0 is no limit.
///
/// # Panics
/// If it does not find exactly `differences` ids.
pub(crate) fn reconcile(
    [here, there]: &[NegentropyStorageVector; 2],
    limit: u64,
    differences: usize,
) -> Cost {
    let began = Instant::now();
    let mut initiator = Negentropy::borrowed(here, limit).unwrap();
    let mut responder = Negentropy::borrowed(there, limit).unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let (mut bytes, mut round_trips) = (0, 0.0);
    let mut question = Some(initiator.initiate().unwrap());
    while let Some(asked) = question {
        let answer = responder.reconcile(&asked).unwrap();
        bytes += (asked.len() + answer.len()) as u64;
        round_trips += 1.0;
        question = initiator.reconcile_with_ids(&answer, &mut have, &mut need).unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    let found: BTreeSet<Id> = have.into_iter().chain(need).collect();
    assert_eq!(found.len(), differences, "negentropy with frames of {limit} B");
    Cost { bytes, round_trips, seconds }
}
