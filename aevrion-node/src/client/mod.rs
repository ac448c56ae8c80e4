//! The client of the HTTP interface: sends a running node the requests that `--data` sends a directory.
//!
//! Every silence has a time limit, but a long answer as a whole has none: it may take any time while bytes arrive.

mod lines;
mod upload;
mod watch;
mod watch_item;

use std::time::Duration;

use aevrion_core::bounds::{LARGEST_DATA, LONGEST_KEY};
use aevrion_core::{Effect, Event, EventId, EventKey, Timestamp};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::moment::Moment;
use crate::paging::Page;
use crate::problem::{Kind, Problem};
use crate::record;
use crate::report::Placed;
use crate::wire::{HTTP_PORT, Target};

pub(crate) use lines::Lines;
pub(crate) use upload::Upload;
pub(crate) use watch::RemoteWatch;
pub(crate) use watch_item::WatchItem;

/// Time limit of connecting: a running node accepts at once, even on the other side of the world.
const CONNECT: Duration = Duration::from_secs(5);
/// Least stall timeout during long work of a node: a batch of an import may have to wait for the disk.
const LONG_WORK: Duration = Duration::from_secs(120);
/// Shorter than a node keeps an idle connection.
const IDLE: Duration = Duration::from_secs(5);
/// Longest line or answer of an honest node: no text more than doubles as JSON.
const LONGEST: usize = 2 * (LARGEST_DATA as usize + LONGEST_KEY as usize) + (64 << 20);

/// A client of a running node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    /// Such as `http://127.0.0.1:7387`.
    endpoint: String,
    /// Stall timeout: before an answer or within it.
    stall_timeout: Duration,
}

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The node does not answer, or stopped doing so.
    Unreachable(String),
    /// The node refuses, with its reason.
    Problem(Box<Problem>),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unreachable(what) => Self::unreachable(what),
            Refusal::Problem(problem) => (*problem).into(),
        }
    }
}

