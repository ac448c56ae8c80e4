//! The promise: the scripts of `dist/migrate` transfer the content of other stores, for any bytes, with expiries.
//! Entries without an equivalent here are counted, and are an error unless allowed.
//!
//! The tests use the servers installed on the system. Without its server a test says so and does nothing, unless
//! `AEVRION_ALL_TESTS=1` requires all of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::place::Place;
use crate::support::server::PATIENCE;
use crate::support::{Finished, repository, run_with_input};

/// The timestamp given to the writes, and the expiry of some: the end of this century.
const AT: &str = "1700000000000";
const LATER: u64 = 4_100_000_000_123;

/// A foreign server, on this machine alone. It ends with the test.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether these programs are installed; if not, prints the skipped test.
fn installed(programs: &[&str]) -> bool {
    let has = |program: &&&str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|path| path.join(program).is_file())
    };
    let missing: Vec<_> = programs.iter().filter(|program| !has(program)).collect();
    if missing.is_empty() {
        return true;
    }
    let all = std::env::var("AEVRION_ALL_TESTS").is_ok_and(|all| all == "1");
    assert!(!all, "not installed, and AEVRION_ALL_TESTS is set: {missing:?}");
    eprintln!(
        "SKIPPED: coming over with {} is not tested, for it is not installed: {missing:?}",
        programs[0]
    );
    false
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Runs a program to its end, with `input` on standard input.
fn run(program: &Path, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it has an input");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends").into()
}

fn script(name: &str, arguments: &[&str]) -> Finished {
    run(&repository().join("dist/migrate").join(name), arguments, b"")
}

/// Waits until the server answers.
fn until(answers: impl Fn() -> bool) {
    let begin = Instant::now();
    while !answers() {
        assert!(begin.elapsed() < PATIENCE, "the server does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Keys and values with all byte values, on more than one page.
fn everything() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let all: Vec<u8> = (0..=255).collect();
    let mut pairs: BTreeMap<_, _> = (0..=255).map(|byte| (vec![byte], vec![byte, byte, byte])).collect();
    pairs.insert(all.clone(), all.iter().rev().copied().collect());
    pairs.insert(b"one \"two\" \\x41 \n".to_vec(), Vec::new());
    pairs.insert(vec![0, 0, 0], b"'\r\n\0".to_vec());
    pairs.insert(b"large".to_vec(), all.repeat(1_000));
    pairs
}

/// Imports these lines, all of which must be taken. Returns the stored values and expiries.
#[track_caller]
fn stored(place: &Place, lines: &str) -> BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> {
    let imported = run_with_input(&place.data(), &["import", "-"], lines.as_bytes()).ok();
    assert!(!imported.stderr.contains("passed over"), "{}", imported.stderr);
    let events = place.run(&["export", "-"]).ok().json_lines();
    let bytes = |event: &serde_json::Value, field: &str| match event[field].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let text = event[format!("{field}_base64")].as_str();
            BASE64_STANDARD.decode(text.expect("a text")).expect("base64")
        }
    };
    let event = |event: &serde_json::Value| {
        assert_eq!(event["timestamp"].to_string(), AT);
        (bytes(event, "key"), (bytes(event, "value"), event["expires_at"].as_u64()))
    };
    events.iter().map(event).collect()
}

/// A RESP command, which may contain any bytes.
fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        text.extend(format!("${}\r\n", part.len()).into_bytes());
        text.extend_from_slice(part);
        text.extend(b"\r\n");
    }
    text
}

