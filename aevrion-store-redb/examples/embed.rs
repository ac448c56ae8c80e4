//! Embedding Aevrion: a replica in a redb store, used as a library.
//!
//! `cargo run -p aevrion-store-redb --example embed`

use std::error::Error;

use aevrion_core::store::Durability;
use aevrion_core::{EntryQuery, KeySpan, VersionQuery};
use aevrion_core::{Operation, Options, Replica};
use aevrion_store_redb::RedbStore;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let replica = Replica::open(RedbStore::open(home.path().join("store"))?, Options::default()).await?;

    // A write is durable when it returns. It returns the place of its event on the time axis.
    let departed = replica.put("plane:N14228", "departed EWR").await?;
    replica.put("plane:N14228", "arrived IAH").await?;
    let other = vec![Operation::put("plane:N24211", "departed LGA"), Operation::delete("plane:N619AA")];
    replica.batch(other, Durability::Immediate).await?;

    let now = replica.get("plane:N14228").await?.unwrap_or_default();
    let then = replica.get_at("plane:N14228", departed.timestamp).await?.unwrap_or_default();
    println!("now:    {}", String::from_utf8_lossy(&now));
    println!("before: {}", String::from_utf8_lossy(&then));

    for event in replica.history("plane:N14228", &VersionQuery::default()).await?.events {
        println!("  {} {:?}", event.timestamp(), event.value());
    }
    let planes = EntryQuery::default().span(KeySpan::prefix("plane:"));
    println!("{} planes are somewhere", replica.scan(&planes).await?.events.len());
    println!("root:   {}", replica.root().await?.hash);
    replica.close().await?;
    Ok(())
}
