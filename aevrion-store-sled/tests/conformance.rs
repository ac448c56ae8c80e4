//! sled keeps the contract of a store.

use aevrion_core::store::conformance;
use aevrion_store_sled::SledStore;

#[tokio::test]
async fn sled_keeps_the_contract() {
    conformance::run(|directory| async move { SledStore::open(directory) }).await;
}
