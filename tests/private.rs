//! The promise: files and directories made by a node are accessible to its owner alone, whatever the umask. The log
//! reports existing ones that are open to others, and a key that others may have read is not used.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::member::{Member, Place, file_of};
use crate::support::{ENGINES, Finished, aevrion, run_on};
use rustix::fs::Mode;

/// The paths below a directory that other users can access, with their modes.
fn open_to_others(path: &Path) -> Vec<(PathBuf, u32)> {
    let mode = fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let mut found: Vec<_> = (mode & 0o077 != 0).then(|| (path.to_owned(), mode)).into_iter().collect();
    // The content of a directory that others may not enter is out of their reach.
    if path.is_dir() && mode & 0o011 != 0 {
        for entry in fs::read_dir(path).expect("it can be listed") {
            found.extend(open_to_others(&entry.expect("it is there").path()));
        }
    }
    found
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is this user's");
}

#[test]
fn a_data_directory_and_what_is_in_it_are_its_owners_alone() {
    // The most permissive umask, inherited by the binary.
    rustix::process::umask(Mode::empty());
    for engine in ENGINES {
        let place = Place::new();
        let mut first = Member::found(place.at("above/first"), engine, "quic,tcp", &[]);
        let mut second = Member::join(place.at("second"), engine, "quic,tcp", &first, true);
        first.run(&["put", "k", "v"]).ok();
        first.stop();
        second.stop();
        for name in ["above", "above/first", "second"] {
            assert_eq!(open_to_others(&place.at(name)), [], "{engine}");
        }
        // The files stay private even if their directory is opened to others.
        for data in [&first.data, &second.data] {
            set_mode(data, 0o755);
            assert_eq!(open_to_others(data), [(data.clone(), 0o755)], "{engine}");
        }
    }
}

#[test]
fn a_directory_that_others_may_enter_is_told_of_with_what_to_do() {
    let place = Place::new();
    let data = place.at("data");
    run_on(&data, &["put", "k", "v"]).ok();
    let said = || {
        let mut command = aevrion();
        // The default log level of a server.
        command.args(["get", "k", "--data"]).arg(&data).env("AEVRION_LOG", "warn");
        Finished::from(command.output().expect("the binary starts")).ok().stderr
    };
    assert_eq!(said(), "");
    set_mode(&data, 0o755);
    let warning = said();
    let chmod = format!("chmod -R go= {}", data.display());
    assert!(warning.contains("mode 755") && warning.contains(&chmod), "{warning}");
}

#[test]
fn a_key_that_everyone_may_have_read_is_not_used() {
    let place = Place::new();
    let mut first = place.first("first");
    first.stop();
    for (name, verb) in
        [("node.key", &["serve", "--http", "127.0.0.1:0"][..]), ("authority.key", &["cluster", "token"])]
    {
        let key = file_of(&first.data, name);
        set_mode(&key, 0o644);
        let path = key.to_str().expect("UTF-8");
        run_on(&first.data, verb).fails(1, &[path, "open to everyone", "chmod 600"]);
        set_mode(&key, 0o600);
    }
    run_on(&first.data, &["cluster", "token"]).ok();
}
