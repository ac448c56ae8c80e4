//! The reference store keeps the contract: otherwise the suite would be unfounded.

use std::convert::Infallible;

use aevrion_core::store::{MemoryStore, conformance};

#[tokio::test]
async fn memory_store_keeps_the_contract() {
    conformance::run(|_directory| async { Ok::<_, Infallible>(MemoryStore::new()) }).await;
}
