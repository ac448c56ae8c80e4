//! The promise: the HTTP interface answers as documented, takes keys and values of any bytes, gives the reason of a
//! refusal, and no client can hold it up.

use crate::support::{engine, http, server};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::http::{Events, Response, connect, escape, read_head, read_response};
use crate::support::server::Server;
use crate::support::{WEEK_EVENTS, WEEK_ROOT, run_on, sample};
use aevrion_core::store::Table;
use serde_json::{Value, json};

/// Held by tests with very many connections: together they would exceed the descriptors of a process.
static MANY_CONNECTIONS: Mutex<()> = Mutex::new(());

/// A node with its own directory.
struct Place {
    server: Server,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { server: Server::start(&directory.path().join("data")), directory }
    }

    /// A node with two keys and their old histories.
    fn with_history() -> Self {
        let place = Self::new();
        for (key, value, at) in [
            ("plane:a", "one", 1_000),
            ("plane:a", "two", 2_000),
            ("plane:b", "bee", 1_500),
            ("tower", "t", 1_700),
        ] {
            place.put(&format!("/v1/kv/{key}?timestamp={at}"), value.as_bytes()).is(200);
        }
        place
    }

    fn send(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Response {
        http::send(&self.server.address, method, target, headers, body)
    }

    fn get(&self, target: &str) -> Response {
        self.send("GET", target, &[], b"")
    }

    fn put(&self, target: &str, body: &[u8]) -> Response {
        self.send("PUT", target, &[], body)
    }

    fn post(&self, target: &str, body: &[u8]) -> Response {
        self.send("POST", target, &[], body)
    }

    /// Stops the node, and starts it again at the same address.
    fn restart(self) -> Self {
        let Self { server, directory } = self;
        let address = server.address.clone();
        server.stop();
        Self { server: Server::start_at(&directory.path().join("data"), &address), directory }
    }
}

// ---- Values ----

#[test]
fn a_value_comes_back_with_where_it_stands() {
    let place = Place::new();
    let placed = place.put("/v1/kv/user:1", b"Ada").is(200).json();
    let got = place.get("/v1/kv/user:1").is(200);
    assert_eq!(got.body, b"Ada");
    assert_eq!(got.header("content-type"), Some("application/octet-stream"));
    assert_eq!(got.header("aevrion-timestamp"), Some(&*placed["timestamp"].to_string()));
    assert_eq!(got.header("aevrion-id"), placed["id"].as_str());
    place.send("DELETE", "/v1/kv/user:1", &[], b"").is(200);
    place.get("/v1/kv/user:1").refuses(404, "no-value", &["user:1", "no value"]);
    let then = place.get(&format!("/v1/kv/user:1?at={}", placed["timestamp"]));
    assert_eq!(then.is(200).body, b"Ada");
    place.put("/v1/kv/empty", b"").is(200);
    assert_eq!(place.get("/v1/kv/empty").is(200).body, b"");
    let head = place.send("HEAD", "/v1/kv/user:1?at=1h", &[], b"");
    assert_eq!(head.status, 404);
}

#[test]
fn keys_and_values_are_any_bytes() {
    let place = Place::new();
    let every: Vec<u8> = (0..=255).collect();
    for key in [&b"a/b"[..], b"/", b"..", b"\xFF\xFE", b"%2F", b"a+b c", &every] {
        let target = format!("/v1/kv/{}", escape(key));
        place.put(&target, &[key, &every].concat()).is(200);
        assert_eq!(place.get(&target).is(200).body, [key, &every].concat());
        let history = place.get(&format!("/v1/history/{}", escape(key))).is(200).json();
        assert_eq!(history["events"].as_array().map(Vec::len), Some(1), "{history}");
    }
    // A plus in a path is literal.
    assert_eq!(place.get("/v1/kv/a+b%20c").is(200).body[..5], *b"a+b c");
    let scan = place.get("/v1/scan?prefix=%FF").is(200).json();
    assert_eq!(scan["events"][0]["key_base64"], "//4=");
    let longest = "k".repeat(4_096);
    place.put(&format!("/v1/kv/{}", escape(longest.as_bytes())), b"v").is(200);
    assert_eq!(place.get(&format!("/v1/kv/{longest}")).is(200).body, b"v");
}

