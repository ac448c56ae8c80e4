//! A neighbour scripted by the test, message by message.

use aevrion_core::message::{Echo, Hello, Message, PROTOCOL_VERSION, decode, encode, longest_frame};
use aevrion_core::transport::{Connection, Lane};
use aevrion_core::{Incarnation, NodeId, Parameters, Timestamp};
use bytes::Bytes;

use super::waiting::NEVER;

/// A Hello of `node`.
pub(crate) fn hello(node: NodeId, number: u32, echo: Option<Echo>, samples: u8) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        features: 0,
        space: "default".into(),
        parameters: Parameters::default(),
        node,
        incarnation: Incarnation::from_bytes([0; 8]),
        listens: Vec::new(),
        conflict: None,
        wall: Timestamp::from_millis(1_700_000_000_000),
        number,
        echo,
        samples,
    }
}

/// Runs the handshake as `node`, with the claimed listen addresses, until data may flow.
pub(crate) async fn handshake(connection: &dyn Connection, node: NodeId, listens: &[&str]) {
    let mut number = 0;
    loop {
        match receive(connection, Lane::Live).await {
            Some(Message::Hello(theirs)) => {
                number += 1;
                let echo = Some(Echo { number: theirs.number, held_us: 0 });
                let listens = listens.iter().map(ToString::to_string).collect();
                let hello = Hello { listens, ..hello(node, number, echo, 3) };
                send(connection, Lane::Live, &Message::Hello(hello)).await;
            }
            Some(_) => return,
            None => panic!("the greetings were not answered"),
        }
    }
}

pub(crate) async fn send(connection: &dyn Connection, lane: Lane, message: &Message) {
    send_bytes(connection, lane, encode(message)).await;
}

pub(crate) async fn send_bytes(connection: &dyn Connection, lane: Lane, frame: Bytes) {
    // In some tests the other side has already hung up.
    let _ = connection.send(lane, frame).await;
}

/// The next message on a lane; `None` at the end of the connection.
pub(crate) async fn receive(connection: &dyn Connection, lane: Lane) -> Option<Message> {
    let parameters = Parameters::default();
    let received = tokio::time::timeout(NEVER, connection.receive(lane, longest_frame(&parameters))).await;
    received.expect("something comes").ok()?.map(|frame| decode(&frame, &parameters).unwrap())
}
