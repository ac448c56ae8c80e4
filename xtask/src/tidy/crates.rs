//! The layers between crates: adapters depend on the core only, those of networks also on their common
//! part, the node on all adapters, the core on none, and the core's test features are built into nothing but tests.

use super::Problem;
use super::manifest::{self, Manifest, WORKSPACE};
use super::tree::Tree;

const CORE: &str = "aevrion-core";
/// The common part of the network adapters.
const NET: &str = "aevrion-net";
const TEST_FEATURE: &str = "testkit";

/// The permitted dependencies of a member among the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Core,
    /// The common part of the network adapters, which is for them alone.
    Net,
    NetAdapter,
    StoreAdapter,
    Node,
    /// Tools around the product, which builds without them.
    Tool,
}

pub(super) fn place(name: &str) -> Option<Place> {
    match name {
        CORE => Some(Place::Core),
        NET => Some(Place::Net),
        "aevrion-node" => Some(Place::Node),
        "xtask" => Some(Place::Tool),
        _ if name.starts_with("aevrion-net-") => Some(Place::NetAdapter),
        _ if name.starts_with("aevrion-store-") => Some(Place::StoreAdapter),
        _ => None,
    }
}

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let (workspace, members) = match (manifest::workspace(tree), manifest::members(tree)) {
        (Ok(workspace), Ok(members)) => (workspace, members),
        (Err(problem), _) | (_, Err(problem)) => return vec![problem],
    };
    let mut problems: Vec<Problem> =
        members.iter().flat_map(|member| [edges(member, &members), testkit_in(member)]).flatten().collect();
    let shared = workspace.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten();
    let shared = shared.filter(|(_, entry)| manifest::has_feature(entry, TEST_FEATURE));
    problems.extend(shared.map(|(name, _)| Problem::in_file(WORKSPACE, everywhere(name))));
    problems
}

fn everywhere(name: &str) -> String {
    format!("`{TEST_FEATURE}` of {name} would be built in outside tests; it belongs in [dev-dependencies]")
}

/// Dependencies among members in the wrong direction.
fn edges(member: &Manifest, members: &[Manifest]) -> Vec<Problem> {
    let name = member.name.as_str();
    let Some(place) = place(name) else {
        return vec![Problem::in_file(
            &member.path,
            format!("{name} has no place in xtask/src/tidy/crates.rs"),
        )];
    };
    let mut problems = Vec::new();
    for dependency in member.dependencies() {
        let there = dependency.package;
        let own_tests = there == name && dependency.for_tests;
        if own_tests || !members.iter().any(|member| member.name == there) {
            continue;
        }
        let rule = match place {
            Place::Core => "the core depends on no other member",
            Place::Tool => "xtask depends on no other member: it must build while they do not",
            Place::NetAdapter if !matches!(there, CORE | NET) => {
                "an adapter of a network depends on the core and aevrion-net only"
            }
            Place::Net | Place::StoreAdapter if there != CORE => "an adapter depends on the core only",
            Place::Node if there == NET => "aevrion-net is for the adapters of networks only",
            Place::Net | Place::NetAdapter | Place::StoreAdapter | Place::Node => continue,
        };
        problems.push(Problem::in_file(&member.path, format!("{name} depends on {there}, but {rule}")));
    }
    problems
}

/// Uses of the test feature outside tests.
fn testkit_in(member: &Manifest) -> Vec<Problem> {
    let enabled =
        member.dependencies().into_iter().filter(|one| !one.for_tests && one.has_feature(TEST_FEATURE));
    let mut problems: Vec<Problem> =
        enabled.map(|one| Problem::in_file(&member.path, everywhere(one.package))).collect();
    let features = member.table.get("features").and_then(toml::Value::as_table).into_iter().flatten();
    for (feature, parts) in features {
        let passes_on = |part: &toml::Value| part.as_str().is_some_and(is_test_feature);
        if parts.as_array().is_some_and(|parts| parts.iter().any(passes_on)) {
            let what = format!(
                "the feature `{feature}` enables `{TEST_FEATURE}`, which is for [dev-dependencies] only"
            );
            problems.push(Problem::in_file(&member.path, what));
        }
    }
    problems
}