#[test]
fn times_are_given_in_any_spelling() {
    let place = Place::new();
    place.put("/v1/kv/k?timestamp=1372939200000", b"old").is(200);
    place.put("/v1/kv/k?timestamp=1372939300000&ttl=3s", b"short").is(200);
    for at in ["1372939200000", "2013-07-04T12:00:00Z", "2013-07-04T14:00:00%2B02:00"] {
        assert_eq!(place.get(&format!("/v1/kv/k?at={at}")).is(200).body, b"old", "{at}");
    }
    assert_eq!(place.get("/v1/kv/k?at=1372939302999").is(200).body, b"short");
    place.get("/v1/kv/k?at=1372939303000").is(404);
    place.get("/v1/kv/k?at=15m").is(404);
    place.put("/v1/kv/k?ttl=1h", b"now").is(200);
    assert_eq!(place.get("/v1/kv/k").is(200).body, b"now");
}

// ---- Lists ----

fn values(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("a list");
    events.iter().map(|event| event["value"].as_str().unwrap_or("-")).collect()
}

#[test]
fn a_history_is_listed_in_pages() {
    let place = Place::with_history();
    place.send("DELETE", "/v1/kv/plane:a", &[], b"").is(200);
    let whole = place.get("/v1/history/plane:a").is(200).json();
    assert_eq!(values(&whole), ["one", "two", "-"]);
    // A single node has no neighbour to agree with.
    assert_eq!(whole.get("stable_until"), Some(&Value::Null), "{whole}");
    assert_eq!(whole["next"], Value::Null);
    let newest = place.get("/v1/history/plane:a?reverse&limit=2").is(200).json();
    assert_eq!(values(&newest), ["-", "two"]);
    let next = newest["next"].as_str().expect("there is more");
    // Concurrent writes are not part of a listing.
    place.put("/v1/kv/plane:a", b"later").is(200);
    let rest = place.get(&format!("/v1/history/plane:a?reverse&limit=2&cursor={next}")).is(200).json();
    assert_eq!(values(&rest), ["one"]);
    assert_eq!(values(&place.get("/v1/history/plane:a?at=1999").is(200).json()), ["one"]);
    assert_eq!(values(&place.get("/v1/history/nobody").is(200).json()), [""; 0]);
}

