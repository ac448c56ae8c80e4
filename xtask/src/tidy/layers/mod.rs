//! The layers inside the core: no module names one above it.
//!
//! The check reads paths in code that begin with `crate` or `super`; documentation may point upwards, and so may tests,
//! which are outside the layers. Types that `lib.rs` re-exports at the root belong to the module they come from.

pub(super) mod picture;
mod root_names;

use super::Problem;
use super::rust::{Source, crate_paths, is_test_file, module_path};
use super::tree::Tree;
use root_names::{Home, RootNames};

/// Modules of one layer.
struct Layer {
    modules: &'static [&'static str],
    /// Whether these modules may name each other.
    acquainted: bool,
}

const fn blind(modules: &'static [&'static str]) -> Layer {
    Layer { modules, acquainted: false }
}

/// Lowest first.
const LAYERS: &[Layer] = &[
    blind(&["random"]),
    // Randomness, intentional bugs, which any layer may have, and the common part of all conformance suites.
    blind(&["chance", "fault_injection", "conformance"]),
    blind(&["bounds", "files", "id", "time"]),
    blind(&["event", "wall", "clock", "clock_fault", "coop"]),
    // The interface of an engine. It knows rows as bytes, not their contents.
    blind(&["store", "transport"]),
    // The identity of a peer: transports present and check it.
    blind(&["identity"]),
    // The contents of rows.
    blind(&["tables"]),
    // Acquainted: a write is refused because of a parameter, and the error names it. Above the tables, since the error
    // of a damaged row describes its key.
    Layer { modules: &["parameters", "error"], acquainted: true },
    blind(&["events", "arrivals"]),
    blind(&["tree", "index", "timetable", "sketch"]),
    // The messages between nodes; and the events that are new here, for the agent to pass on.
    blind(&["message", "news"]),
    // A replica's side of the conversation with a neighbour. It knows neither sockets nor stores.
    blind(&["agent"]),
    // Elapsed time, which nothing below may read.
    blind(&["steady"]),
    blind(&["replica"]),
    blind(&["replication"]),
    // Whole networks of replicas, for tests.
    blind(&["simulation"]),
];

const SOURCES: &str = "aevrion-core/src/";
const ROOT: &str = "aevrion-core/src/lib.rs";

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    check_against(tree, LAYERS)
}

fn check_against(tree: &Tree, layers: &[Layer]) -> Vec<Problem> {
    let Some(root) = tree.text(ROOT) else {
        return vec![Problem::in_file(ROOT, "missing: the layers are checked against its modules")];
    };
    let names = RootNames::parse(&Source::parse(root));
    let mut problems = table_problems(&names, layers);
    for (path, text) in tree.rust_files() {
        let Some(inside) = path.strip_prefix(SOURCES) else { continue };
        if path != ROOT && !is_test_file(inside) {
            problems.extend(file_problems(path, &module_path(inside), text, &names, layers));
        }
    }
    problems
}

/// Checks that the table matches the existing modules.
fn table_problems(names: &RootNames, layers: &[Layer]) -> Vec<Problem> {
    let in_table = |module: &str| layers.iter().any(|layer| layer.modules.contains(&module));
    let homeless = names.modules().filter(|module| !in_table(module));
    let mut problems: Vec<Problem> = homeless
        .map(|module| {
            Problem::in_file(ROOT, format!("the module `{module}` has no layer in xtask/src/tidy/layers"))
        })
        .collect();
    let listed = layers.iter().flat_map(|layer| layer.modules);
    let gone = listed.filter(|listed| !names.modules().any(|module| module == **listed));
    problems.extend(
        gone.map(|module| Problem::in_file(ROOT, format!("the layer of `{module}` has no such module"))),
    );
    problems
}

fn file_problems(
    path: &str,
    module: &[&str],
    text: &str,
    names: &RootNames,
    layers: &[Layer],
) -> Vec<Problem> {
    let Some(&here) = module.first() else { return Vec::new() };
    let source = Source::parse(text);
    let mut problems = Vec::new();
    let mut paths = crate_paths(&source, module);
    // A group below one name names it once.
    paths.dedup_by(|next, path| next.offset == path.offset);
    for path_named in paths {
        let Some(name) = path_named.head() else { continue };
        let fault = match names.home(name) {
            Home::Module(there) => fault(here, there, layers),
            Home::Elsewhere => None,
            Home::Unknown => Some(format!("lib.rs has no `{name}` whose layer could be known")),
        };
        problems.extend(fault.map(|what| Problem::at(path, source.line(path_named.offset), what)));
    }
    problems
}