/// `testkit`, or `crate/testkit`, or `crate?/testkit`.
fn is_test_feature(part: &str) -> bool {
    part.rsplit('/').next() == Some(TEST_FEATURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems of a workspace whose member `name` has the manifest `body`, beside a core and one adapter.
    fn problems(name: &str, body: &str) -> Vec<String> {
        let other = if name == CORE { "" } else { "\"aevrion-core\"," };
        let workspace = format!("[workspace]\nmembers = [{other} \"aevrion-net-tcp\", \"{name}\"]\n");
        let package = |name: &str, body: &str| format!("[package]\nname = \"{name}\"\n{body}");
        let (core, net) = (package(CORE, ""), package("aevrion-net-tcp", ""));
        let (path, member) = (format!("{name}/Cargo.toml"), package(name, body));
        let tree = Tree::of(&[
            (WORKSPACE, &workspace),
            ("aevrion-core/Cargo.toml", &core),
            ("aevrion-net-tcp/Cargo.toml", &net),
            (&path, &member),
        ]);
        check(&tree).into_iter().map(|problem| problem.what).collect()
    }

    const ON_CORE: &str = "[dependencies]\naevrion-core.workspace = true\n";
    const ON_NET: &str = "[dev-dependencies]\naevrion-net-tcp.workspace = true\n";

    #[test]
    fn who_may_depend_on_whom() {
        assert!(problems("aevrion-store-x", ON_CORE).is_empty());
        assert!(problems("aevrion-store-x", ON_NET)[0].contains("an adapter depends on the core only"));
        assert!(problems("aevrion-node", &format!("{ON_CORE}aevrion-net-tcp.workspace = true")).is_empty());
        assert!(problems("aevrion-net-x", ON_NET)[0].contains("depends on the core and aevrion-net only"));
        assert!(problems("aevrion-net", ON_NET)[0].contains("an adapter depends on the core only"));
        assert!(problems(CORE, ON_NET)[0].contains("the core depends on no other"));
        assert!(problems("xtask", ON_CORE)[0].contains("must build while they do not"));
        assert!(problems("aevrion-fresh", "")[0].contains("no place"));
    }

    #[test]
    fn the_core_may_test_itself() {
        let on_itself = "{ path = \".\", features = [\"testkit\"] }";
        assert!(problems(CORE, &format!("[dev-dependencies]\naevrion-core = {on_itself}")).is_empty());
        assert_eq!(problems(CORE, &format!("[dependencies]\naevrion-core = {on_itself}")).len(), 2);
    }

    #[test]
    fn the_test_feature_stays_in_tests() {
        let entry = "aevrion-core = { workspace = true, features = [\"testkit\"] }";
        assert!(problems("aevrion-node", &format!("[dev-dependencies]\n{entry}")).is_empty());
        assert!(problems("aevrion-node", &format!("[dependencies]\n{entry}"))[0].contains("outside tests"));
        let through = "[features]\ndefault = [\"aevrion-core/testkit\"]";
        assert!(problems("aevrion-node", through)[0].contains("the feature `default` enables"));
        let own = "[features]\ntestkit = [\"dep:tempfile\"]";
        assert!(problems("aevrion-node", own).is_empty());
    }

    #[test]
    fn the_test_feature_is_not_shared_by_the_workspace() {
        let text = "[workspace]\nmembers = []\n[workspace.dependencies]\n\
            aevrion-core = { path = \"aevrion-core\", features = [\"testkit\"] }\n";
        assert_eq!(check(&Tree::of(&[(WORKSPACE, text)])).len(), 1);
    }
}
