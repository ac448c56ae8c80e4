//! Opening: the identity of a store, the recovery of its state, and the start of the writer.

use std::sync::Arc;

use bytes::Bytes;

use super::committer::Committer;
use super::handle::Replica;
use super::kept_sketch::{self, KeptCells, KeptSketch, Locators, Recovered, StoredSketch};
use super::options::Options;
use super::queue::Queue;
use super::read_state::{ReadState, read_checkpoint, read_sketch, recover};
use super::state::Names;
use super::state::Shared;
use super::writer::Writer;
use crate::events::outermost_event;
use crate::fault_injection::{Bug, injected};
use crate::sketch::SketchKey;
use crate::store::{
    Cooperative, Direction, Durability, EventStore, KeyRange, PageLimit, Projection, ScanRequest, Table,
    View, WriteBatch,
};
use crate::tables::{Checkpoint, FORMAT_VERSION, Lineage, WITHOUT_TIMETABLE, name};
use crate::{Clock, ClockMark, Incarnation, NodeId, OpenError, Parameters, Timestamp, timetable};

/// The rows of a store about itself.
struct Identity {
    parameters: Parameters,
    node: NodeId,
    checkpoint: Checkpoint,
    /// `None` if an older release wrote the store, or the row cannot be read: then the openings that numbered its
    /// arrivals are unknown.
    lineage: Option<Lineage>,
    has_timetable: bool,
}

impl Replica {
    /// Opens the replica in `store`, making it if the store is empty. Call it inside a Tokio runtime, which the
    /// replica's writer lives in.
    ///
    /// # Errors
    /// [`OpenError`] if the store holds another format or other parameters, is damaged where it must not be, or does
    /// not answer. A refused store is not changed.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn open(store: impl EventStore, options: Options) -> Result<Self, OpenError> {
        let store: Arc<dyn EventStore> = Arc::new(Cooperative(store));
        let view = store.view().await?;
        let incarnation = options.incarnation.unwrap_or_else(Incarnation::random);
        let mut identity = match read_identity(&*view).await? {
            Some(identity) => identity,
            None => make(&*store, &options, incarnation).await?,
        };
        let wanted = options.parameters.or(identity.parameters);
        let differences = identity.parameters.differences(&wanted);
        if !differences.is_empty() {
            return Err(OpenError::OtherParameters(differences));
        }
        // A store that does not outlive the process has no watchers to tell of past expiries.
        if !identity.has_timetable && store.capabilities().persistent {
            make_timetable(&*store, options.wall.now()).await?;
        }
        if let Some(node) = options.node.filter(|node| *node != identity.node) {
            rename(&*store, node).await?;
            identity.node = node;
        }
        let (state, damaged) = recover(&*store, store.view().await?, identity.checkpoint).await?;
        let (sketch, stored_until) = recover_sketch(&*store, &state, &options, &identity.parameters).await?;
        let last_until = async |until| {
            let event = outermost_event(&*state.view, (Timestamp::MIN, until), Direction::Backward).await;
            event.map(|event| event.map(|event_key| event_key.timestamp))
        };
        let greatest = last_until(Timestamp::MAX).await?;
        let present = options.wall.now().after(options.max_drift);
        let accepted = last_until(present).await?.unwrap_or(Timestamp::MIN);
        let mark = identity.checkpoint.clock;
        let (accepted, mark) =
            if injected(Bug::ClockBack) { (Timestamp::MIN, ClockMark::default()) } else { (accepted, mark) };
        let clock = Clock::new(accepted, mark, options.max_drift);
        let (queue, requests) = Queue::new();
        let Identity { parameters, node, checkpoint, lineage, .. } = identity;
        let lineage = lineage.map_or_else(
            || Lineage::of(incarnation),
            |lineage| lineage.continued(incarnation, checkpoint.next_arrival),
        );
        let names = Names { node, incarnation, lineage };
        let shared = Arc::new(Shared::new(store, parameters, names, &options, (state, sketch), &clock));
        shared.damage.found(damaged, shared.wall.now());
        let committer = Committer::new(Arc::clone(&shared), clock, greatest, stored_until);
        Writer::new(committer, requests).spawn();
        Ok(Self { shared, queue })
    }
}

