//! `put`, `get`, `delete`: one value.

use std::io::{self, IsTerminal, Read, Write};

use aevrion_core::store::Durability;
use aevrion_core::{Address, Operation, Replica, Timestamp, Value};

use crate::cli::{Format, Global};
use crate::encoding::Encoding;
use crate::exit::{Failure, written};
use crate::moment::{Moment, Span};
use crate::output::print_json;

pub(super) async fn put(
    replica: &Replica,
    global: &Global,
    key: &str,
    value: &str,
    ttl: Option<Span>,
    at: Option<u64>,
) -> Result<(), Failure> {
    let encoding = Encoding::of(global);
    let key = encoding.decode("key", key)?;
    let data = if value == "-" { read_stdin(replica)? } else { encoding.decode("value", value)? };
    let at = at.map(Timestamp::from_millis);
    let value = match ttl {
        Some(Span(span)) => {
            let expires_at = at.unwrap_or_else(|| replica.now()).after(span);
            Value::Expiring { data: data.into(), expires_at }
        }
        None => Value::Data(data.into()),
    };
    let address = match at {
        Some(at) => replica.put_at(key, value, at).await?,
        None => replica.write(Operation { key: key.into(), value }, Durability::Immediate).await?,
    };
    print_address(global, address)
}

/// All of standard input, but no more than one byte over the limit: the replica refuses it then.
fn read_stdin(replica: &Replica) -> Result<Vec<u8>, Failure> {
    let most = u64::from(replica.parameters().largest_data) + 1;
    let mut data = Vec::new();
    let read = io::stdin().lock().take(most).read_to_end(&mut data);
    read.map_err(|error| Failure::error(format!("cannot read standard input: {error}")))?;
    Ok(data)
}

pub(super) async fn get(
    replica: &Replica,
    global: &Global,
    key: &str,
    at: Option<Moment>,
) -> Result<(), Failure> {
    let bytes = Encoding::of(global).decode("key", key)?;
    let now = replica.now();
    let at = at.map_or(now, |at| at.resolve(now));
    let Some(value) = replica.get_at(bytes, at).await? else {
        return Err(Failure::not_found(format!("`{key}` has no value")));
    };
    let mut out = io::stdout();
    let newline: &[u8] = if out.is_terminal() { b"\n" } else { b"" };
    written(out.write_all(&value).and_then(|()| out.write_all(newline)).and_then(|()| out.flush()))
}

pub(super) async fn delete(replica: &Replica, global: &Global, key: &str) -> Result<(), Failure> {
    let key = Encoding::of(global).decode("key", key)?;
    print_address(global, replica.delete(key).await?)
}

/// Where the new event stands.
fn print_address(global: &Global, address: Address) -> Result<(), Failure> {
    match global.output.unwrap_or_default() {
        Format::Json | Format::Jsonl => print_json(&serde_json::json!({
            "timestamp": address.timestamp.as_millis(),
            "id": address.id.to_string(),
        })),
        Format::Table | Format::Raw => written(writeln!(io::stdout(), "{address}")),
    }
}
