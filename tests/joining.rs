//! The promise: a failed join can be repeated, and its token may come from a file or another program.

use crate::support;
use crate::support::member;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use crate::support::member::{Member, Place, agree, file_of};
use crate::support::{aevrion, run_on, run_with_input};

/// Forwards one connection to `node`. Cuts it once `book`, the list of tokens, shows that the node has admitted the
/// joiner, which precedes the answer.
fn lose_the_answer(node: SocketAddr, book: PathBuf) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("tcp://{}", listener.local_addr().expect("it has one"));
    let between = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("it is asked");
        let mut server = TcpStream::connect(node).expect("the node listens");
        let mut to_server = server.try_clone().expect("it can be shared");
        let mut from_client = client.try_clone().expect("it can be shared");
        let asking = std::thread::spawn(move || {
            // Until either side closes.
            let _ = std::io::copy(&mut from_client, &mut to_server);
        });
        let mut bytes = [0; 1 << 14];
        while let Ok(read @ 1..) = server.read(&mut bytes) {
            let tokens = fs::read_to_string(&book).expect("a token was issued");
            if tokens.lines().any(|line| !line.ends_with(" -")) {
                break;
            }
            client.write_all(&bytes[..read]).expect("it waits for an answer");
        }
        for stream in [client, server] {
            // The other side may have closed first.
            let _ = stream.shutdown(Shutdown::Both);
        }
        asking.join().expect("it passed on what it could");
    });
    (address, between)
}

#[test]
fn a_lost_answer_does_not_use_the_token_up() {
    let place = Place::new();
    let first = place.first("first");
    let (token, data) = (first.token(), place.at("second"));
    let (address, between) = lose_the_answer(first.listen, file_of(&first.data, "tokens"));
    let lost = run_on(&data, &["cluster", "join", &address, &token]);
    between.join().expect("it was asked");
    assert!([Some(1), Some(6)].contains(&lost.code), "{}", lost.stderr);
    assert!(lost.stderr.contains("join again with the same --data and token"), "{}", lost.stderr);
    assert!(!file_of(&data, "node.crt").exists() && !data.join("STORE").exists());

    // The token is used up for others, also for one at the wrong address, and the joiner's key survives their attempts.
    let peer = first.address("tcp");
    run_on(&place.at("other"), &["cluster", "join", &peer, &token]).fails(5, &["used by another machine"]);
    assert!(!place.at("other").exists());
    let stranger = place.first("stranger");
    run_on(&data, &["cluster", "join", &stranger.address("tcp"), &token]).fails(5, &["not trusted"]);
    run_on(&data, &["cluster", "join", &peer, &token]).ok();
    let second = serve(&place, "second");
    agree(&[(&first, 1), (&second, 1)]);
}

/// The key of a cluster comes with joining. A cluster of an older release has none, and does without.
#[test]
fn the_nodes_of_a_cluster_share_a_key_that_no_other_has() {
    let place = Place::new();
    let mut first = place.first("first");
    let mut second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    let file = |member: &Member| file_of(&member.data, "cluster.key");
    let key = |member: &Member| fs::read_to_string(file(member)).expect("it has one");
    assert_eq!(key(&first), key(&second));
    assert_ne!(key(&first), key(&place.first("stranger")));
    for member in [&mut first, &mut second] {
        member.stop();
        fs::remove_file(file(member)).expect("it was there");
        member.serve(&[]);
    }
    first.run(&["put", "k", "v"]).ok();
    agree(&[(&first, 1), (&second, 1)]);
    for member in [&first, &second] {
        member.run(&["verify"]).ok();
        assert!(!file(member).exists(), "no node has a key that the others lack");
    }
}

/// Starts a server for a joined node.
fn serve(place: &Place, name: &str) -> Member {
    let mut member = Member::joined(place.at(name), "tcp");
    member.serve(&[]);
    member
}

#[test]
fn settings_that_do_not_fit_cost_no_token() {
    let place = Place::new();
    let first = place.first("first");
    let (peer, token) = (first.address("tcp"), first.token());
    let join =
        |more: &[&str]| run_on(&place.at("second"), &[&["cluster", "join", &peer, &token], more].concat());
    join(&["--branching", "16"]).fails(2, &["leave --branching out", "the same --data and token"]);
    join(&[]).ok();
}

#[test]
fn a_token_need_not_stand_on_the_command_line() {
    let place = Place::new();
    let first = place.first("first");
    let peer = first.address("tcp");
    let piped = format!("{}\n", first.token());
    run_with_input(&place.at("piped"), &["cluster", "join", &peer, "-"], piped.as_bytes()).ok();
    run_with_input(&place.at("bad"), &["cluster", "join", &peer, "-"], b"\n")
        .fails(2, &["not a whole token"]);
    let of_environment = |data: &Path, token: &str| {
        let mut command = aevrion();
        command.args(["cluster", "join", &peer, "--data"]).arg(data).env("AEVRION_TOKEN", token);
        support::Finished::from(command.output().expect("the binary starts"))
    };
    of_environment(&place.at("set"), &first.token()).ok();
    run_on(&place.at("none"), &["cluster", "join", &peer]).fails(2, &["TOKEN"]);
}

#[test]
fn a_node_may_be_known_by_a_name() {
    let place = Place::new();
    let first = place.first("first");
    let port = member::free_address().port();
    let (peer, token, name) = (first.address("tcp"), first.token(), format!("localhost:{port}"));
    let join = |advertise: &str| {
        let arguments = ["cluster", "join", &peer, &token, "--transport", "tcp", "--advertise", advertise];
        run_on(&place.at("second"), &arguments)
    };
    join("localhost").fails(2, &["localhost", "it has no port"]);
    join(&name).ok();
    let known = first.run(&["cluster", "nodes", "-o", "raw"]).ok().stdout;
    assert_eq!(known.trim(), format!("tcp://{name}"));
}

#[test]
fn the_transports_of_a_file_are_those_that_others_are_told() {
    let place = Place::new();
    let first = place.first("first");
    let config = place.at("settings.toml");
    fs::write(&config, "transport = [\"tcp\"]\n").expect("it is written");
    let advertised = member::free_address().to_string();
    let token = first.token();
    // The file gives the transport, which this address leaves out.
    let peer = first.listen.to_string();
    let arguments = ["cluster", "join", &peer, &token, "--advertise", &advertised, "--config"];
    run_on(&place.at("second"), &[&arguments[..], &[config.to_str().expect("UTF-8")]].concat()).ok();
    let known = first.run(&["cluster", "nodes", "-o", "raw"]).ok().stdout;
    assert_eq!(known.trim(), format!("tcp://{advertised}"));
    let known = run_on(&place.at("second"), &["cluster", "nodes", "-o", "raw"]).ok().stdout;
    assert_eq!(known.trim(), first.address("tcp"));
}

/// Both nodes may dial each other at once. A node that becomes connected gives up its own attempt.
#[test]
fn a_first_join_is_nothing_to_warn_of() {
    let place = Place::new();
    for (number, transports) in ["quic", "tcp", "quic", "tcp,quic"].into_iter().enumerate() {
        let mut first = place.first(&format!("first {number}"));
        let second = place.at(&format!("second {number}"));
        let mut second = Member::join(second, "redb", transports, &first, true);
        agree(&[(&first, 1), (&second, 1)]);
        for member in [&mut second, &mut first] {
            let said = member.stop_and_tell();
            let warned: Vec<_> = said.iter().filter(|line| line.contains("WARN")).collect();
            assert!(warned.is_empty(), "{transports}: {warned:?}");
        }
    }
}
