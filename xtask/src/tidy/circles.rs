//! No circles among the modules of one folder: what two of them need stands below both.
//!
//! An edge is a path in code that begins with `crate` or `super`, outside tests. A name that a `mod.rs` re-exports or
//! imports belongs to the file that defines it; a name that comes through `*` is taken for the `mod.rs`'s own. All
//! files of a folder count as the module that has its name. Edges between a module and its own children do not count: a
//! `mod.rs` composes its files. At the root of the core, the layers decide instead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Problem;
use super::rust::{Source, crate_paths, is_test_file, leaves, module_path};
use super::tree::Tree;

/// The crate whose root is checked by its layers.
const LAYERED: &str = "aevrion-core";

/// A path of a module or an item from the root of its crate.
type Path = Vec<String>;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut crates: BTreeMap<&str, Vec<File<'_>>> = BTreeMap::new();
    for (path, text) in tree.rust_files() {
        let Some((name, inside)) = path.split_once("/src/") else { continue };
        if !is_test_file(inside) {
            let file = File { path, module: module_path(inside), source: Source::parse(text) };
            crates.entry(name).or_default().push(file);
        }
    }
    crates.iter().flat_map(|(name, files)| in_crate(name, files)).collect()
}

/// A source file of a crate.
struct File<'t> {
    path: &'t str,
    module: Vec<&'t str>,
    source: Source,
}

/// The modules of one folder: who names whom, and where first.
type Graph = BTreeMap<String, BTreeMap<String, Place>>;

#[derive(Debug, Clone)]
struct Place {
    path: String,
    line: usize,
}

