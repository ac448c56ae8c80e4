//! Watching a node across its restarts: whenever the stream ends, another one resumes behind the last cursor.

use std::time::Duration;

use bytes::Bytes;

use super::{Client, Lines, Refusal, WatchItem};
use crate::failure::Failure;
use crate::problem::{Kind, Problem};
use crate::wire::Target;

/// First pause: a restarting node is back soon.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Longest pause, while a node stays away.
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A watch of a node.
pub(crate) struct RemoteWatch {
    client: Client,
    prefix: Bytes,
    /// The cursor of the last item.
    cursor: Option<String>,
    stream: Option<Lines>,
    /// Whether a stream was ever open. A node that was never reached is a failure; a lost node is waited for.
    was_there: bool,
    retry: Duration,
}

/// A block of the event stream, up to an empty line.
#[derive(Debug, Default)]
struct Block {
    name: String,
    id: Option<String>,
    data: Vec<u8>,
}

impl RemoteWatch {
    pub(crate) fn new(client: &Client, prefix: Bytes, cursor: Option<String>) -> Self {
        let client = client.clone();
        Self { client, prefix, cursor, stream: None, was_there: false, retry: FIRST_RETRY }
    }

    /// The next event, or a note for the user.
    pub(crate) async fn next(&mut self) -> Result<WatchItem, Failure> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            let block = match read_block(stream).await {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(self.lost("the node ended the watch")),
                Err(Refusal::Unreachable(why)) => return Ok(self.lost(&why)),
                Err(refusal) => return Err(refusal.into()),
            };
            if block.id.is_some() {
                self.cursor = block.id;
            }
            match (&*block.name, self.cursor.clone()) {
                ("", Some(cursor)) if !block.data.is_empty() => {
                    let (event, effect) = self.client.seen(&block.data)?;
                    // Only an event shows that the node is well: a node whose store has failed begins a stream too, and
                    // ends it.
                    self.retry = FIRST_RETRY;
                    return Ok(WatchItem::Event { event, effect, cursor });
                }
                ("problem", _) => {
                    let problem: Problem = self.client.parsed(&block.data)?;
                    if problem.is(Kind::Compacted) {
                        return Err(problem.into());
                    }
                    return Ok(WatchItem::Note(problem.detail));
                }
                ("end", _) => return Ok(self.lost("the node is stopping")),
                _ => {}
            }
        }
    }

    fn lost(&mut self, why: &str) -> WatchItem {
        self.stream = None;
        WatchItem::Note(format!("{why}; going on when it is back"))
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.was_there {
            tokio::time::sleep(self.retry).await;
            self.retry = (self.retry * 2).min(LAST_RETRY);
        }
        let target = Target::new("/v1/watch").with("prefix", &self.prefix);
        match self.client.get(&target.with_some("cursor", self.cursor.as_ref())).await {
            Ok(answer) => {
                self.stream = Some(Lines::new(&self.client.for_long_work(), answer));
                self.was_there = true;
                Ok(())
            }
            Err(refusal) if self.was_there && passes(&refusal) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// Whether a retry may help.
fn passes(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Unreachable(_) => true,
        Refusal::Problem(problem) => problem.status == 503,
    }
}

/// Reads up to an empty line; `None` at the end of the stream.
async fn read_block(stream: &mut Lines) -> Result<Option<Block>, Refusal> {
    let mut block = Block::default();
    loop {
        let Some(line) = stream.next().await? else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some(block));
        }
        // A line that begins with a colon is a comment: it keeps the stream alive.
        if let Some(value) = line.strip_prefix(b"id: ") {
            block.id = Some(String::from_utf8_lossy(value).into_owned());
        } else if let Some(value) = line.strip_prefix(b"event: ") {
            block.name = String::from_utf8_lossy(value).into_owned();
        } else if let Some(value) = line.strip_prefix(b"data: ") {
            block.data.extend_from_slice(value);
        }
    }
}
