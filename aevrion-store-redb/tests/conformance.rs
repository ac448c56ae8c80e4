//! Promise: the redb store keeps the contract of the core.

use aevrion_store_redb::RedbStore;

#[tokio::test(flavor = "multi_thread")]
async fn conformance() {
    aevrion_core::store::conformance::run(|directory| async move { RedbStore::open(directory) }).await;
}
