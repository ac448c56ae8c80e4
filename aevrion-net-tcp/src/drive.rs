//! The task of a connection: it reads, writes, sends pings and writes the close reason.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aevrion_core::transport::{CloseReason, Lane, Limits, Side, TransportError};
use aevrion_net::{ConnectionPlace, GRACE};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::chunk::{self, CHUNK, Chunk};
use crate::counted::Counts;
use crate::inbox::Inbox;
use crate::outbox::Outbox;

/// Bytes handed to TLS at once: some chunks of each lane. A batch cannot be reordered any more, so it is short.
const BATCH: usize = 4 * CHUNK;

/// A mutually authenticated stream, and the counters of the bytes on the network below it.
pub(crate) struct Stream<S> {
    pub(crate) inner: S,
    pub(crate) counts: Arc<Counts>,
}

/// State shared by the task and the users of a connection.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) close_reason: CloseReason,
    pub(crate) outboxes: [Outbox; 2],
    pub(crate) inboxes: [Inbox; 2],
    pub(crate) something_to_write: Notify,
    /// Round trip of the last ping, in microseconds; 0 before the first pong.
    round_trip: AtomicU64,
    pings: Mutex<Pings>,
}

#[derive(Debug)]
struct Pings {
    /// The ping without a pong so far.
    asked: Option<(u64, Instant)>,
    /// Whether that ping is still unwritten.
    to_write: bool,
    /// The ping to answer. Only the last of several gets a pong, so they cannot pile up.
    to_answer: Option<u64>,
    next: u64,
    /// When the other side last showed that it reads: a pong or credit.
    last_sign: Instant,
    /// When the last chunk of any kind arrived.
    last_heard: Instant,
}

impl Shared {
    pub(crate) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        let pings =
            Pings { asked: None, to_write: false, to_answer: None, next: 0, last_sign: now, last_heard: now };
        Self {
            close_reason: CloseReason::default(),
            outboxes: std::array::from_fn(|_| Outbox::new()),
            inboxes: std::array::from_fn(|_| Inbox::new(limits.window)),
            something_to_write: Notify::new(),
            round_trip: AtomicU64::new(0),
            pings: Mutex::new(pings),
        }
    }

    /// Closes the connection from this side.
    pub(crate) fn close(&self, reason: &str) {
        self.close_reason.end(Side::Here, reason);
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn pings(&self) -> MutexGuard<'_, Pings> {
        self.pings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a ping, or fails if the last one has been unanswered for too long.
    fn ask_for_a_sign(&self, limits: &Limits) -> Result<(), TransportError> {
        let mut pings = self.pings();
        if pings.asked.is_some() {
            return if pings.last_sign.elapsed() < limits.idle {
                Ok(())
            } else {
                Err(closed(Side::Network, &format!("no sign of life for {:?}", limits.idle)))
            };
        }
        pings.asked = Some((pings.next, Instant::now()));
        pings.next += 1;
        pings.to_write = true;
        Ok(())
    }

    /// Fills a batch with everything that may be written now: control chunks first, then the lanes in turn.
    fn fill(&self, buffer: &mut BytesMut) {
        {
            let mut pings = self.pings();
            if let Some(number) = pings.to_answer.take() {
                chunk::put_pong(buffer, number);
            }
            if let Some((number, _)) = pings.asked.filter(|_| std::mem::take(&mut pings.to_write)) {
                chunk::put_ping(buffer, number);
            }
        }
        for lane in Lane::ALL {
            if let Some(credit) = self.inboxes[lane as usize].take_credit() {
                chunk::put_credit(buffer, lane, credit);
            }
        }
        let mut more = true;
        while more && buffer.len() < BATCH {
            more = false;
            for lane in Lane::ALL {
                more |= self.outboxes[lane as usize].fill(lane, buffer);
            }
        }
    }

    /// Handles one received chunk.
    fn handle(&self, chunk: Chunk) -> Result<(), TransportError> {
        self.pings().last_heard = Instant::now();
        match chunk {
            Chunk::Data(lane, bytes) => self.inboxes[lane as usize]
                .put(&bytes)
                .map_err(|_| violation("it sent more than it was allowed to"))?,
            Chunk::Credit(lane, bytes) => {
                let allowed = self.outboxes[lane as usize].allow(bytes);
                allowed.map_err(|_| violation("it allowed more than there is"))?;
                self.pings().last_sign = Instant::now();
                self.something_to_write.notify_one();
            }
            Chunk::Ping(number) => {
                self.pings().to_answer = Some(number);
                self.something_to_write.notify_one();
            }
            Chunk::Pong(number) => {
                let mut pings = self.pings();
                if let Some((_, asked_at)) = pings.asked.take_if(|(asked, _)| *asked == number) {
                    let micros = u64::try_from(asked_at.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.round_trip.store(micros.max(1), Ordering::Relaxed);
                    pings.last_sign = Instant::now();
                }
            }
            Chunk::Close(reason) => return Err(closed(Side::There, &reason)),
            Chunk::Welcome => return Err(violation("it does not keep to the protocol")),
        }
        Ok(())
    }

    /// The error of a connection whose other side takes no bytes: a violation if it still sends, because then it could
    /// read as well.
    fn took_nothing(&self, limits: &Limits) -> TransportError {
        if self.pings().last_heard.elapsed() < limits.idle {
            violation(&format!("it took nothing of what it was sent for {:?}", limits.idle))
        } else {
            closed(Side::Network, &format!("no sign of life for {:?}", limits.idle))
        }
    }
}

fn violation(what: &str) -> TransportError {
    TransportError::Violation { what: what.to_owned() }
}

fn closed(by: Side, reason: &str) -> TransportError {
    TransportError::Closed { by, reason: reason.to_owned() }
}

fn broken(error: &io::Error) -> TransportError {
    closed(Side::Network, &format!("the connection broke off: {error}"))
}

/// Drives a connection to its end. `arrived` holds the bytes received after the handshake; `place` is released last.
pub(crate) async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    stream: Stream<S>,
    mut arrived: BytesMut,
    limits: Limits,
    place: ConnectionPlace,
) {
    let Stream { inner, counts } = stream;
    let (mut reading, mut writing) = tokio::io::split(inner);
    let mut batch = BytesMut::with_capacity(BATCH + CHUNK);
    let end = tokio::select! {
        biased;
        end = shared.close_reason.wait() => end,
        end = write(&shared, &mut writing, &counts, &mut batch, &limits) => end,
        end = read(&shared, &mut reading, &mut arrived) => end,
    };
    shared.close_reason.fail(end);
    // The side that closes sends the reason. The rest of the batch goes first: the reason would be taken for a part of
    // it.
    if let Some((Side::Here, reason)) = shared.close_reason.how() {
        chunk::put_close(&mut batch, &reason);
        let _ = timeout(GRACE, farewell(&mut reading, &mut writing, &mut batch)).await;
    }
    drop((reading, writing));
    drop(place);
}