#[test]
fn a_scan_is_listed_in_pages_of_one_moment() {
    let place = Place::new();
    let line = |n: u64| format!("{{\"key\":\"k{n:05}\",\"value\":\"{n}\",\"timestamp\":{}}}\n", 1_000 + n);
    let lines: String = (0..5_000).map(line).collect();
    assert_eq!(place.post("/v1/import", lines.as_bytes()).is(200).json()["new"], 5_000);
    let (mut keys, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = place.get(&format!("/v1/scan?prefix=k&limit=700{cursor}")).is(200).json();
        for event in page["events"].as_array().expect("a list") {
            keys.push(event["key"].as_str().expect("a text").to_owned());
        }
        pages += 1;
        // This key is behind the keys still to be listed, but newer than the moment of the listing.
        place.put("/v1/kv/k99999", b"late").is(200);
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected: Vec<_> = (0..5_000).map(|n| format!("k{n:05}")).collect();
    assert_eq!((keys, pages), (expected, 8));

    let place = Place::with_history();
    assert_eq!(values(&place.get("/v1/scan").is(200).json()), ["two", "bee", "t"]);
    assert_eq!(values(&place.get("/v1/scan?prefix=plane:").is(200).json()), ["two", "bee"]);
    assert_eq!(values(&place.get("/v1/scan?from=plane:b&to=tower").is(200).json()), ["bee"]);
    assert_eq!(values(&place.get("/v1/scan?at=1500").is(200).json()), ["one", "bee"]);
}

#[test]
fn a_batch_is_all_or_nothing() {
    let place = Place::with_history();
    let batch = json!({"ops": [
        {"put": {"key": "a", "value": "1"}},
        {"put": {"key_base64": "/w==", "value_base64": "AP8=", "ttl": "1h"}},
        {"delete": {"key": "tower"}},
    ]});
    let written = place.post("/v1/batch", batch.to_string().as_bytes()).is(200).json();
    assert_eq!(written["events"].as_array().map(Vec::len), Some(3));
    assert_eq!(place.get("/v1/kv/a").is(200).body, b"1");
    let bytes = place.get("/v1/kv/%FF").is(200);
    assert_eq!(bytes.body, b"\x00\xFF");
    assert_eq!(bytes.header("aevrion-id"), written["events"][1]["id"].as_str());
    place.get("/v1/kv/tower").is(404);

    let events = place.get("/v1/status").json()["events"].clone();
    let good = json!({"put": {"key": "b", "value": "1"}});
    for (bad, words) in [
        (json!({"put": {"key": "c"}}), &["ops[1]", "value is missing"][..]),
        (json!({"put": {"key": "c", "key_base64": "Yw==", "value": ""}}), &["ops[1]", "twice"]),
        (json!({"put": {"key": "c", "value_base64": "?"}}), &["ops[1]", "base64"]),
        (json!({"put": {"key": "c", "value": "", "ttl": "soon"}}), &["ops[1]", "ttl", "1h"]),
        (json!({"put": {"key": "c", "value": "", "at": 5}}), &["unknown field", "at"]),
        (json!({"increment": {"key": "c"}}), &["increment"]),
    ] {
        let batch = json!({"ops": [good, bad]});
        place.post("/v1/batch", batch.to_string().as_bytes()).refuses(400, "bad-request", words);
    }
    let empty_key = json!({"ops": [good, {"delete": {"key": ""}}]});
    place.post("/v1/batch", empty_key.to_string().as_bytes()).refuses(400, "not-storable", &["empty"]);
    place.post("/v1/batch", b"{\"ops\":").refuses(400, "bad-request", &["ops", "put"]);
    assert_eq!(place.get("/v1/status").json()["events"], events, "a refused batch left something behind");
}

// ---- Many events ----

#[test]
fn what_is_exported_can_be_imported() {
    let place = Place::new();
    let week = fs::read(sample()).expect("it can be read");
    let report = place.post("/v1/import", &week).is(200).json();
    assert_eq!(report, json!({"new": WEEK_EVENTS, "known": 0, "skipped": 0, "errors": []}));
    assert_eq!(place.post("/v1/import", &week).is(200).json()["known"], WEEK_EVENTS);
    let digest = place.get("/v1/digest").is(200).json();
    assert_eq!(digest, json!({"root": WEEK_ROOT, "count": WEEK_EVENTS}));
    let export = place.get("/v1/export").is(200);
    assert!(export.whole && export.header("content-type") == Some("application/x-ndjson"));
    let copy = Place::new();
    assert_eq!(copy.post("/v1/import", &export.body).is(200).json()["new"], WEEK_EVENTS);
    assert_eq!(copy.get("/v1/digest").is(200).json()["root"], WEEK_ROOT);
    let before = copy.get("/v1/digest?at=2013-07-01T00:00:00Z").is(200).json();
    assert_eq!((&before["count"], &before["root"]), (&json!(0), &json!("0".repeat(64))));
}

#[test]
fn bad_lines_stop_an_import_or_are_listed() {
    let place = Place::new();
    let line = |n: u64| format!("{{\"key\":\"k{n}\",\"value\":{n},\"timestamp\":{}}}\n", 1_000 + n);
    let file = format!("{}nonsense\n{}", line(1), line(2));
    let refused = place.post("/v1/import", file.as_bytes());
    let words = ["line 2, line:", "1 events before it are stored", "skip_bad"];
    let refused = refused.refuses(400, "not-storable", &words).json();
    assert_eq!((&refused["new"], &refused["known"]), (&json!(1), &json!(0)));
    let report = place.post("/v1/import?skip_bad", file.as_bytes()).is(200).json();
    assert_eq!((&report["new"], &report["known"], &report["skipped"]), (&json!(1), &json!(1), &json!(1)));
    assert!(report["errors"][0].as_str().is_some_and(|what| what.contains("line 2")), "{report}");
    let report = place.post("/v1/import?skip_bad", "nonsense\n".repeat(1_000).as_bytes()).is(200).json();
    assert_eq!(
        (report["skipped"].as_u64(), report["errors"].as_array().map(Vec::len)),
        (Some(1_000), Some(100))
    );
    let cut = &fs::read(sample()).expect("it can be read")[..20_000];
    place.post("/v1/import", cut).refuses(400, "not-storable", &["gzip", "cut off"]);
}

#[test]
fn an_export_that_fails_cannot_be_taken_for_whole() {
    let Place { server, directory } = Place::with_history();
    server.stop();
    let data = directory.path().join("data");
    engine::plant("redb", &data, Table::Events, |rows, batch| {
        let (key, value) = &rows[3];
        batch.put(Table::Events, key.clone(), [value, &b"!"[..]].concat());
    });
    let place = Place { server: Server::start(&data), directory };
    let answer = place.get("/v1/export").is(200);
    assert!(!answer.whole, "it ended as if nothing were missing");
    let text = answer.text();
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["problem"]["type"], "urn:aevrion:problem:damaged", "{text}");
    // A truncated export is refused by an import.
    let copy = Place::new();
    copy.post("/v1/import", &answer.body).refuses(400, "not-storable", &["problem"]);
    place.get("/v1/kv/plane:a").refuses(500, "damaged", &["verify"]);
}

