//! The promise: the imported history of a git repository ends in exactly the files of its last commit, byte for byte.
//! Skipped, doubtful and unordered entries are counted, or are an error.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::place::Place;
use crate::support::server::wait;
use crate::support::{Finished, aevrion, run_on};

/// The time of the first commit of each repository, in seconds.
const BEGIN: u64 = 1_700_000_000;
/// The file mode of submodules in git.
const SUBMODULE: &str = "160000";

type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// A separate repository, isolated from the git settings of the user.
struct Repository {
    place: Place,
    work: PathBuf,
}

impl Repository {
    fn new() -> Self {
        let place = Place::new();
        let work = place.directory.path().join("work");
        std::fs::create_dir(&work).expect("a directory");
        let repository = Self { place, work };
        repository.git(&["init", "--quiet"]);
        repository
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(b"GIT_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.place.directory.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env_remove("XDG_CONFIG_HOME").current_dir(&self.work);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
            command.env(format!("GIT_{who}_DATE"), format!("{BEGIN} +0100"));
        }
        command.args(["-c", "init.defaultBranch=main"]).args(arguments);
        command
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(arguments).output().expect("git is installed");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn write(&self, path: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
        let path = self.work.join(path.as_ref());
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(path, content).expect("it is written");
    }

    /// Commits all files, so many seconds after the beginning.
    #[track_caller]
    fn commit(&self, seconds: i64, subject: &str) {
        self.git(&["add", "--all"]);
        let at = i64::try_from(BEGIN).expect("it fits") + seconds;
        let mut command = self.command(&["commit", "--quiet", "--allow-empty", "-m", subject]);
        command.env("GIT_AUTHOR_DATE", format!("{at} -0800"));
        assert!(command.status().expect("git is installed").success());
    }

    /// The files of the last commit, without submodules.
    fn tree(&self) -> Files {
        let listing = self.git(&["ls-tree", "-r", "-z", "HEAD"]);
        let entries = listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        let files = entries.filter(|entry| !entry.starts_with(SUBMODULE.as_bytes())).map(|entry| {
            let tab = entry.iter().position(|byte| *byte == b'\t').expect("a tab");
            let hash = std::str::from_utf8(&entry[tab - 40..tab]).expect("a hash");
            (entry[tab + 1..].to_vec(), self.git(&["cat-file", "blob", hash]))
        });
        files.collect()
    }

    /// The number of changes on the branch, according to git.
    fn changes(&self) -> u64 {
        let log =
            ["log", "--first-parent", "--diff-merges=first-parent", "--raw", "--no-renames", "--format="];
        self.git(&log).split(|byte| *byte == b'\n').filter(|line| line.starts_with(b":")).count() as u64
    }

    fn import_at(&self, path: &Path, flags: &[&str]) -> Finished {
        // Settings of the user must not matter.
        let mut command = aevrion();
        command.args(["import", "--from", "git"]).arg(path).args(flags).arg("--data").arg(self.place.data());
        command
            .env("HOME", self.place.directory.path())
            .env("GIT_DIR", "/nowhere")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command.output().expect("the binary starts").into()
    }

    fn import(&self, flags: &[&str]) -> Finished {
        self.import_at(&self.work, flags)
    }

    /// The stored keys and values.
    fn stored(&self) -> Files {
        let scanned = run_on(&self.place.data(), &["scan", "-o", "jsonl"]).ok().json_lines();
        scanned.iter().map(|event| (bytes(event, "key"), bytes(event, "value"))).collect()
    }

    /// The events of one key: seconds since the beginning, and the value unless it is a deletion.
    fn history(&self, key: &str) -> Vec<(f64, Option<String>)> {
        let events = run_on(&self.place.data(), &["history", key, "-o", "jsonl"]).ok().json_lines();
        let event = |event: &serde_json::Value| {
            let ms = event["timestamp"].as_u64().expect("a number") as f64;
            (ms / 1000.0 - BEGIN as f64, event["value"].as_str().map(str::to_owned))
        };
        events.iter().map(event).collect()
    }

    /// Imports, checks the messages, and compares the stored files with those of the last commit.
    #[track_caller]
    fn brings_all(&self, flags: &[&str], said: &[&str]) {
        let finished = self.import(flags).ok();
        for word in said {
            assert!(finished.stderr.contains(word), "`{word}` is not in: {}", finished.stderr);
        }
        assert_eq!(self.stored(), self.tree(), "{}", finished.stderr);
        run_on(&self.place.data(), &["verify"]).ok();
    }
}

fn bytes(event: &serde_json::Value, field: &str) -> Vec<u8> {
    match (event[field].as_str(), event[format!("{field}_base64")].as_str()) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(text)) => BASE64_STANDARD.decode(text).expect("base64"),
        _ => panic!("no {field} in {event}"),
    }
}

