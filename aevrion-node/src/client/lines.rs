//! Answers of many lines, read one by one as they arrive.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;

use super::{Client, LONGEST, Refusal, root_cause};

/// The lines of an answer. It is complete only if the last was `None`.
pub(crate) struct Lines {
    client: Client,
    body: Incoming,
    buffer: BytesMut,
    /// Leading bytes of the buffer without a line end.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(client: &Client, answer: Response<Incoming>) -> Self {
        Self { client: client.clone(), body: answer.into_body(), buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line, without its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + end + 1).freeze();
                line.truncate(line.len() - 1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                return Err(self.client.gone("its line does not end"));
            }
            match self.client.in_time(self.body.frame()).await? {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(self.client.gone(&root_cause(&error))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.client.gone("its answer ends in the middle of a line")),
            }
        }
    }
}