#[test]
fn long_work_tells_its_result_line_by_line() {
    let place = Place::with_history();
    for (target, name, expected) in
        [("/v1/verify", "clean", json!(true)), ("/v1/rebuild", "events", json!(4))]
    {
        let answer = place.post(target, b"").is(200);
        assert!(answer.whole);
        let text = answer.text();
        let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["result"][name], expected, "{text}");
        place.get(target).refuses(405, "wrong-method", &[]);
    }
}

// ---- Watching ----

#[test]
fn a_watcher_that_comes_back_sees_every_event_once() {
    let mut place = Place::new();
    let put = |place: &Place, n: u32| {
        place.put(&format!("/v1/kv/w:{n}"), b"v").is(200);
        place.put("/v1/kv/other", b"v").is(200);
    };
    let mut cursor = String::new();
    let mut seen = Vec::new();
    for round in 0..4_u32 {
        let mut events = match round {
            // The first block has a cursor, so that a client can resume before its first event.
            0 => {
                let mut first = Events::open(&place.server.address, "/v1/watch?prefix=w:", &[]);
                let opening = first.next_block().expect("a cursor");
                assert!(opening.data.is_empty() && !opening.id.is_empty());
                drop(first);
                put(&place, 0);
                Events::open(
                    &place.server.address,
                    &format!("/v1/watch?prefix=w:&cursor={}", opening.id),
                    &[],
                )
            }
            // A browser repeats the URL with its old cursor, and sends its position in a header.
            1 => {
                let header = format!("last-event-id: {cursor}");
                let old = cursor.split('-').next().expect("a node").to_owned() + "-0";
                let target = format!("/v1/watch?prefix=w:&cursor={old}");
                Events::open(&place.server.address, &target, &[&header])
            }
            _ => Events::open(&place.server.address, &format!("/v1/watch?prefix=w:&cursor={cursor}"), &[]),
        };
        if round > 0 {
            put(&place, round * 10);
        }
        put(&place, round * 10 + 1);
        for _ in 0..2 {
            let event = events.next_event();
            cursor = event.id;
            seen.push(serde_json::from_str::<Value>(&event.data).expect("JSON")["key"].clone());
        }
        drop(events);
        // Events during a disconnection are seen, and a restart changes nothing.
        if round == 1 {
            place = place.restart();
        }
    }
    assert_eq!(json!(seen), json!(["w:0", "w:1", "w:10", "w:11", "w:20", "w:21", "w:30", "w:31"]));
}

#[test]
fn a_watch_ends_properly_when_the_node_stops() {
    let place = Place::new();
    let mut events = Events::open(&place.server.address, "/v1/watch", &[]);
    place.put("/v1/kv/k", b"v").is(200);
    let event = events.next_event();
    place.server.stop();
    let end = events.next_event();
    assert_eq!((&*end.name, &end.id), ("end", &event.id));
    assert_eq!(events.next_block(), None);
}

#[test]
fn cursors_that_lead_nowhere_are_refused() {
    let place = Place::new();
    place.get("/v1/watch?cursor=nonsense").refuses(400, "bad-request", &["nonsense", "6d8a31cc-"]);
    place.get("/v1/watch?cursor=00000000-0").refuses(409, "other-node", &["another node"]);
    let header = ["last-event-id: nonsense"];
    place.send("GET", "/v1/watch", &header, b"").refuses(400, "bad-request", &["Last-Event-ID"]);
}

