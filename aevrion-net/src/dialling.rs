//! Dialling within the handshake timeout, at one address of a host after the other.

use std::net::SocketAddr;

use aevrion_core::transport::{Limits, TransportError};
use tokio::time::{Instant, timeout};

/// Runs `work`, which connects to the node at `address`, with the handshake timeout of `limits`.
///
/// # Errors
/// Those of `work`, and [`TransportError::Unreachable`] after the timeout.
pub async fn in_time<T, E: From<TransportError>>(
    limits: &Limits,
    address: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(limits.handshake, work).await.unwrap_or_else(|_| {
        let what = format!("no answer within {:?}", limits.handshake);
        Err(TransportError::Unreachable { address: address.to_owned(), what }.into())
    })
}

/// Tries the resolved addresses of the host in `address` one after the other until one answers. Each gets a share of
/// the remaining time, so that a silent one does not use up the time of the next.
///
/// # Errors
/// The error of the last address if none answers, or else of the first one that answers and is not accepted.
pub async fn first_to_answer<T, F>(
    limits: &Limits,
    address: &str,
    resolved: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, TransportError>
where
    F: Future<Output = Result<T, TransportError>>,
{
    let unreachable = |what: String| TransportError::Unreachable { address: address.to_owned(), what };
    let end = Instant::now() + limits.handshake;
    let mut last = unreachable("the host has no address that can be dialled from here".to_owned());
    for (at, left) in resolved.iter().zip((1..=resolved.len()).rev()) {
        let share = (end - Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        last = match timeout(share, attempt(*at)).await {
            Ok(Err(error @ TransportError::Unreachable { .. })) => error,
            Ok(outcome) => return outcome,
            Err(_) => unreachable(format!("no answer from {at} within {:.1} s", share.as_secs_f64())),
        };
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use aevrion_core::transport::{HANDSHAKE, Refusal};

    use super::*;

    const SILENT: u16 = 1;
    const GONE: u16 = 2;
    const STRANGER: u16 = 3;
    const THERE: u16 = 4;

    async fn dial(ports: &[u16]) -> Result<u16, TransportError> {
        let resolved: Vec<_> = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        let attempt = async |at: SocketAddr| match at.port() {
            SILENT => std::future::pending().await,
            GONE => Err(TransportError::Unreachable { address: "host:1".into(), what: "refused".into() }),
            STRANGER => Err(TransportError::not_trusted("host:1", Refusal::WrongProtocol)),
            port => Ok(port),
        };
        first_to_answer(&Limits::default(), "host:1", &resolved, attempt).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_leaves_time_for_the_next() {
        let began = Instant::now();
        assert_eq!(dial(&[SILENT, GONE, SILENT, THERE]).await.unwrap(), THERE);
        assert!(began.elapsed() < HANDSHAKE);
        let silent = dial(&[SILENT, SILENT]).await.unwrap_err().to_string();
        assert!(silent.contains("no answer from 127.0.0.1:1 within 5"), "{silent}");
        assert!(matches!(dial(&[]).await, Err(TransportError::Unreachable { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_answers_and_does_not_fit_is_the_answer() {
        assert!(matches!(dial(&[GONE, STRANGER, THERE]).await, Err(TransportError::NotTrusted { .. })));
    }
}