fn value(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Three commits: two files, then one changed and one renamed, then one deleted.
fn plain() -> Repository {
    let repository = Repository::new();
    repository.write("a.txt", "one");
    repository.write("dir/b.txt", "b");
    repository.commit(0, "begin");
    repository.commit(5, "nothing at all");
    repository.write("a.txt", "two");
    std::fs::rename(repository.work.join("dir/b.txt"), repository.work.join("dir/c.txt"))
        .expect("it is there");
    repository.commit(10, "change: and rename");
    std::fs::remove_file(repository.work.join("a.txt")).expect("it is there");
    repository.commit(20, "remove");
    repository
}

#[test]
fn a_history_is_its_changes_at_their_author_times() {
    let repository = plain();
    repository.brings_all(&[], &["6 events imported"]);
    assert_eq!(repository.changes(), 6);
    assert_eq!(repository.history("a.txt"), [(0.0, value("one")), (10.0, value("two")), (20.0, None)]);
    assert_eq!(repository.history("dir/b.txt"), [(0.0, value("b")), (10.0, None)]);
    assert_eq!(repository.history("dir/c.txt"), [(10.0, value("b"))]);
    repository.write("later.txt", "later");
    repository.commit(30, "go on");
    repository.brings_all(&[], &["1 event imported, 6 were stored already"]);
}

#[test]
fn the_repository_may_be_its_directory_or_a_bare_one_but_no_part_of_one() {
    let repository = plain();
    let bare = repository.place.directory.path().join("bare.git");
    repository.git(&["clone", "--quiet", "--bare", ".", bare.to_str().expect("a text")]);
    for path in [repository.work.join(".git"), bare, repository.work.clone()] {
        let finished = repository.import_at(&path, &["--dry-run", "--path", "dir"]).ok();
        assert!(finished.stderr.contains("3 events would be imported"), "{path:?}: {}", finished.stderr);
    }
    let part = repository.import_at(&repository.work.join("dir"), &[]);
    part.fails(2, &["is `dir` of a repository", "--path dir"]);
}

/// A file changed by a side branch is imported once, with the merge.
#[test]
fn a_merge_is_one_change_of_the_branch() {
    let repository = plain();
    repository.git(&["checkout", "--quiet", "-b", "side", "HEAD~1"]);
    repository.write("side.txt", "half");
    repository.commit(12, "side");
    repository.write("side.txt", "done");
    repository.commit(14, "side again");
    repository.git(&["checkout", "--quiet", "main"]);
    let mut merge = repository.command(&["merge", "--quiet", "--no-ff", "side", "-m", "merge"]);
    merge.env("GIT_AUTHOR_DATE", format!("{} +0000", BEGIN + 40));
    assert!(merge.status().expect("git is installed").success());
    repository.brings_all(&[], &["7 events imported"]);
    assert_eq!(repository.history("side.txt"), [(40.0, value("done"))]);
}

#[test]
fn any_bytes_may_be_in_paths_and_contents() {
    let repository = Repository::new();
    let all: Vec<u8> = (0..=255).collect();
    for path in ["with space", "quote\"'`", "line\nend", "tab\t", "ümläut", ":(top)x", "-d", "{path}", "*"]
    {
        repository.write(path, all.repeat(path.len()));
    }
    let latin = OsString::from_vec(b"dir/Schl\xFCssel \xFF".to_vec());
    repository.write(&latin, b"\xFF\xFE\0");
    repository.write("empty", "");
    repository.write("zeros", [0; 70_000]);
    symlink("with space", repository.work.join("link")).expect("a link");
    repository.commit(0, "all \u{FFFD} of \"them\"\n\nand more");
    repository.brings_all(&[], &["13 events imported"]);
    let stored = repository.stored();
    assert_eq!(stored[&b"link"[..]], b"with space");
    assert_eq!(stored[latin.as_bytes()], b"\xFF\xFE\0");
}

/// The git settings of the user and of the repository must not affect the import.
#[test]
fn settings_change_nothing() {
    let repository = plain();
    repository.write("dir/d.txt", "b");
    repository.write("more", "1");
    repository.commit(30, "copy");
    for setting in [
        ["log.showSignature", "true"],
        ["log.showRoot", "false"],
        ["log.follow", "true"],
        ["log.diffMerges", "off"],
        ["log.decorate", "full"],
        ["log.date", "relative"],
        ["diff.renames", "copies"],
        ["diff.relative", "true"],
        ["diff.orderFile", "missing"],
        ["diff.ignoreSubmodules", "all"],
        ["diff.noprefix", "true"],
        ["diff.external", "false"],
        ["diff.submodule", "log"],
        ["core.quotePath", "true"],
        ["core.abbrev", "5"],
        ["core.pager", "false"],
        ["color.ui", "always"],
        ["format.pretty", "fuller"],
        ["i18n.logOutputEncoding", "latin1"],
        ["notes.displayRef", "*"],
    ] {
        repository.git(&["config", setting[0], setting[1]]);
    }
    repository.brings_all(&[], &["8 events imported"]);
    let one = repository.import(&["--dry-run", "--path", "dir/d.txt"]).ok();
    assert!(one.stderr.contains("1 event would be imported"), "{}", one.stderr);
}

#[test]
fn submodules_are_counted_or_kept_by_their_commits() {
    let repository = plain();
    let inner = repository.place.directory.path().join("inner").to_str().expect("a text").to_owned();
    repository.git(&["clone", "--quiet", ".", &inner]);
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &inner, "was-file"];
    repository.write("was-file", "a file");
    repository.commit(30, "a file");
    repository.git(&["rm", "--quiet", "was-file"]);
    repository.git(&add);
    repository.commit(40, "now a submodule");
    repository.brings_all(&[], &["1 change of submodules: passed over", "--value '{hash}'"]);
    assert_eq!(repository.history("was-file"), [(30.0, value("a file")), (40.0, None)]);
    repository.git(&["rm", "--quiet", "-f", "was-file"]);
    repository.commit(50, "gone");
    repository.brings_all(&[], &["1 change of submodules: passed over"]);
    assert_eq!(repository.history("was-file").len(), 2);

    let hashes = repository.import(&["--value", "{hash} {mode}", "--key", "id:{path}"]).ok();
    assert!(!hashes.stderr.contains("submodules"), "{}", hashes.stderr);
    let head = String::from_utf8(repository.git(&["rev-parse", "HEAD~3"])).expect("a hash");
    let kept = repository.history("id:was-file");
    assert_eq!(kept[1..], [(40.0, value(&format!("{} {SUBMODULE}", head.trim()))), (50.0, None)]);
}

