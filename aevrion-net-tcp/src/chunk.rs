//! The wire format inside TLS: chunks of either lane, and control chunks.
//!
//! ```text
//! kind  1 byte
//! size  2 bytes, most significant first
//! body
//!   0 live, 1 repair   up to 16 KiB of the lane's stream of frames
//!   2 credit           lane (1 byte), additional bytes the sender may send on it (4)
//!   3 ping, 4 pong     8 bytes; the pong repeats those of the ping
//!   5 welcome          the server has admitted the client; its first chunk
//!   6 close            the close reason; the last chunk of either side
//! ```

use aevrion_core::transport::{LONGEST_REASON, Lane};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a lane in one chunk: the longest delay of the other lane, and enough to make the header's cost small.
pub(crate) const CHUNK: usize = 16 << 10;

const HEADER: usize = 3;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Data(Lane, Bytes),
    Credit(Lane, usize),
    Ping(u64),
    Pong(u64),
    Welcome,
    Close(String),
}

/// The other side violates the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

const CREDIT: u8 = 2;
const PING: u8 = 3;
const PONG: u8 = 4;
const WELCOME: u8 = 5;
const CLOSE: u8 = 6;

fn lane(number: u8) -> Option<Lane> {
    Lane::ALL.get(usize::from(number)).copied()
}

fn header(buffer: &mut BytesMut, kind: u8, size: usize) {
    buffer.put_u8(kind);
    // No body below reaches 64 KiB.
    buffer.put_u16(u16::try_from(size).unwrap_or(u16::MAX));
}

/// Begins a chunk of `lane`; the caller appends `size` bytes, at most [`CHUNK`].
pub(crate) fn begin_data(buffer: &mut BytesMut, lane: Lane, size: usize) {
    header(buffer, lane as u8, size);
}

pub(crate) fn put_credit(buffer: &mut BytesMut, lane: Lane, bytes: usize) {
    header(buffer, CREDIT, 5);
    buffer.put_u8(lane as u8);
    buffer.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
}

pub(crate) fn put_ping(buffer: &mut BytesMut, number: u64) {
    header(buffer, PING, 8);
    buffer.put_u64(number);
}

pub(crate) fn put_pong(buffer: &mut BytesMut, number: u64) {
    header(buffer, PONG, 8);
    buffer.put_u64(number);
}

pub(crate) fn put_welcome(buffer: &mut BytesMut) {
    header(buffer, WELCOME, 0);
}

/// `reason` is at most [`LONGEST_REASON`] bytes.
pub(crate) fn put_close(buffer: &mut BytesMut, reason: &str) {
    header(buffer, CLOSE, reason.len());
    buffer.put_slice(reason.as_bytes());
}

/// Takes the next whole chunk from `buffer`, if it has arrived. The buffer holds at most one partial chunk.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Chunk>, Malformed> {
    let Some(header) = buffer.get(..HEADER) else { return Ok(None) };
    let (kind, size) = (header[0], usize::from(u16::from_be_bytes([header[1], header[2]])));
    let fits = match kind {
        0 | 1 => (1..=CHUNK).contains(&size),
        CREDIT => size == 5,
        PING | PONG => size == 8,
        WELCOME => size == 0,
        CLOSE => size <= LONGEST_REASON,
        _ => false,
    };
    if !fits {
        return Err(Malformed);
    }
    if buffer.len() < HEADER + size {
        return Ok(None);
    }
    buffer.advance(HEADER);
    let mut body = buffer.split_to(size).freeze();
    Ok(Some(match kind {
        CREDIT => Chunk::Credit(lane(body.get_u8()).ok_or(Malformed)?, body.get_u32() as usize),
        PING => Chunk::Ping(body.get_u64()),
        PONG => Chunk::Pong(body.get_u64()),
        WELCOME => Chunk::Welcome,
        CLOSE => Chunk::Close(String::from_utf8_lossy(&body).into_owned()),
        data => Chunk::Data(lane(data).ok_or(Malformed)?, body),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_however_the_bytes_are_cut() {
        let mut wire = BytesMut::new();
        put_welcome(&mut wire);
        begin_data(&mut wire, Lane::Repair, 3);
        wire.put_slice(b"abc");
        put_credit(&mut wire, Lane::Live, 70_000);
        put_ping(&mut wire, 1);
        put_pong(&mut wire, u64::MAX);
        put_close(&mut wire, "done");
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for byte in wire {
            buffer.put_u8(byte);
            found.extend(take(&mut buffer).unwrap());
        }
        let data = Chunk::Data(Lane::Repair, Bytes::from_static(b"abc"));
        let credit = Chunk::Credit(Lane::Live, 70_000);
        let close = Chunk::Close("done".to_owned());
        assert_eq!(found, [Chunk::Welcome, data, credit, Chunk::Ping(1), Chunk::Pong(u64::MAX), close]);
    }

    #[test]
    fn what_is_no_chunk_is_found_by_its_header_alone() {
        for wrong in
            [&[7, 0, 0][..], &[0, 0, 0], &[0, 0x40, 1], &[2, 0, 4], &[3, 0, 9], &[5, 0, 1], &[6, 1, 0]]
        {
            assert_eq!(take(&mut BytesMut::from(wrong)), Err(Malformed), "{wrong:?}");
        }
        let mut credit = BytesMut::from(&[2, 0, 5, 2, 0, 0, 0, 1][..]);
        assert_eq!(take(&mut credit), Err(Malformed), "there are two lanes");
    }
}
