//! The manifests of the workspace, parsed as far as the checks need.

use super::Problem;
use super::tree::Tree;

pub(super) const WORKSPACE: &str = "Cargo.toml";

/// The manifest of one member.
pub(super) struct Manifest {
    pub(super) path: String,
    /// The folder of the member.
    pub(super) folder: String,
    /// The name of the package.
    pub(super) name: String,
    pub(super) table: toml::Table,
}

/// One entry of a dependency table.
pub(super) struct Dependency<'a> {
    /// The package, also if the entry renames it.
    pub(super) package: &'a str,
    pub(super) for_tests: bool,
    pub(super) value: &'a toml::Value,
}

impl Manifest {
    /// The member's dependencies, on every platform and for every purpose.
    pub(super) fn dependencies(&self) -> Vec<Dependency<'_>> {
        let platforms = self.table.get("target").and_then(toml::Value::as_table);
        let tables = std::iter::once(&self.table)
            .chain(platforms.into_iter().flat_map(|table| table.values()).filter_map(toml::Value::as_table));
        let kinds = ["dependencies", "build-dependencies", "dev-dependencies"];
        tables.flat_map(|table| kinds.into_iter().flat_map(|kind| entries(table, kind))).collect()
    }
}

fn entries<'a>(table: &'a toml::Table, kind: &str) -> Vec<Dependency<'a>> {
    let for_tests = kind == "dev-dependencies";
    let entries = table.get(kind).and_then(toml::Value::as_table).into_iter().flatten();
    entries
        .map(|(name, value)| {
            let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(name);
            Dependency { package, for_tests, value }
        })
        .collect()
}

impl Dependency<'_> {
    pub(super) fn has_feature(&self, feature: &str) -> bool {
        has_feature(self.value, feature)
    }

    pub(super) fn is_from_workspace(&self) -> bool {
        self.value.get("workspace").and_then(toml::Value::as_bool) == Some(true)
    }
}

/// Whether an entry, of a member or of the workspace, enables `feature`.
pub(super) fn has_feature(entry: &toml::Value, feature: &str) -> bool {
    let features = entry.get("features").and_then(toml::Value::as_array);
    features.is_some_and(|features| features.iter().any(|name| name.as_str() == Some(feature)))
}

/// The manifest of the workspace.
pub(super) fn workspace(tree: &Tree) -> Result<toml::Table, Problem> {
    let document = parse(tree, WORKSPACE)?;
    let table = document.get("workspace").and_then(toml::Value::as_table).cloned();
    table.ok_or_else(|| Problem::in_file(WORKSPACE, "has no table [workspace]"))
}

/// All members, in the order of the workspace.
pub(super) fn members(tree: &Tree) -> Result<Vec<Manifest>, Problem> {
    let workspace = workspace(tree)?;
    let folders = workspace.get("members").and_then(toml::Value::as_array);
    let folders = folders.ok_or_else(|| Problem::in_file(WORKSPACE, "names no members"))?;
    folders.iter().filter_map(toml::Value::as_str).map(|folder| member(tree, folder)).collect()
}

fn member(tree: &Tree, folder: &str) -> Result<Manifest, Problem> {
    let path = format!("{folder}/Cargo.toml");
    let table = parse(tree, &path)?;
    let name = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let name = name.ok_or_else(|| Problem::in_file(&path, "the package has no name"))?.to_owned();
    Ok(Manifest { path, folder: folder.to_owned(), name, table })
}

fn parse(tree: &Tree, path: &str) -> Result<toml::Table, Problem> {
    let text = tree.text(path).ok_or_else(|| Problem::in_file(path, "missing"))?;
    toml::from_str(text).map_err(|error| Problem::in_file(path, format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_every_kind_and_platform_are_found() {
        let text = "[package]\nname = \"a\"\n[dependencies]\nx = \"1\"\n[build-dependencies]\ny = \"1\"\n\
            [dev-dependencies]\nz = { workspace = true, features = [\"f\"] }\n\
            [target.'cfg(unix)'.dependencies]\nalias = { package = \"u\", version = \"1\" }\n";
        let tree = Tree::of(&[(WORKSPACE, "[workspace]\nmembers = [\"a\"]"), ("a/Cargo.toml", text)]);
        let Ok(members) = members(&tree) else { panic!("the manifests are sound") };
        let found = members[0].dependencies();
        assert_eq!(found.iter().map(|d| d.package).collect::<Vec<_>>(), ["x", "y", "z", "u"]);
        assert_eq!(found.iter().map(|d| d.for_tests).collect::<Vec<_>>(), [false, false, true, false]);
        assert!(found[2].has_feature("f") && found[2].is_from_workspace() && !found[0].is_from_workspace());
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_a_problem() {
        for files in [
            vec![],
            vec![(WORKSPACE, "[workspace]")],
            vec![(WORKSPACE, "[workspace]\nmembers = [\"a\"]")],
            vec![(WORKSPACE, "[workspace]\nmembers = [\"a\"]"), ("a/Cargo.toml", "[package]")],
            vec![(WORKSPACE, "[workspace]\nmembers = [\"a\"]"), ("a/Cargo.toml", "[")],
        ] {
            assert!(members(&Tree::of(&files)).is_err(), "{files:?}");
        }
    }
}