#[test]
fn templates_make_keys_and_values_of_what_there_is() {
    let repository = plain();
    let templates =
        ["--key", "{subject}/{path}", "--value", "{author}: {content} {{{mode}}}", "--path", "a.txt"];
    repository.import(&templates).ok();
    let (key, ada) = ("change: and rename/a.txt", "Ada <ada@example.org>: two {100644}");
    assert_eq!(repository.history(key), [(10.0, value(ada))]);
    assert_eq!(repository.history("remove/a.txt"), [(20.0, None)]);
    repository.import(&["--value", "{commit}", "--path", "dir/c.txt"]).ok();
    let commit = String::from_utf8(repository.git(&["rev-parse", "HEAD~1"])).expect("a hash");
    assert_eq!(repository.history("dir/c.txt"), [(10.0, value(commit.trim()))]);
    repository
        .import(&["--key", "{content}"])
        .fails(2, &["--key", "no column `content`", "path, commit, author"]);
    repository
        .import(&["--value", "{blob}"])
        .fails(2, &["--value", "no column `blob`", "hash, mode, content"]);
}

#[test]
fn paths_limit_what_comes_in_and_are_taken_literally() {
    let repository = plain();
    repository.write("dir*/x", "1");
    repository.write("director", "2");
    repository.commit(30, "more");
    for (paths, events) in [
        (&["--path", "dir"][..], 3),
        (&["--path", "dir/"], 3),
        (&["--path", "dir*"], 1),
        (&["--path", "dir/c.txt", "--path", "a.txt"], 4),
        (&["--path", "."], 8),
    ] {
        let said = repository.import(&[paths, &["--dry-run"]].concat()).ok().stderr;
        let events = if events == 1 { "1 event ".to_owned() } else { format!("{events} events ") };
        assert!(said.contains(&format!("{events}would be imported")), "{paths:?}: {said}");
    }
    let missing = ["--path", "dir", "--path", "gone.txt"];
    repository.import(&missing).fails(2, &["--path gone.txt", "nothing in the history"]);
    repository.import(&["--path", "../x"]).fails(1, &["../x"]);
    assert!(!repository.place.data().exists());
}

