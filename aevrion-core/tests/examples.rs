//! Users begin with the examples, so this test runs them, and checks the backend among them against the contract.

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