fn in_crate(name: &str, files: &[File<'_>]) -> Vec<Problem> {
    let names = Names::of(files);
    let mut folders: BTreeMap<Path, Graph> = BTreeMap::new();
    for file in files {
        for named in crate_paths(&file.source, &file.module) {
            let home = names.home(&named.segments);
            let shared = file.module.iter().zip(&home).take_while(|(here, there)| here == there).count();
            let (Some(here), Some(there)) = (file.module.get(shared), home.get(shared)) else { continue };
            let place = Place { path: file.path.to_owned(), line: file.source.line(named.offset) };
            let graph = folders.entry(home[..shared].to_vec()).or_default();
            graph.entry((*here).to_owned()).or_default().entry(there.clone()).or_insert(place);
        }
    }
    let judged = folders.iter().filter(|(folder, _)| name != LAYERED || !folder.is_empty());
    judged.flat_map(|(_, graph)| circles(graph)).collect()
}

/// The modules of a crate, and the names that each has from elsewhere in the crate.
#[derive(Default)]
struct Names {
    modules: BTreeSet<Path>,
    /// By the path of the name.
    imported: BTreeMap<Path, Path>,
}

impl Names {
    fn of(files: &[File<'_>]) -> Self {
        let path = |module: &[&str]| module.iter().map(ToString::to_string).collect::<Path>();
        let mut names = Self::default();
        for file in files {
            names.modules.extend((0..=file.module.len()).map(|end| path(&file.module[..end])));
        }
        for file in files {
            names.import(&path(&file.module), &file.source);
        }
        names
    }

    fn import(&mut self, module: &Path, source: &Source) {
        let tokens = source.tokens();
        let uses =
            tokens.iter().enumerate().filter(|&(at, token)| token.text() == "use" && !source.is_test(at));
        for leaf in uses.flat_map(|(at, _)| leaves(tokens, at + 1)) {
            let mut origin = module.clone();
            let mut segments = leaf.segments.iter().copied().peekable();
            while let Some(word) = segments.next_if(|word| matches!(*word, "crate" | "self" | "super")) {
                match word {
                    "crate" => origin.clear(),
                    "super" => drop(origin.pop()),
                    _ => {}
                }
            }
            let rest: Vec<&str> = segments.filter(|word| *word != "self").collect();
            let name = leaf.alias.or(rest.last().copied());
            origin.extend(rest.into_iter().map(str::to_owned));
            let Some(name) = name.filter(|name| *name != "_") else { continue };
            let name: Path = module.iter().cloned().chain([name.to_owned()]).collect();
            if name != origin {
                self.imported.insert(name, origin);
            }
        }
    }

    /// The module whose file defines what `path` names.
    fn home(&self, path: &[String]) -> Path {
        let mut path = path.to_vec();
        // Each step follows one import; imports in a circle do not compile.
        'follow: for _ in 0..16 {
            for end in 1..=path.len() {
                if self.modules.contains(&path[..end]) {
                    continue;
                }
                let Some(origin) = self.imported.get(&path[..end]) else { return path[..end - 1].to_vec() };
                path = origin.iter().chain(&path[end..]).cloned().collect();
                continue 'follow;
            }
            return path;
        }
        Path::new()
    }
}

/// The shortest circle through each module that is in no circle reported before.
fn circles(graph: &Graph) -> Vec<Problem> {
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    let mut problems = Vec::new();
    for start in graph.keys() {
        if reported.contains(start.as_str()) {
            continue;
        }
        let Some(circle) = shortest(graph, start) else { continue };
        let place = &graph[start][circle.get(1).copied().unwrap_or(start)];
        let names: Vec<String> =
            circle.iter().chain([&start.as_str()]).map(|name| format!("`{name}`")).collect();
        let what = format!("a circle of imports: {}; move what both need below both", names.join(" → "));
        problems.push(Problem::at(&place.path, place.line, what));
        reported.extend(circle);
    }
    problems
}

/// The shortest way from `start` back to it, without its return.
fn shortest<'g>(graph: &'g Graph, start: &'g str) -> Option<Vec<&'g str>> {
    let mut ways = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let named = way.last().and_then(|last| graph.get(*last)).into_iter().flat_map(BTreeMap::keys);
        for next in named {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.as_str()) {
                ways.push_back(way.iter().copied().chain([next.as_str()]).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (format!("c/src/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        check(&Tree::of(&files)).into_iter().map(|problem| problem.to_string()).collect()
    }

    const CIRCLE: &str = "a circle of imports: `a` → `b` → `a`; move what both need below both";

    #[test]
    fn a_circle_is_found_however_the_paths_are_written() {
        for (a, b) in [
            ("use super::b::B;", "use super::a::A;"),
            ("use crate::m::b;", "fn f() { super::a::g() }"),
            ("use super::{b::{B, C}};", "use crate::m::{self, a::*};"),
        ] {
            let circle = found(&[("m/mod.rs", "mod a; mod b;"), ("m/a.rs", a), ("m/b.rs", b)]);
            assert_eq!(circle, [format!("c/src/m/a.rs:1: {CIRCLE}")], "{a} {b}");
        }
    }

    #[test]
    fn a_circle_through_names_of_the_folder_is_found() {
        for root in [
            "mod a; mod b; pub use a::A; use b::B;",
            "mod a; mod b; pub use self::a::A; pub use crate::m::b::B;",
            "mod a; mod b; pub use a::{Other as A}; pub use b::{self, B};",
        ] {
            let files = [("m/mod.rs", root), ("m/a.rs", "use super::B;"), ("m/b.rs", "use crate::m::A;")];
            assert_eq!(found(&files), [format!("c/src/m/a.rs:1: {CIRCLE}")], "{root}");
        }
        let outside = [
            ("lib.rs", "mod m; mod n; pub use n::Far;"),
            ("n.rs", "use crate::m::Near;"),
            ("m/mod.rs", "mod a; pub use a::Near;"),
            ("m/a.rs", "use crate::Far;"),
        ];
        assert_eq!(found(&outside).len(), 1);
    }

    #[test]
    fn a_folder_counts_as_its_module_and_a_longer_circle_is_reported_once() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a/mod.rs", "mod deep;"),
            ("a/deep.rs", "\nuse super::super::b;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a;"),
        ];
        let found = found(&files);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("c/src/a/deep.rs:2: ") && found[0].contains("`a` → `b` → `c` → `a`"));
    }

    #[test]
    fn a_folder_and_its_own_files_and_tests_make_no_circle() {
        let own = [("m/mod.rs", "mod a; use a::A; struct M;"), ("m/a.rs", "use super::M;")];
        assert!(found(&own).is_empty());
        let tests = [("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }")];
        assert!(found(&tests).is_empty());
        assert!(found(&[("a.rs", "use crate::b::B;"), ("b/tests.rs", "use crate::a::A;")]).is_empty());
    }

    #[test]
    fn the_layers_decide_at_the_root_of_the_core() {
        let tree =
            [("aevrion-core/src/a.rs", "use crate::b::B;"), ("aevrion-core/src/b.rs", "use crate::a::A;")];
        assert!(check(&Tree::of(&tree)).is_empty());
    }
}