#[test]
fn strings_of_redis_come_over_with_their_expiry_and_the_rest_is_counted() {
    if !installed(&["redis-server", "redis-cli"]) {
        return;
    }
    let (place, port) = (Place::new(), free_port().to_string());
    let mut server = Command::new("redis-server");
    server.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    server.arg(place.directory.path()).stdout(Stdio::null());
    let _server = Other(server.spawn().expect("it starts"));
    let cli = |input: &[u8], arguments: &[&str]| {
        run(Path::new("redis-cli"), &[&["-e", "-p", &port], arguments].concat(), input)
    };
    until(|| cli(b"", &["PING"]).stdout == "PONG\n");

    let mut expected: BTreeMap<_, _> =
        everything().into_iter().map(|(key, value)| (key, (value, None))).collect();
    let mut commands: Vec<_> =
        expected.iter().map(|(key, (value, _))| command(&[b"SET", key, value])).collect();
    commands.push(command(&[b"SET", b"until", b"then", b"PXAT", LATER.to_string().as_bytes()]));
    expected.insert(b"until".to_vec(), (b"then".to_vec(), Some(LATER)));
    cli(&commands.concat(), &["--pipe"]).ok();
    let flags = ["--time", AT, "--batch", "10", "-p", &port];
    let written = script("redis-to-jsonl.sh", &flags).ok();
    assert!(written.stderr.contains("261 strings"), "{}", written.stderr);
    assert_eq!(stored(&place, &written.stdout), expected);

    let others = [
        command(&[b"LPUSH", b"a list", b"1"]),
        command(&[b"HSET", b"hash", b"a", b"1"]),
        command(&[b"SADD", b"set", b"1"]),
        command(&[b"SADD", b"another set", b"1"]),
        command(&[b"SETRANGE", b"huge", b"16777216", b"x"]),
        command(&[b"SETRANGE", b"largest", b"16777215", b"x"]),
    ];
    cli(&others.concat(), &["--pipe"]).ok();
    let counted =
        ["keys 1: of type list", "keys 2: of type set", "keys 1: of type hash", "keys 1: larger than 16 MiB"];
    let refused = script("redis-to-jsonl.sh", &flags);
    assert_eq!(refused.stdout.lines().count(), 262);
    refused.fails(1, &[&counted[..], &["--strings-only"]].concat());
    let asked = script("redis-to-jsonl.sh", &[&flags[..], &["--strings-only"]].concat()).ok();
    assert!(counted.iter().all(|word| asked.stderr.contains(word)), "{}", asked.stderr);
    expected.insert(b"largest".to_vec(), ([vec![0; (16 << 20) - 1], b"x".to_vec()].concat(), None));
    assert!(stored(&Place::new(), &asked.stdout) == expected, "the largest value has changed on its way");
    cli(b"", &["CONFIG", "SET", "requirepass", "secret"]).ok();
    script("redis-to-jsonl.sh", &flags).fails(1, &["NOAUTH"]);
    script("redis-to-jsonl.sh", &["-p", "1"]).fails(1, &["redis-cli has failed"]);
}

#[test]
fn keys_of_etcd_come_over_with_their_leases() {
    if !installed(&["etcd", "etcdctl", "jq"]) {
        return;
    }
    let place = Place::new();
    let [client, peer] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
    let mut server = Command::new("etcd");
    server.arg("--data-dir").arg(place.directory.path().join("etcd"));
    server.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    server.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    server
        .args(["--initial-cluster", &format!("default={peer}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _server = Other(server.spawn().expect("it starts"));
    let endpoint = format!("--endpoints={client}");
    let ctl = |arguments: &[&str], input: &[u8]| {
        let arguments = [&["ETCDCTL_API=3", "etcdctl", &endpoint], arguments].concat();
        run(Path::new("env"), &arguments, input)
    };
    until(|| ctl(&["endpoint", "health"], b"").code == Some(0));
    // One page ends with `-`, so that the next one begins with an apparent flag.
    let flags = ["--time", AT, "--page", "16", &endpoint];
    let empty = script("etcd-to-jsonl.sh", &flags).ok();
    assert!(empty.stdout.is_empty() && empty.stderr.contains("0 keys"), "{}", empty.stderr);

    let pairs = everything();
    let quoted = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let puts: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("put -- \"{}\" \"{}\"\n", quoted(key), quoted(value)))
        .collect();
    for puts in puts.chunks(60) {
        ctl(&["txn"], format!("\n{}\n\n", puts.concat()).as_bytes()).ok();
    }
    let granted = ctl(&["lease", "grant", "1000"], b"").ok().stdout;
    let lease = granted.split(' ').nth(1).expect("its id").to_owned();
    for key in ["leased", "leased too"] {
        ctl(&["put", &format!("--lease={lease}"), key, "for a while"], b"").ok();
    }
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_millis();
    let before = now();
    let written = script("etcd-to-jsonl.sh", &flags).ok();
    assert!(written.stderr.contains("262 keys of revision"), "{}", written.stderr);
    let mut found = stored(&place, &written.stdout);
    for key in ["leased", "leased too"] {
        let (value, expires_at) = found.remove(key.as_bytes()).expect("it is there");
        let expires_at = u128::from(expires_at.expect("it expires"));
        let (least, most) = (before + 900_000, now() + 1_000_000);
        assert!(value == b"for a while" && (least..=most).contains(&expires_at), "{expires_at}");
    }
    assert_eq!(found, pairs.into_iter().map(|(key, value)| (key, (value, None))).collect());
    script("etcd-to-jsonl.sh", &["--endpoints=http://127.0.0.1:1"]).fails(1, &["etcdctl has failed"]);
    script("etcd-to-jsonl.sh", &["--page", "many"]).fails(2, &["usage"]);
}