/// The identity of the store; `None` if the store is empty.
async fn read_identity(view: &dyn View) -> Result<Option<Identity>, OpenError> {
    let Some(format) = view.get(Table::Meta, name::FORMAT.as_bytes()).await? else {
        let range = KeyRange::ALL;
        let (direction, projection, limit) = (Direction::Forward, Projection::Keys, PageLimit::ONE);
        for table in Table::ALL {
            let page = view.scan(ScanRequest { table, range, direction, projection, limit }).await?;
            if !page.is_empty() {
                return Err(OpenError::Damaged(name::FORMAT));
            }
        }
        return Ok(None);
    };
    let found = format[..].try_into().map_or(0, u32::from_be_bytes);
    if ![WITHOUT_TIMETABLE, FORMAT_VERSION].contains(&found) {
        return Err(OpenError::OtherFormat { found, known: FORMAT_VERSION });
    }
    let parameters = view.get(Table::Meta, name::PARAMETERS.as_bytes()).await?;
    let parameters = parameters.and_then(|row| Parameters::from_bytes(&row));
    let lineage = view.get(Table::Meta, name::LINEAGE.as_bytes()).await?;
    let node = view.get(Table::Meta, name::NODE.as_bytes()).await?;
    let node = node.and_then(|row| Some(NodeId::from_bytes(row[..].try_into().ok()?)));
    Ok(Some(Identity {
        parameters: parameters.ok_or(OpenError::Damaged(name::PARAMETERS))?,
        node: node.ok_or(OpenError::Damaged(name::NODE))?,
        checkpoint: read_checkpoint(view).await?.ok_or(OpenError::Damaged(name::CHECKPOINT))?,
        lineage: lineage.and_then(|row| Lineage::parse(&row)),
        has_timetable: found != WITHOUT_TIMETABLE,
    }))
}

/// Adds the timetable to a store of an older release.
async fn make_timetable(store: &dyn EventStore, now: Timestamp) -> Result<(), OpenError> {
    tracing::info!("looking for values that expire, once: the store is of a release that told nobody");
    timetable::make(store, now).await?;
    let mut batch = WriteBatch::new();
    timetable::put_told_until(now, &mut batch);
    batch.put(Table::Meta, name::FORMAT, Bytes::copy_from_slice(&FORMAT_VERSION.to_be_bytes()));
    store.commit(batch, Durability::Immediate).await?;
    Ok(())
}

/// The sketch of the store, and the sequence up to which its row has it. If it was made anew, the row is written.
async fn recover_sketch(
    store: &dyn EventStore,
    state: &ReadState,
    options: &Options,
    parameters: &Parameters,
) -> Result<(KeptSketch, u64), OpenError> {
    let stored = read_sketch(&*state.view).await?;
    let key = options.sketch_key.or(stored.as_ref().map(StoredSketch::key)).unwrap_or(SketchKey::PUBLIC);
    let locators = Locators::new(key, parameters);
    let recovered = kept_sketch::recover(&*state.view, &state.checkpoint, stored, locators).await?;
    let Recovered { cells, stored_until } = recovered;
    let next_arrival = state.checkpoint.next_arrival;
    if stored_until.is_none() {
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, name::SKETCH, kept_sketch::encode(key, next_arrival, &cells));
        store.commit(batch, Durability::Immediate).await?;
    }
    Ok((KeptSketch::new(locators, cells), stored_until.unwrap_or(next_arrival)))
}

/// Gives the store another identity: a node that has joined a cluster is named after its key.
async fn rename(store: &dyn EventStore, node: NodeId) -> Result<(), OpenError> {
    let mut batch = WriteBatch::new();
    batch.put(Table::Meta, name::NODE, Bytes::copy_from_slice(node.as_bytes()));
    store.commit(batch, Durability::Immediate).await?;
    Ok(())
}

/// Writes the identity of a new store.
async fn make(
    store: &dyn EventStore,
    options: &Options,
    incarnation: Incarnation,
) -> Result<Identity, OpenError> {
    let parameters = options.parameters.or(Parameters::default());
    parameters.validate()?;
    if !options.joins {
        parameters.check_new()?;
    }
    let node = options.node.unwrap_or_else(NodeId::random);
    let checkpoint = Checkpoint::default();
    let lineage = Lineage::of(incarnation);
    let mut batch = WriteBatch::new();
    batch.put(Table::Meta, name::FORMAT, Bytes::copy_from_slice(&FORMAT_VERSION.to_be_bytes()));
    batch.put(Table::Meta, name::PARAMETERS, Bytes::copy_from_slice(&parameters.to_bytes()));
    batch.put(Table::Meta, name::NODE, Bytes::copy_from_slice(node.as_bytes()));
    batch.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
    batch.put(Table::Meta, name::LINEAGE, lineage.encode());
    let key = options.sketch_key.unwrap_or(SketchKey::PUBLIC);
    batch.put(Table::Meta, name::SKETCH, kept_sketch::encode(key, 0, &KeptCells::empty()));
    timetable::put_told_until(Timestamp::MIN, &mut batch);
    store.commit(batch, Durability::Immediate).await?;
    Ok(Identity { parameters, node, checkpoint, lineage: Some(lineage), has_timetable: true })
}