#[test]
fn what_is_no_repository_or_empty_is_refused_and_what_is_shallow_is_said() {
    let repository = Repository::new();
    repository.import(&[]).fails(1, &["has no commits"]);
    let nowhere = repository.place.directory.path().join("nowhere");
    repository.import_at(&nowhere, &[]).fails(1, &["nowhere"]);
    std::fs::create_dir(&nowhere).expect("a directory");
    repository.import_at(&nowhere, &[]).fails(1, &["not a git repository"]);
    let file = repository.place.file("file", "");
    repository.import_at(Path::new(&file), &[]).fails(1, &["file"]);
    assert!(!repository.place.data().exists());

    let whole = plain();
    let shallow = whole.place.directory.path().join("shallow");
    let url = format!("file://{}", whole.work.display());
    whole.git(&["clone", "--quiet", "--depth", "2", &url, shallow.to_str().expect("a text")]);
    let said = whole.import_at(&shallow, &[]).ok().stderr;
    assert!(said.contains("the repository is shallow") && said.contains("3 events imported"), "{said}");
    assert_eq!(whole.stored(), whole.tree());
}

#[test]
fn without_git_it_says_so() {
    let repository = plain();
    let mut command = aevrion();
    command.args(["import", "--from", "git"]).arg(&repository.work).env("PATH", "/nowhere");
    let finished: Finished =
        command.arg("--data").arg(repository.place.data()).output().expect("it starts").into();
    finished.fails(1, &["git is not installed"]);
}

#[test]
fn flags_of_files_are_refused() {
    let repository = plain();
    for flag in [
        &["--format", "csv"][..],
        &["--encoding", "latin1"],
        &["--time-format", "%s"],
        &["--time-zone", "UTC"],
        &["--fold", "later"],
        &["--time-unit", "s"],
        &["--delimiter", ";"],
        &["--quote", "none"],
        &["--trim"],
        &["--delete-if", "path=a"],
        &["--time", "author"],
    ] {
        repository.import(flag).fails(2, &[flag[0], "does not apply to a git repository"]);
    }
    let file = repository.place.file("some.jsonl", "");
    repository.place.run(&["import", &file, "--path", "a"]).fails(2, &["--path", "--from git"]);
}

