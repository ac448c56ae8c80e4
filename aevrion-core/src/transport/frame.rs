//! Frames on a byte stream: a length of four bytes, most significant first, and that many bytes.
//!
//! This module does no input or output: received bytes go in, frames come out. An abandoned receive therefore loses
//! nothing, and all transports read frames alike.

use bytes::{Buf, Bytes, BytesMut};

use super::TransportError;

/// The length of the header in bytes.
pub const FRAME_HEADER: usize = 4;

/// The header of `frame`.
///
/// # Errors
/// [`TransportError::FrameTooLong`] if the length does not fit the header.
pub fn frame_header(frame: &Bytes) -> Result<[u8; FRAME_HEADER], TransportError> {
    let length = u32::try_from(frame.len());
    let too_long = |_| TransportError::FrameTooLong { len: frame.len() as u64, most: u32::MAX as usize };
    length.map(u32::to_be_bytes).map_err(too_long)
}

/// A partly received frame.
#[derive(Debug, Default)]
pub struct FrameAssembly {
    header: [u8; FRAME_HEADER],
    header_bytes: usize,
    body: BytesMut,
}

impl FrameAssembly {
    /// Takes the bytes of the current frame from `arrived`, and returns the frame once it is whole. Later bytes stay in
    /// `arrived`. The frame has its own memory, so keeping it keeps no other buffer alive.
    ///
    /// # Errors
    /// [`TransportError::FrameTooLong`] as soon as the length is known, before memory is reserved for it.
    pub fn take(&mut self, arrived: &mut Bytes, longest: usize) -> Result<Option<Bytes>, TransportError> {
        while self.header_bytes < FRAME_HEADER {
            if arrived.is_empty() {
                return Ok(None);
            }
            self.header[self.header_bytes] = arrived.get_u8();
            self.header_bytes += 1;
        }
        let claimed = u32::from_be_bytes(self.header);
        let length = usize::try_from(claimed).unwrap_or(usize::MAX);
        if length > longest {
            return Err(TransportError::FrameTooLong { len: claimed.into(), most: longest });
        }
        let missing = length - self.body.len();
        let part = arrived.split_to(missing.min(arrived.len()));
        if self.body.capacity() - self.body.len() < part.len() {
            // At most double the received bytes: memory grows with the input, not with the claimed length.
            self.body.reserve(missing.min(part.len().max(self.body.len())));
        }
        self.body.extend_from_slice(&part);
        if self.body.len() < length {
            return Ok(None);
        }
        self.header_bytes = 0;
        Ok(Some(std::mem::take(&mut self.body).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(frames: &[&[u8]]) -> Vec<u8> {
        let one = |frame: &&[u8]| {
            let frame = Bytes::copy_from_slice(frame);
            [&frame_header(&frame).unwrap()[..], &frame].concat()
        };
        frames.iter().flat_map(one).collect()
    }

    #[test]
    fn frames_come_out_however_the_bytes_are_cut() {
        let frames: [&[u8]; 4] = [b"first", b"", b"x", &[7; 1000]];
        let wire = wire(&frames);
        for size in 1..wire.len() {
            let (mut assembly, mut found) = (FrameAssembly::default(), Vec::new());
            for piece in wire.chunks(size) {
                let mut arrived = Bytes::copy_from_slice(piece);
                while let Some(frame) = assembly.take(&mut arrived, 1000).unwrap() {
                    found.push(frame);
                }
                assert!(arrived.is_empty());
            }
            assert_eq!(found, frames, "in pieces of {size}");
        }
    }

    #[test]
    fn a_length_alone_takes_no_memory_and_too_long_a_one_is_refused() {
        let mut assembly = FrameAssembly::default();
        let mut header = Bytes::from_static(&[0x10, 0, 0, 0, 1, 2]);
        assert!(assembly.take(&mut header, usize::MAX).unwrap().is_none());
        assert!(assembly.body.capacity() < 1024);
        let mut assembly = FrameAssembly::default();
        let refusal = assembly.take(&mut Bytes::from_static(&[0, 0, 1, 0]), 255);
        assert!(matches!(refusal, Err(TransportError::FrameTooLong { len: 256, most: 255 })), "{refusal:?}");
    }
}
