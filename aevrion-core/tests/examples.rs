//! Users begin with the examples, so the examples run here, and the backend among them keeps the contract.

use crate::support::custom_backend;
use aevrion_core::store::conformance;

#[tokio::test]
async fn the_custom_backend_keeps_the_contract() {
    conformance::run(|directory| async move { custom_backend::LogStore::open(directory) }).await;
}

#[test]
fn the_custom_backend_runs() {
    custom_backend::main().unwrap();
}