// ---- Refusals ----

#[test]
fn refusals_are_problem_documents_that_say_what_to_do() {
    let place = Place::with_history();
    for (method, target, status, kind, words) in [
        ("GET", "/", 404, "no-route", &["/v1/kv/"][..]),
        ("GET", "/v1/kv/a/b", 404, "no-route", &["%2F"]),
        ("POST", "/v1/kv/a", 405, "wrong-method", &["Allow"]),
        ("GET", "/v1/kv/a?at=yesterday", 400, "bad-request", &["at=yesterday", "RFC 3339", "15m"]),
        ("GET", "/v1/kv/a?tt=1", 400, "bad-request", &["`tt`", "at"]),
        ("PUT", "/v1/kv/a?ttl=soon", 400, "bad-request", &["ttl=soon", "1h"]),
        ("PUT", "/v1/kv/a?timestamp=-1", 400, "bad-request", &["timestamp=-1"]),
        ("PUT", "/v1/kv/", 400, "not-storable", &["the key is empty"]),
        ("GET", "/v1/kv/", 404, "no-value", &[]),
        ("PUT", "/v1/kv/__aevrion%2Fx", 403, "reserved-key", &["choose another"]),
        ("DELETE", "/v1/kv/__aevrion%2Fx", 403, "reserved-key", &[]),
        ("GET", "/v1/kv/__aevrion%2Fx", 404, "no-value", &[]),
        ("GET", "/v1/scan?prefix=a&from=b", 400, "bad-request", &["prefix", "from"]),
        ("GET", "/v1/scan?cursor=zzz", 400, "bad-request", &["zzz", "next"]),
        ("GET", "/v1/scan?limit=0", 400, "bad-request", &["at least one"]),
        ("GET", "/v1/history/a?cursor=zzz", 400, "bad-request", &["zzz"]),
        ("GET", "/v1/history/a?limit=-1", 400, "bad-request", &["limit=-1"]),
        ("GET", "/v1/digest?at=soon", 400, "bad-request", &["at=soon"]),
        ("POST", "/v1/import?skip=1", 400, "bad-request", &["skip_bad"]),
    ] {
        place.send(method, target, &[], b"v").refuses(status, kind, words);
    }
    let key = "k".repeat(4_097);
    place.put(&format!("/v1/kv/{key}"), b"v").refuses(400, "not-storable", &["4097", "4096"]);
    assert_eq!(place.get("/v1/status").json()["events"], 4);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_in_memory() {
    let place = Place::new();
    let largest = vec![7; 16 << 20];
    place.put("/v1/kv/k", &largest).is(200);
    assert_eq!(place.get("/v1/kv/k").is(200).body, largest);
    place.put("/v1/kv/k", &[&largest[..], b"1"].concat()).refuses(413, "too-large", &["16777216"]);

    // The client learns from the head alone that the body is too large.
    let mut stream = connect(&place.server.address);
    let head =
        format!("POST /v1/batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40);
    stream.write_all(head.as_bytes()).expect("it is taken");
    stream.shutdown(Shutdown::Write).expect("it can be");
    read_response(&mut BufReader::new(stream)).refuses(413, "too-large", &[]);

    // A body of unknown length is cut at the limit.
    let mut stream = connect(&place.server.address);
    let head = "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is taken");
    for _ in 0..17 {
        stream.write_all(format!("{:x}\r\n", 1 << 20).as_bytes()).expect("it is taken");
        stream.write_all(&[7; 1 << 20]).and_then(|()| stream.write_all(b"\r\n")).expect("it is taken");
    }
    stream.write_all(b"0\r\n\r\n").expect("it is taken");
    read_response(&mut BufReader::new(stream)).refuses(413, "too-large", &["16777216"]);

    let header = format!("x: {}", "y".repeat(100 << 10));
    place.send("GET", "/livez", &[&header], b"").is(431);
    let headers = vec!["x: y"; 100];
    place.send("GET", "/livez", &headers, b"").is(431);
    place.get("/livez").is(200);
}

#[test]
fn pages_of_the_web_are_not_let_in() {
    let place = Place::new();
    let port = place.server.address.rsplit(':').next().expect("a port");
    let own = format!("localhost:{port}");
    for host in [&own[..], "localhost", "127.0.0.1", "[::1]"] {
        place.send("GET", "/livez", &[&format!("Host: {host}")], b"").is(200);
    }
    for host in ["evil.example", "10.0.0.1:7387", "localhost.evil.example", ""] {
        let host = format!("Host: {host}");
        place.send("PUT", "/v1/kv/k", &[&host], b"v").refuses(403, "foreign-host", &["localhost"]);
    }
    let host = format!("Host: {own}");
    place.send("GET", "/livez", &[&host, &format!("Origin: http://{own}")], b"").is(200);
    for origin in ["http://evil.example", "null", "https://localhost", "http://localhost"] {
        let origin = format!("Origin: {origin}");
        let refused = place.send("PUT", "/v1/kv/k", &[&host, &origin], b"v");
        refused.refuses(403, "foreign-origin", &["other sites"]);
    }
    assert_eq!(place.get("/v1/status").json()["events"], 0);
}

/// An image or a form of another site sends no Origin: it could trigger a write without reading the answer.
#[test]
fn a_page_of_another_site_starts_no_work() {
    let place = Place::with_history();
    let targets = [
        ("GET", "/v1/kv/tower"),
        ("GET", "/v1/history/tower"),
        ("GET", "/v1/scan"),
        ("GET", "/v1/watch"),
        ("GET", "/v1/export"),
        ("GET", "/v1/status"),
        ("GET", "/v1/digest"),
        ("GET", "/v1/peers"),
        ("GET", "/v1/sync"),
        ("GET", "/metrics"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/nowhere"),
        ("PUT", "/v1/kv/k"),
        ("DELETE", "/v1/kv/tower"),
        ("POST", "/v1/batch"),
        ("POST", "/v1/import"),
        ("POST", "/v1/verify"),
        ("POST", "/v1/rebuild"),
        ("POST", "/v1/sync/now"),
        ("POST", "/v1/sync/wait"),
        ("POST", "/v1/cluster/token"),
        ("POST", "/v1/cluster/forget?address=host:1"),
        ("OPTIONS", "/v1/kv/k"),
    ];
    for (method, target) in targets {
        for site in ["cross-site", "same-site"] {
            let refused = place.send(method, target, &[&format!("Sec-Fetch-Site: {site}")], b"v");
            refused.refuses(403, "foreign-origin", &[site, "other sites"]);
        }
    }
    for site in ["same-origin", "none"] {
        place.send("GET", "/v1/kv/tower", &[&format!("Sec-Fetch-Site: {site}")], b"").is(200);
    }
    assert_eq!(place.get("/v1/status").json()["events"], 4);
}

/// A lenient decoder would read `%ZZ` as three characters, and write a key that the client does not mean.
#[test]
fn an_escape_that_is_none_is_refused_wherever_it_stands() {
    let place = Place::with_history();
    for (method, target, words) in [
        ("PUT", "/v1/kv/%ZZ", &["`%ZZ` at byte 7", "%25"][..]),
        ("GET", "/v1/kv/tower%", &["`%` at byte 12"]),
        ("DELETE", "/v1/kv/%4", &["`%4`"]),
        ("GET", "/v1/history/%g0", &["`%g0`"]),
        ("GET", "/v1/scan?prefix=a%ZZ", &["`%ZZ` at byte 8"]),
        ("GET", "/v1/scan?%ZZ=a", &["`%ZZ`"]),
        ("GET", "/v1/history/tower?cursor=%", &["`%`"]),
        ("GET", "/v1/watch?cursor=6d8a31cc-4%2", &["`%2`"]),
        ("GET", "/livez?%ZZ", &["`%ZZ`"]),
        ("GET", "/no%where", &["`%wh`"]),
        ("GET", "/v1/scan?%FF=a", &["`%FF`", "UTF-8"]),
    ] {
        place.send(method, target, &[], b"v").refuses(400, "bad-request", words);
    }
    assert_eq!(place.get("/v1/status").json()["events"], 4);
}

// ---- Slow and numerous clients ----

#[test]
fn half_open_connections_are_dropped_and_hold_nobody_up() {
    let _alone = MANY_CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let begin = Instant::now();
    let mut stalled = connect(&place.server.address);
    stalled
        .write_all(b"PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf")
        .expect("it is taken");
    let mut open: Vec<_> = (0..200).map(|_| connect(&place.server.address)).collect();
    for (number, stream) in open.iter_mut().enumerate() {
        let part: &[u8] = if number % 2 == 0 { b"" } else { b"GET /livez HTTP/1.1\r\nhost: loc" };
        stream.write_all(part).expect("it is taken");
    }
    let before = Instant::now();
    place.put("/v1/kv/k", b"v").is(200);
    assert!(before.elapsed() < Duration::from_secs(5), "half-open connections held a request up");
    for mut stream in open {
        // The connection closes without an answer, or with 408 for the late head.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it is closed, and not left open");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    read_head(&mut BufReader::new(stalled)).is(408);
    assert_eq!(place.get("/v1/status").json()["events"], 1, "half a value was stored");
}

#[test]
fn connections_and_watchers_are_counted_and_limited() {
    let _alone = MANY_CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let watchers: Vec<_> = (0..256).map(|_| Events::open(&place.server.address, "/v1/watch", &[])).collect();
    let refused = place.get("/v1/watch");
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.refuses(503, "busy", &["256 watchers", "again"]);
    let metrics = place.get("/metrics").is(200).text();
    assert!(metrics.contains("aevrion_http_watchers 256\n"), "{metrics}");
    // Other requests keep their places, up to the total limit.
    let mut idle: Vec<_> = (0..500).map(|_| connect(&place.server.address)).collect();
    place.put("/v1/kv/k", b"v").is(200);
    idle.extend((0..20).map(|_| connect(&place.server.address)));
    let mut answer = Vec::new();
    let mut last = connect(&place.server.address);
    last.read_to_end(&mut answer).expect("it is closed");
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}");
    drop((idle, watchers));
    wait_until(|| {
        let mut stream = connect(&place.server.address);
        let asked =
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let response = asked.map(|()| read_response(&mut BufReader::new(stream)));
        response.is_ok_and(|response| {
            let text = response.text();
            text.contains("http_watchers 0\n") && !text.contains("refused_connections_total 0\n")
        })
    });
}

/// Polls until the condition holds.
#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < server::PATIENCE, "it does not become so");
        std::thread::sleep(Duration::from_millis(20));
    }
}

