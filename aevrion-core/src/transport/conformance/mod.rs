//! The conformance suite for the contract of [`Transport`] and [`Connection`].
//!
//! Each promise is one small function, named after it and listed in [`run`]. A failure is a panic that begins with the
//! promise. Nothing sleeps: each wait is for an event, and fails only after far longer than anything here takes.

mod accepting;
mod bench;
mod carrying;
mod closing;
mod dialling;
mod dying;
mod lanes;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

#[cfg(doc)]
use super::Connection;
use super::Transport;

use bench::Bench;

/// Runs the whole suite on the transport that `open` binds. Each call of `open` returns another node of the same
/// cluster, with an address that all the others can dial.
///
/// ```no_run
/// # use aevrion_core::{NodeId, transport::memory::MemoryNetwork};
/// #[tokio::test]
/// async fn keeps_the_contract() {
///     let network = MemoryNetwork::new();
///     aevrion_core::transport::conformance::run(move || {
///         let network = network.clone();
///         async move { Ok::<_, std::io::Error>(network.bind(NodeId::random())) }
///     })
///     .await;
/// }
/// ```
///
/// The suite waits once for a dead neighbour to be detected and once for a dial to time out: set both limits of the
/// transport to three seconds or a little more. It takes a little longer than these, and up to 200 MiB of memory.
///
/// # Panics
/// If a promise is broken. The text begins with the promise.
pub async fn run<T, E, F, Opening>(open: F)
where
    T: Transport,
    E: Display,
    F: Fn() -> Opening + Send + Sync + 'static,
    Opening: Future<Output = Result<T, E>> + Send + 'static,
{
    let bench = Bench::new(move || {
        let opening = open();
        Box::pin(async move {
            let transport = opening.await.map_err(|error| error.to_string())?;
            Ok(Arc::new(transport) as Arc<dyn Transport>)
        })
    });

    dialling::who_is_at_the_other_end_is_right(&bench).await;
    dialling::an_address_that_is_none_is_an_error_of_whoever_gave_it(&bench).await;
    dialling::a_dial_to_nobody_fails_in_bounded_time(&bench).await;
    dialling::an_abandoned_dial_leaves_everything_in_order(&bench).await;
    dialling::many_connections_at_once_do_not_mix(&bench).await;
    accepting::an_abandoned_accept_loses_no_connection(&bench).await;

    carrying::frames_arrive_whole_in_order_and_once(&bench).await;
    carrying::frames_of_every_size_arrive(&bench).await;
    carrying::an_abandoned_receive_loses_nothing(&bench).await;
    carrying::an_abandoned_send_leaves_no_half_frame(&bench).await;
    carrying::traffic_counts_what_was_carried(&bench).await;

    lanes::a_lane_that_nobody_reads_does_not_block_the_other(&bench).await;
    lanes::a_sender_is_held_back_while_nobody_receives(&bench).await;

    closing::a_frame_that_is_too_long_closes_with_that_error_on_both_sides(&bench).await;
    closing::the_reason_reaches_the_other_side(&bench).await;
    closing::a_long_reason_is_cut(&bench).await;
    closing::an_end_without_a_reason_is_orderly(&bench).await;
    closing::what_waits_ends_with_the_connection(&bench).await;
    closing::a_dropped_connection_ends(&bench).await;
    accepting::after_close_accept_ends_and_so_do_connections(&bench).await;
    accepting::a_closed_transport_dials_nobody(&bench).await;
    accepting::a_closed_transport_gives_up_its_address(&bench).await;
    dying::a_killed_neighbour_is_noticed_in_bounded_time(&bench).await;
}
