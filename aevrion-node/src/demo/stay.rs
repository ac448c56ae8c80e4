//! After the demo: the three nodes keep running, each with its HTTP interface, for users to try.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::member::Member;
use super::screen::Screen;
use crate::failure::Failure;
use crate::server::serve_on;
use crate::signals::Signals;
use crate::wire::HTTP_PORT;

/// Serves until a signal ends it; a second one ends it at once.
pub(super) async fn serve(
    screen: &mut Screen,
    members: &[Member],
    signals: &mut Signals,
) -> Result<(), Failure> {
    let (stop, stopping) = watch::channel(false);
    let mut servers = JoinSet::new();
    let mut endpoints = Vec::with_capacity(members.len());
    for (member, port) in members.iter().zip(HTTP_PORT..) {
        let listener = listen(port).await?;
        let address = listener.local_addr().map_err(Failure::error)?;
        endpoints.push(format!("http://{address}"));
        servers.spawn(serve_on(member.node(), listener, stopping.clone()));
    }
    invite(screen, members, &endpoints)?;
    signals.next().await;
    // The receivers are still serving.
    let _ = stop.send(true);
    tokio::select! {
        () = async { while servers.join_next().await.is_some() {} } => {}
        _ = signals.next() => {}
    }
    Ok(())
}

/// Listens on loopback: at `port`, or any free one.
async fn listen(port: u16) -> Result<TcpListener, Failure> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(at(port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(at(0))
            .await
            .map_err(|error| Failure::error(format!("cannot listen on loopback: {error}"))),
    }
}

/// Prints the endpoints, and commands to try.
fn invite(screen: &mut Screen, members: &[Member], endpoints: &[String]) -> Result<(), Failure> {
    let program = program();
    let [first, .., last] = endpoints else { return Ok(()) };
    screen.heading("They go on until you press Ctrl-C. In another terminal:")?;
    for (member, endpoint) in members.iter().zip(endpoints) {
        screen.fact(&member.name, endpoint)?;
    }
    for (words, endpoint) in [
        ("watch gate:", first),
        ("put gate:B4 open", last),
        ("history gate:B4", first),
        ("get plane:N14228 --at 2013-07-05T01:20:00Z", last),
        ("sync status", first),
    ] {
        screen.command(format_args!("{program} {words} --endpoint {endpoint}"))?;
    }
    screen.command(format_args!("curl {last}/v1/kv/gate:B4"))
}

/// This program's path as it was called: copied commands should work.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !called.is_empty() && called.chars().all(plain) { called } else { "aevrion".to_owned() }
}
