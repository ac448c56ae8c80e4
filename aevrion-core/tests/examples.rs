//! The examples are what people begin with, so they run, and the backend among them keeps the contract.

use aevrion_core::store::conformance;

#[path = "../examples/custom_backend.rs"]
mod custom_backend;

#[tokio::test]
async fn the_custom_backend_keeps_the_contract() {
    conformance::run(|directory| async move { custom_backend::LogStore::open(directory) }).await;
}

#[test]
fn the_custom_backend_runs() {
    custom_backend::main().unwrap();
}