#[test]
fn changes_of_one_second_are_told_and_put_in_order_if_asked() {
    let repository = Repository::new();
    for content in ["one", "two", "one", "three"] {
        repository.write("a", content);
        repository.commit(0, content);
    }
    let unordered = repository.import(&["--dry-run"]).ok().stderr;
    assert!(unordered.contains("1 key: several values in one moment"), "{unordered}");
    repository.brings_all(&["--ties", "file-order"], &["4 events", "3 records: put later, by 3 ms at most"]);
    let all = [(0.0, "one"), (0.001, "two"), (0.002, "one"), (0.003, "three")];
    let close = |(at, _): &(f64, Option<String>), expected: f64| (at - expected).abs() < 0.000_5;
    let history = repository.history("a");
    assert!(history.iter().zip(all).all(|(event, (at, _))| close(event, at)), "{history:?}");
}

/// A rebase leaves author times in any order: the branch gives the order.
#[test]
fn times_that_go_backwards_are_told_and_put_in_order_if_asked() {
    let repository = Repository::new();
    for (seconds, content) in [(100, "one"), (50, "two"), (200, "same")] {
        repository.write("a", content);
        repository.write(format!("other-{seconds}"), "x");
        repository.commit(seconds, content);
    }
    repository.write("a", "last");
    std::fs::remove_file(repository.work.join("other-200")).expect("it is there");
    repository.commit(70, "amended");
    let said = repository.import(&["--dry-run"]).ok().stderr;
    assert!(
        said.contains("2 keys: the last change has an earlier time") && said.contains("--ties file-order"),
        "{said}"
    );
    repository
        .brings_all(&["--ties", "file-order"], &["3 records: put later, by 130,001 ms at most", "of 2 keys"]);
    // An out-of-order time is kept if its key has no other event.
    assert_eq!(repository.history("other-50"), [(50.0, value("x"))]);
    repository.brings_all(&["--ties", "file-order"], &["0 events imported, 8 were stored already"]);
}

#[test]
fn times_that_cannot_be_and_keys_and_values_that_are_too_large_are_errors() {
    let repository = Repository::new();
    let limit = 16 << 20;
    repository.write("good", "1");
    repository.write("largest", vec![7; limit]);
    repository.write("too-large", vec![7; limit + 1]);
    repository.write("zz-behind", "2");
    repository.commit(0, "sizes");
    let at = [
        "commit ",
        "`too-large`, value:",
        "16777217",
        "2 events before it are stored",
        "bad changes with --skip-bad",
    ];
    repository.import(&[]).fails(1, &at);
    let skipped = repository.import(&["--skip-bad"]).ok().stderr;
    assert!(
        skipped.contains("skipped commit") && skipped.contains("1 bad changes were passed over"),
        "{skipped}"
    );
    assert!(skipped.contains("1 event imported, 2 were stored already"), "{skipped}");
    let mut expected = repository.tree();
    expected.remove(&b"too-large"[..]);
    assert_eq!(repository.stored(), expected);

    let long =
        repository.import(&["--skip-bad", "--key", &format!("{}{{path}}", "k".repeat(4_090))]).ok().stderr;
    assert!(long.contains("`largest`, key:") && long.contains("3 bad changes were passed over"), "{long}");

    // Git makes no such commits now, but old programs did.
    for (time, what) in [("-5", "no author time"), ("99999999999999999999", "time: 99999999999999999999")] {
        let repository = plain();
        let tree = String::from_utf8(repository.git(&["rev-parse", "HEAD^{tree}"])).expect("a hash");
        let text =
            format!("tree {}\nauthor A <a@b> {time} +0000\ncommitter A <a@b> 5 +0000\n\nold\n", tree.trim());
        let path = repository.place.file("commit", text);
        let hash = repository.git(&["hash-object", "--literally", "-t", "commit", "-w", &path]);
        let hash = String::from_utf8(hash).expect("a hash");
        repository.git(&["update-ref", "HEAD", hash.trim()]);
        repository.import(&[]).fails(1, &["commit ", "`dir/c.txt`, time:", what, "--skip-bad"]);
    }
}