// ---- About the node ----

#[test]
fn the_node_says_how_it_is() {
    let place = Place::with_history();
    let status = place.get("/v1/status").is(200).json();
    for name in ["node_id", "events", "keys", "root", "store", "transport", "read_only", "neighbours"] {
        assert!(status.get(name).is_some(), "`{name}` is not in {status}");
    }
    assert_eq!((&status["events"], &status["keys"]), (&json!(4), &json!(3)));
    assert_eq!(place.get("/v1/peers").is(200).json(), json!({"peers": []}));
    assert_eq!(place.get("/livez").is(200).body, b"ok\n");
    assert_eq!(place.get("/readyz").is(200).body, b"ok\n");
    place.get("/v1/kv/nobody").is(404);
    let metrics = place.get("/metrics").is(200).text();
    for line in [
        "aevrion_events 4",
        "aevrion_keys 3",
        "aevrion_read_only 0",
        "aevrion_http_requests_total{route=\"/v1/kv/{key}\",status=\"200\"} 4",
        "aevrion_http_requests_total{route=\"/v1/kv/{key}\",status=\"404\"} 1",
        "aevrion_http_watchers 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "`{line}` is not in {metrics}");
    }
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("aevrion_") && value.parse::<f64>().is_ok(), "{line}");
    }
    let kept = place.server.address.clone();
    place.server.stop();
    assert_eq!(run_on(&place.directory.path().join("data"), &["get", "tower"]).ok().stdout, "t");
    assert!(std::net::TcpStream::connect(kept).is_err(), "it still listens");
}

#[test]
fn a_connection_serves_many_requests() {
    let place = Place::new();
    let mut reader = BufReader::new(connect(&place.server.address));
    for n in 0..10 {
        let request = format!("PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n{n}");
        reader.get_mut().write_all(request.as_bytes()).expect("it is taken");
        read_response(&mut reader).is(200);
    }
    assert_eq!(place.get("/v1/kv/k").is(200).body, b"9");
}
