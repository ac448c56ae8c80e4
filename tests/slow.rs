//! The promise: a slow client, or one that announces much and sends nothing, delays nobody else. The limit of file
//! descriptors covers the limits of a node.

use crate::support::{http, server};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::aevrion;
use crate::support::http::{connect, read_response};
use crate::support::server::Server;

fn serve() -> (tempfile::TempDir, Server) {
    let place = tempfile::tempdir().expect("a place");
    let server = Server::start(&place.path().join("data"));
    (place, server)
}

/// Begins to put a value of so many bytes. On return the node waits for them.
fn begin_to_put(server: &Server, bytes: usize) -> BufReader<TcpStream> {
    let mut stream = connect(&server.address);
    let head = format!(
        "PUT /v1/kv/slow HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it is taken");
    let mut reader = BufReader::new(stream);
    let mut said = String::new();
    for _ in 0..2 {
        reader.read_line(&mut said).expect("it answers");
    }
    assert_eq!(said, "HTTP/1.1 100 Continue\r\n\r\n");
    reader
}

#[test]
fn who_only_announces_much_takes_no_memory_from_others() {
    let (_place, server) = serve();
    // More than fit into the memory for requests.
    let mut announced: Vec<_> = (0..40).map(|_| begin_to_put(&server, 16 << 20)).collect();
    for stream in &mut announced {
        stream.get_mut().write_all(b"a beginning").expect("it is taken");
    }
    for _ in 0..3 {
        http::send(&server.address, "PUT", "/v1/kv/k", &[], &vec![7; 16 << 20]).is(200);
    }
}

#[test]
fn a_body_that_trickles_in_is_given_up() {
    let (_place, server) = serve();
    let mut reader = begin_to_put(&server, 1 << 20);
    let mut stream = reader.get_ref().try_clone().expect("it can be shared");
    let begin = Instant::now();
    // Sends a byte now and then, until the node closes.
    let trickling = thread::spawn(move || {
        while stream.write_all(b"x").is_ok() && begin.elapsed() < server::PATIENCE {
            thread::sleep(Duration::from_millis(200));
        }
    });
    read_response(&mut reader).refuses(408, "too-slow", &["bytes of the body came in 20 s"]);
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    drop(reader);
    trickling.join().expect("it ended");
    http::send(&server.address, "GET", "/v1/kv/slow", &[], b"").is(404);
}

#[test]
fn heads_that_do_not_come_are_counted() {
    let (_place, server) = serve();
    let mut stream = connect(&server.address);
    stream.write_all(b"GET /livez HT").expect("it is taken");
    // Until the connection closes, with an answer or without.
    std::io::copy(&mut stream, &mut std::io::sink()).expect("it is closed");
    let metrics = http::send(&server.address, "GET", "/metrics", &[], b"").is(200).text();
    assert!(metrics.contains("\naevrion_http_head_timeouts_total 1\n"), "{metrics}");
    assert!(metrics.contains("\naevrion_http_slow_readers_total 0\n"), "{metrics}");
}

/// A node under these `ulimit` settings of the shell.
#[cfg(target_os = "linux")]
fn limited(limits: &str, data: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_aevrion");
    command
        .args(["-c", &format!("{limits} && exec {binary} serve --http 127.0.0.1:0 --data \"$0\"")])
        .arg(data);
    for (name, value) in aevrion().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[cfg(target_os = "linux")]
#[test]
fn it_takes_as_many_descriptors_as_its_limits_can_need_or_says_so() {
    let place = tempfile::tempdir().expect("a place");
    let server = Server::spawn(limited("ulimit -S -n 256", place.path()));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.process())).expect("it is there");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it is listed");
    let has: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(has[0] == has[1] || has[0] >= 1_152, "{line}");
    server.stop();

    let mut child = limited("ulimit -n 300", place.path()).stderr(Stdio::piped()).spawn().expect("it starts");
    let said = BufReader::new(child.stderr.take().expect("it has one")).lines().map_while(Result::ok);
    let said: Vec<String> = said.take_while(|line| !line.starts_with("ready")).collect();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(
        said.iter().any(|line| line.contains("may have 300") && line.contains("LimitNOFILE")),
        "{said:?}"
    );
}
