//! `put`, `get`, `delete`: one value.

use std::io::{self, IsTerminal, Read, Write};

use aevrion_core::{EventKey, Timestamp};

use crate::backend::Backend;
use crate::cli::{Format, Global};
use crate::failure::Failure;
use crate::moment::{Moment, Span};
use crate::output::print_document;
use crate::output::written;
use crate::report::Placed;
use crate::requests::Put;

pub(super) async fn put(
    backend: &Backend,
    global: &Global,
    key: &str,
    value: &str,
    ttl: Option<Span>,
    at: Option<u64>,
) -> Result<(), Failure> {
    let encoding = global.encoding();
    let key = encoding.decode("key", key)?;
    let data = if value == "-" { read_stdin(backend).await? } else { encoding.decode("value", value)? };
    let put = Put {
        key: key.into(),
        data: data.into(),
        ttl: ttl.map(|Span(span)| span),
        timestamp: at.map(Timestamp::from_millis),
    };
    print_address(global, backend.put(put).await?)
}

/// Reads all of standard input, up to one byte over the limit: the replica refuses that.
async fn read_stdin(backend: &Backend) -> Result<Vec<u8>, Failure> {
    let most = u64::from(backend.parameters().await?.largest_data) + 1;
    let mut data = Vec::new();
    let read = io::stdin().lock().take(most).read_to_end(&mut data);
    read.map_err(|error| Failure::error(format!("cannot read standard input: {error}")))?;
    Ok(data)
}

pub(super) async fn get(
    backend: &Backend,
    global: &Global,
    key: &str,
    at: Option<Moment>,
) -> Result<(), Failure> {
    let bytes = global.encoding().decode("key", key)?;
    let Some(value) = backend.get(&bytes, at).await? else {
        return Err(Failure::not_found(format!("`{key}` has no value")));
    };
    let mut out = io::stdout();
    let newline: &[u8] = if out.is_terminal() { b"\n" } else { b"" };
    written(out.write_all(&value).and_then(|()| out.write_all(newline)).and_then(|()| out.flush()))
}

pub(super) async fn delete(backend: &Backend, global: &Global, key: &str) -> Result<(), Failure> {
    let key = global.encoding().decode("key", key)?;
    print_address(global, backend.delete(&key).await?)
}

/// Prints the key of the new event.
fn print_address(global: &Global, event_key: EventKey) -> Result<(), Failure> {
    match global.output.unwrap_or_default() {
        format @ (Format::Json | Format::Jsonl) => print_document(format, &Placed::from(event_key)),
        Format::Table | Format::Raw => written(writeln!(io::stdout(), "{event_key}")),
    }
}
