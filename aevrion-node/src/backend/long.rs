//! Long work of a node, with progress reports.

use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;

use crate::client::{Client, Lines};
use crate::failure::Failure;
use crate::report::{Line, ProgressReport};
use crate::wire::Target;

/// Starts long work on a node, and follows it.
pub(super) async fn ask<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    mut step: impl FnMut(ProgressReport) + Send,
) -> Result<T, Failure> {
    let answer = client.send(Method::POST, &Target::new(path), Bytes::new()).await?;
    let mut lines = Lines::new(&client.for_long_work(), answer);
    while let Some(line) = lines.next().await? {
        match client.parsed(&line)? {
            Line::Progress(progress) => step(progress),
            Line::Result(result) => return Ok(result),
            Line::Problem(problem) => return Err(problem.into()),
        }
    }
    Err(Failure::unreachable("the node ended before it had a result; ask it again"))
}