impl Client {
    pub(crate) fn new(endpoint: Option<&str>, stall_timeout: Duration) -> Result<Self, Failure> {
        let default = format!("http://127.0.0.1:{HTTP_PORT}");
        let endpoint = endpoint.unwrap_or(&default).trim_end_matches('/');
        let usable = |uri: &Uri| {
            uri.scheme_str() == Some("http")
                && uri.authority().is_some()
                && uri.path() == "/"
                && uri.query().is_none()
        };
        if !endpoint.parse().is_ok_and(|uri: Uri| usable(&uri)) {
            return Err(Failure::usage(format!("`{endpoint}` is no endpoint: give one such as {default}")));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT.min(stall_timeout)));
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { http, endpoint: endpoint.to_owned(), stall_timeout })
    }

    /// A client for long work, with a longer stall timeout.
    pub(crate) fn for_long_work(&self) -> Self {
        self.with_stall_timeout(self.stall_timeout.max(LONG_WORK))
    }

    /// A client with this stall timeout.
    pub(crate) fn with_stall_timeout(&self, stall_timeout: Duration) -> Self {
        Self { stall_timeout, ..self.clone() }
    }

    pub(crate) async fn get(&self, target: &Target) -> Result<Response<Incoming>, Refusal> {
        self.send(Method::GET, target, Bytes::new()).await
    }

    /// Sends a request. Only successful answers are returned.
    pub(crate) async fn send(
        &self,
        method: Method,
        target: &Target,
        body: Bytes,
    ) -> Result<Response<Incoming>, Refusal> {
        let writes = method != Method::GET;
        let request = Request::builder().method(method).uri(format!("{}{}", self.endpoint, target.as_str()));
        let request = request.body(Full::new(body)).map_err(|error| {
            // Only a URL of more than 64 KiB is invalid.
            Refusal::Problem(Box::new(Problem::bad_request(format!(
                "the key does not fit in an address ({error}): work on the directory with --data"
            ))))
        })?;
        let answer = match tokio::time::timeout(self.stall_timeout, self.http.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.is_connect() => return Err(self.nobody(&error)),
            Ok(Err(error)) => return Err(self.gone(&root_cause(&error))),
            Err(_) if writes => {
                return Err(self.silent(" What was to be written may be written, now or later;"));
            }
            Err(_) => return Err(self.silent("")),
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = self.whole(answer).await?;
        let problem = serde_json::from_slice(&body).unwrap_or_else(|_| {
            Problem::bad_request(format!(
                "{} answered {status}, and not as a node of aevrion would: is it one?",
                self.endpoint
            ))
        });
        Err(Refusal::Problem(Box::new(problem)))
    }

    /// Sends a request whose answer is one JSON document.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &Target,
        body: Bytes,
    ) -> Result<T, Failure> {
        let answer = self.send(method, target, body).await?;
        let body = self.whole(answer).await?;
        self.parsed(&body)
    }

    pub(crate) fn parsed<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| self.strange(&error))
    }

    /// The whole body of an answer.
    pub(crate) async fn whole(&self, answer: Response<Incoming>) -> Result<Bytes, Refusal> {
        let mut body = answer.into_body();
        let mut whole = BytesMut::new();
        while let Some(frame) = self.in_time(body.frame()).await? {
            let frame = frame.map_err(|error| self.gone(&root_cause(&error)))?;
            whole.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            if whole.len() > LONGEST {
                return Err(self.gone("its answer does not end"));
            }
        }
        Ok(whole.freeze())
    }

    /// Applies the stall timeout to a part of an answer.
    async fn in_time<T>(&self, awaited: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::time::timeout(self.stall_timeout, awaited).await.map_err(|_| self.silent(""))
    }

    /// One page of a listing, every event checked against its id.
    pub(crate) async fn page(&self, target: &Target) -> Result<Page, Failure> {
        #[derive(Deserialize)]
        struct Listed {
            events: Vec<Box<RawValue>>,
            at: u64,
            stable_until: Option<u64>,
            next: Option<String>,
        }
        let listed: Listed = self.json(Method::GET, target, Bytes::new()).await?;
        let events = listed.events.iter().map(|event| self.event(event.get().as_bytes()));
        let events = events.collect::<Result<_, _>>()?;
        Ok(Page {
            events,
            at: Timestamp::from_millis(listed.at),
            stable_until: listed.stable_until.map(Timestamp::from_millis),
            next: listed.next,
        })
    }

    /// Parses an event of an answer.
    pub(crate) fn event(&self, text: &[u8]) -> Result<Event, Failure> {
        self.seen(text).map(|(event, _)| event)
    }

    /// Parses a watched event, and its effect.
    pub(crate) fn seen(&self, text: &[u8]) -> Result<(Event, Effect), Failure> {
        record::parse_seen(text).map_err(|bad| self.strange(&format!("{}: {}", bad.field, bad.problem)))
    }

    /// The value of a key.
    pub(crate) async fn value(&self, key: &[u8], at: Option<Moment>) -> Result<Option<Bytes>, Failure> {
        match self.get(&Target::of_key("/v1/kv/", key).at(at)).await {
            Ok(answer) => Ok(Some(self.whole(answer).await?)),
            Err(Refusal::Problem(problem)) if problem.is(Kind::NoValue) => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Parses the key of a written event.
    pub(crate) async fn place(
        &self,
        method: Method,
        target: &Target,
        body: Bytes,
    ) -> Result<EventKey, Failure> {
        let placed: Placed = self.json(method, target, body).await?;
        let id: EventId = placed.id.parse().map_err(|error| self.strange(&error))?;
        Ok(EventKey { timestamp: Timestamp::from_millis(placed.timestamp), id })
    }

    fn nobody(&self, error: &dyn std::error::Error) -> Refusal {
        Refusal::Unreachable(format!(
            "nothing answers at {} ({}). Start a node with `aevrion serve --data DIR`, or work on a directory with \
             --data DIR",
            self.endpoint,
            root_cause(error)
        ))
    }

    fn gone(&self, why: &str) -> Refusal {
        Refusal::Unreachable(format!("the node at {} broke off: {why}", self.endpoint))
    }

    fn silent(&self, and: &str) -> Refusal {
        Refusal::Unreachable(format!(
            "the node at {} said nothing for {:.1} s: it has stopped, or is very busy.{and} --timeout waits longer",
            self.endpoint,
            self.stall_timeout.as_secs_f64()
        ))
    }

    fn strange(&self, what: &dyn std::fmt::Display) -> Failure {
        Failure::error(format!(
            "cannot understand the node at {}: {what}. Is it an aevrion of this version?",
            self.endpoint
        ))
    }
}

/// The root cause of an error: the layers above it only say that a request failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