async fn read(
    shared: &Shared,
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> TransportError {
    loop {
        loop {
            match chunk::take(buffer) {
                Ok(Some(chunk)) => {
                    if let Err(end) = shared.handle(chunk) {
                        return end;
                    }
                }
                Ok(None) => break,
                Err(_) => return violation("it does not keep to the protocol"),
            }
        }
        buffer.reserve(BATCH);
        match stream.read_buf(buffer).await {
            Ok(0) => return closed(Side::Network, "the connection broke off"),
            Ok(_) => {}
            Err(error) => return broken(&error),
        }
    }
}

async fn write(
    shared: &Shared,
    stream: &mut (impl AsyncWrite + Unpin),
    counts: &Counts,
    batch: &mut BytesMut,
    limits: &Limits,
) -> TransportError {
    let mut next_sign = Instant::now();
    loop {
        // Checked in each iteration: a lane that is never empty must not suppress the ping.
        if Instant::now() >= next_sign {
            next_sign = Instant::now() + limits.keep_alive();
            if let Err(end) = shared.ask_for_a_sign(limits) {
                return end;
            }
        }
        shared.fill(batch);
        if batch.is_empty() {
            tokio::select! {
                () = shared.something_to_write.notified() => {}
                () = sleep_until(next_sign) => {}
            }
            continue;
        }
        match while_some_is_taken(counts, limits.idle, write_all(stream, batch)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return broken(&error),
            None => return shared.took_nothing(limits),
        }
    }
}

/// Waits for `writing` while the network takes some bytes in every `pause`; `None` once it takes none. The senders of
/// the frames, not this function, decide whether a slow neighbour is too slow.
async fn while_some_is_taken<T>(
    counts: &Counts,
    pause: Duration,
    writing: impl Future<Output = T>,
) -> Option<T> {
    let mut writing = std::pin::pin!(writing);
    loop {
        let before = counts.sent();
        match timeout(pause, &mut writing).await {
            Ok(written) => return Some(written),
            Err(_) if counts.sent() == before => return None,
            Err(_) => {}
        }
    }
}

/// Writes all of `batch`. If dropped halfway, `batch` holds the rest.
async fn write_all(stream: &mut (impl AsyncWrite + Unpin), batch: &mut BytesMut) -> io::Result<()> {
    while !batch.is_empty() {
        match stream.write(batch).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => batch.advance(written),
        }
    }
    stream.flush().await
}

/// Writes the close reason, and waits until the other side has closed too: dropping a socket with unread bytes resets
/// the connection and loses the reason.
pub(crate) async fn farewell(
    reading: &mut (impl AsyncRead + Unpin),
    writing: &mut (impl AsyncWrite + Unpin),
    batch: &mut BytesMut,
) -> io::Result<()> {
    let mut ignored = vec![0; CHUNK];
    let said = async {
        write_all(writing, batch).await?;
        writing.shutdown().await
    };
    let heard = async {
        while reading.read(&mut ignored).await? > 0 {}
        Ok(())
    };
    // Both at once: the other side may be busy sending, and read nothing until this side reads.
    tokio::try_join!(said, heard).map(|_: ((), ())| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writing_goes_on_for_as_long_as_something_is_taken() {
        const PAUSE: Duration = Duration::from_secs(30);
        let counts = Counts::default();
        let slow = async {
            for _ in 0..100 {
                tokio::time::sleep(PAUSE / 2).await;
                counts.count_sent(1);
            }
        };
        assert_eq!(while_some_is_taken(&counts, PAUSE, slow).await, Some(()));
        let began = Instant::now();
        assert_eq!(while_some_is_taken(&counts, PAUSE, std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed(), PAUSE);
    }
}