#[test]
fn a_repository_that_is_damaged_is_an_error_with_the_words_of_git() {
    let repository = plain();
    let missing = String::from_utf8(repository.git(&["rev-parse", "HEAD~1:a.txt"])).expect("a hash");
    let object = |hash: &str| repository.work.join(".git/objects").join(&hash[..2]).join(&hash[2..]);
    std::fs::remove_file(object(missing.trim())).expect("it is there");
    repository.import(&["--dry-run"]).fails(1, &["`a.txt`, value:", missing.trim(), "git fsck"]);
    let skipped = repository.import(&["--dry-run", "--skip-bad"]).ok().stderr;
    assert!(skipped.contains("5 events would be imported"), "{skipped}");
    // A tree of an older commit is missing: git gives up.
    let tree = String::from_utf8(repository.git(&["rev-parse", "HEAD~1^{tree}"])).expect("a hash");
    std::fs::remove_file(object(tree.trim())).expect("it is there");
    let failed = repository.import(&["--skip-bad", "--dry-run"]);
    failed.fails(1, &["git log has failed", tree.trim()]);
}

/// A fake git that dies, prints nonsense or falls silent.
#[test]
fn a_git_that_dies_in_the_middle_is_never_the_end_of_the_history() {
    let repository = plain();
    let real = String::from_utf8(
        Command::new("sh").args(["-c", "command -v git"]).output().expect("a shell").stdout,
    );
    let real = real.expect("a text").trim().to_owned();
    for (verb, what, said) in [
        ("log", "git \"$@\" | head -c 300; echo 'fatal: out of luck' >&2; exit 3", "fatal: out of luck"),
        ("log", "git \"$@\" | head -c 300", "cut off"),
        ("log", "git \"$@\"; kill -9 $$", "git log has failed (signal: 9"),
        ("log", "echo hello", "cut off"),
        ("cat-file", "sed -u 2q | git \"$@\"; echo 'fatal: no luck' >&2; exit 4", "fatal: no luck"),
        ("cat-file", "git \"$@\"; exit 5", "git cat-file has failed (exit status: 5)"),
        ("cat-file", "sed -u 's/.*/x tree 0\\n/'", "it answers `x tree 0`"),
        ("cat-file", ":", "git cat-file"),
    ] {
        let tools = repository.place.directory.path().join("tools");
        let what = what.replace("git \"$@\"", &format!("{real} \"$@\""));
        let script =
            format!("#!/bin/sh\ncase \" $* \" in *' {verb} '*) {what};; *) exec {real} \"$@\";; esac\n");
        std::fs::create_dir_all(&tools).expect("a directory");
        std::fs::write(tools.join("git"), script).expect("it is written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(tools.join("git"), mode).expect("they are set");
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").expect("it is set"));
        let mut command = aevrion();
        command
            .args(["import", "--from", "git", "--dry-run", "--skip-bad"])
            .arg(&repository.work)
            .env("PATH", path);
        let finished: Finished = command.output().expect("it starts").into();
        finished.fails(1, &[said]);
    }
}

/// An interrupted import leaves no git process running.
#[test]
fn no_git_is_left_running() {
    let repository = plain();
    let tools = repository.place.directory.path().join("tools");
    let pids = repository.place.directory.path().join("pids");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' log '*|*' cat-file '*) echo $$ >> {}; exec sleep 600;; *) PATH=${{PATH#*:}}; exec git \"$@\";; esac\n",
        pids.display()
    );
    std::fs::create_dir_all(&tools).expect("a directory");
    std::fs::write(tools.join("git"), script).expect("it is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(tools.join("git"), mode).expect("they are set");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").expect("it is set"));
    let mut command = aevrion();
    command.args(["import", "--from", "git"]).arg(&repository.work).env("PATH", path);
    let mut child =
        command.arg("--data").arg(repository.place.data()).stderr(Stdio::null()).spawn().expect("it starts");
    let running = || {
        let pids = std::fs::read_to_string(&pids).unwrap_or_default();
        let pids: Vec<_> = pids.lines().map(|pid| pid.parse::<i32>().expect("a number")).collect();
        let sleeps = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
        };
        pids.into_iter().filter(sleeps).count()
    };
    while running() < 2 {
        assert!(child.try_wait().expect("it can be waited for").is_none(), "it has ended early");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
    assert_eq!(wait(&mut child), Some(143));
    assert_eq!(running(), 0);
}
