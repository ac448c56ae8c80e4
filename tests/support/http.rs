//! HTTP byte by byte: a library would not send invalid requests, nor show the raw answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::server::PATIENCE;

/// An answer of the HTTP interface.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body is complete.
    pub(crate) whole: bool,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Checks the status, and returns the answer.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Checks for a problem document of this status and kind that contains these words.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, kind: &str, words: &[&str]) -> Self {
        let response = self.is(status);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        let problem = response.json();
        assert_eq!(problem["type"], format!("urn:aevrion:problem:{kind}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        let detail = problem["detail"].as_str().expect("it says what is wrong");
        for word in words {
            assert!(detail.contains(word), "`{word}` is not in: {detail}");
        }
        response
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// A connection with a read timeout.
pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("it can be set");
    stream
}

/// Sends one request on a new connection.
pub(crate) fn send(address: &str, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Response {
    let mut stream = connect(address);
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|header| header.to_lowercase().starts_with("host:")) {
        head.push_str(&format!("host: {address}\r\n"));
    }
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    let request = [head.as_bytes(), b"\r\n", body].concat();
    // A node that refuses early may not read the whole request; only its answer matters.
    let _ = stream.write_all(&request);
    read_response(&mut BufReader::new(stream))
}

/// Reads an answer to its end.
pub(crate) fn read_response(reader: &mut BufReader<TcpStream>) -> Response {
    let mut response = read_head(reader);
    let length = response.header("content-length").map(|length| length.parse::<u64>().expect("a number"));
    let chunked = response.header("transfer-encoding") == Some("chunked");
    match (length, chunked) {
        (Some(length), _) => {
            let read = reader.take(length).read_to_end(&mut response.body).expect("the body comes");
            response.whole = read as u64 == length;
        }
        (None, true) => response.whole = read_chunks(reader, &mut response.body),
        (None, false) => {}
    }
    response
}

/// Reads the head of an answer.
pub(crate) fn read_head(reader: &mut BufReader<TcpStream>) -> Response {
    let mut line = String::new();
    reader.read_line(&mut line).expect("an answer comes");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut response = Response {
        status: status.unwrap_or_else(|| panic!("no answer: {line:?}")),
        headers: Vec::new(),
        body: Vec::new(),
        whole: false,
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("the head goes on");
        let Some((name, value)) = line.trim_end().split_once(": ") else { return response };
        response.headers.push((name.to_lowercase(), value.to_owned()));
    }
}

/// Reads one chunk; `None` at the last. An error or an early end is `Some(Err)`.
pub(crate) fn read_chunk(reader: &mut impl BufRead) -> Option<Result<Vec<u8>, ()>> {
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return Some(Err(()));
    }
    let Ok(length) = usize::from_str_radix(line.trim_end(), 16) else { return Some(Err(())) };
    let mut chunk = vec![0; length + 2];
    if reader.read_exact(&mut chunk).is_err() {
        return Some(Err(()));
    }
    chunk.truncate(length);
    (length > 0).then_some(Ok(chunk))
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> bool {
    while let Some(chunk) = read_chunk(reader) {
        match chunk {
            Ok(chunk) => body.extend(chunk),
            Err(()) => return false,
        }
    }
    true
}

/// Escapes any bytes for a path segment.
pub(crate) fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// A block of server-sent events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

/// A stream of server-sent events.
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
    text: String,
}

impl Events {
    /// Begins to watch; the answer must be a stream.
    pub(crate) fn open(address: &str, target: &str, headers: &[&str]) -> Self {
        let mut stream = connect(address);
        let mut head = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n");
        headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
        stream.write_all(format!("{head}\r\n").as_bytes()).expect("it is taken");
        let mut reader = BufReader::new(stream);
        let response = read_head(&mut reader).is(200);
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        Self { reader, text: String::new() }
    }

    /// The next block; `None` at the end of the stream.
    pub(crate) fn next_block(&mut self) -> Option<Block> {
        while !self.text.contains("\n\n") {
            let chunk = read_chunk(&mut self.reader)?.ok()?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("events are text"));
        }
        let (block, rest) = self.text.split_once("\n\n").expect("it was found");
        let mut parsed = Block::default();
        for line in block.lines() {
            match line.split_once(": ").expect("a field and its value") {
                ("event", name) => parsed.name = name.to_owned(),
                ("id", id) => parsed.id = id.to_owned(),
                ("data", data) => parsed.data.push_str(data),
                ("", _) => {}
                (field, _) => panic!("`{field}` is no field of an event"),
            }
        }
        self.text = rest.to_owned();
        Some(parsed)
    }

    /// The next event; blocks without data are skipped.
    #[track_caller]
    pub(crate) fn next_event(&mut self) -> Block {
        loop {
            let block = self.next_block().expect("the stream goes on");
            if !block.data.is_empty() {
                return block;
            }
        }
    }
}