/// The fault in `here` naming `there`, if there is one. Modules without a layer were reported before.
fn fault(here: &str, there: &str, layers: &[Layer]) -> Option<String> {
    let height = |module: &str| layers.iter().position(|layer| layer.modules.contains(&module));
    let (low, high) = (height(here)?, height(there)?);
    if here == there || high < low {
        None
    } else if high > low {
        Some(format!("`{here}` names `{there}`, which stands above it"))
    } else {
        (!layers[low].acquainted)
            .then(|| format!("`{here}` names `{there}`, and the two are blind to each other"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Layer] = &[
        blind(&["id"]),
        blind(&["tree", "index"]),
        Layer { modules: &["a", "b"], acquainted: true },
        blind(&["replica"]),
    ];
    const LIB: &str = "//! Why.\nmod id;\npub mod tree;\npub mod index;\nmod a;\nmod b;\nmod replica;\n\
        pub use id::EventId;\npub use replica::{Replica as Whole, Status};\npub use bytes::Bytes;\n";

    fn problems(file: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(ROOT, LIB), (&format!("{SOURCES}{file}"), text)]);
        check_against(&tree, TABLE).into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn a_path_downwards_is_fine() {
        assert!(
            problems(
                "replica/open.rs",
                "use super::Status;\nuse crate::tree::{Node, Root};\nuse crate::EventId;"
            )
            .is_empty()
        );
        assert!(problems("tree/pass.rs", "use crate::{Bytes, EventId};").is_empty());
    }

    #[test]
    fn a_path_upwards_is_found_however_it_is_written() {
        for text in [
            "use crate::replica::Status;",
            "use crate::{EventId, Status};",
            "use crate::{EventId, replica::{self, Status}};",
            "fn f() -> crate::Whole { todo }",
            "use super::super::replica;",
            "mod inner { fn f() { super::super::super::replica::g() } }",
            "use super::super::{replica::Status, id};",
            "macro_rules! m { () => { $crate::replica::f() } }",
        ] {
            let found = problems("tree/pass.rs", text);
            assert_eq!(
                found,
                ["aevrion-core/src/tree/pass.rs:1: `tree` names `replica`, which stands above it"],
                "{text}"
            );
        }
    }

    #[test]
    fn neighbours_are_blind_unless_the_table_says_otherwise() {
        assert!(
            problems("tree/mod.rs", "\nuse crate::index::Reader;")[0]
                .contains("mod.rs:2: `tree` names `index`, and")
        );
        assert!(problems("tree/mod.rs", "use super::index::Reader;")[0].contains("blind"));
        assert!(problems("a.rs", "use crate::b::B;").is_empty());
    }

    #[test]
    fn documentation_and_tests_may_point_upwards() {
        let text = "//! See [`crate::replica`].\nconst A: &str = \"crate::replica\";\n\
            #[cfg(test)]\nmod tests { use crate::replica::Status; }\n";
        assert!(problems("tree/mod.rs", text).is_empty());
        assert!(problems("tree/tests.rs", "use crate::replica::Status;").is_empty());
    }

    #[test]
    fn what_cannot_be_known_is_not_taken_for_harmless() {
        assert!(problems("tree/mod.rs", "use crate::Strange;")[0].contains("`Strange`"));
        assert!(problems("tree/mod.rs", "use crate::*;")[0].contains("`*`"));
    }

    #[test]
    fn the_table_and_the_modules_agree() {
        let tree = Tree::of(&[(ROOT, "mod id;\nmod fresh;\n")]);
        let found: Vec<String> =
            check_against(&tree, &[blind(&["id", "gone"])]).into_iter().map(|p| p.what).collect();
        assert!(found[0].contains("`fresh` has no layer") && found[1].contains("`gone`"), "{found:?}");
        assert_eq!(check_against(&Tree::of(&[]), TABLE).len(), 1);
    }
}
