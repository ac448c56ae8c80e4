//! The picture of the layers in docs/ARCHITECTURE.md. It is drawn from the table that the check of the layers uses, and
//! from the members of the workspace, so that it cannot say anything else.

use super::{LAYERS, Layer};
use crate::tidy::Problem;
use crate::tidy::crates::{self, Place};
use crate::tidy::manifest;
use crate::tidy::tree::Tree;

pub(in crate::tidy) const DOCUMENT: &str = "docs/ARCHITECTURE.md";
const BEGIN: &str = "<!-- The layers: drawn by `cargo xtask tidy --write`. -->\n";
const END: &str = "<!-- End of the layers. -->\n";

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Problem> {
    check_against(tree, LAYERS)
}

fn check_against(tree: &Tree, layers: &[Layer]) -> Vec<Problem> {
    let document = tree.text(DOCUMENT).unwrap_or_default();
    let mut problems = match redraw(tree, layers) {
        Ok(new) if new == document => Vec::new(),
        Ok(_) => vec![Problem::in_file(
            DOCUMENT,
            "the picture of the layers is out of date: run `cargo xtask tidy --write`",
        )],
        Err(problem) => vec![problem],
    };
    let modules = layers.iter().flat_map(|layer| layer.modules);
    let unexplained = modules.filter(|module| !document.contains(&format!("\n| `{module}` | ")));
    problems.extend(
        unexplained
            .map(|module| Problem::in_file(DOCUMENT, format!("no row of a table explains `{module}`"))),
    );
    problems
}

/// The document with the present picture.
pub(in crate::tidy) fn redrawn(tree: &Tree) -> Result<String, Problem> {
    redraw(tree, LAYERS)
}

fn redraw(tree: &Tree, layers: &[Layer]) -> Result<String, Problem> {
    let document = tree.text(DOCUMENT).ok_or_else(|| Problem::in_file(DOCUMENT, "missing"))?;
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        let marks = format!("has no lines `{}` and `{}`", BEGIN.trim_end(), END.trim_end());
        return Err(Problem::in_file(DOCUMENT, marks));
    };
    let members = manifest::members(tree)?;
    let at = |wanted: &[Place]| {
        let names = members.iter().map(|member| member.name.as_str());
        names
            .filter(|name| crates::place(name).is_some_and(|place| wanted.contains(&place)))
            .collect::<Vec<_>>()
            .join("   ")
    };
    let tiers = [&[Place::Node][..], &[Place::StoreAdapter, Place::NetAdapter], &[Place::Net]];
    let above: Vec<String> = tiers.iter().map(|tier| at(tier)).filter(|tier| !tier.is_empty()).collect();
    let picture = draw(&above, &at(&[Place::Core]), layers);
    Ok(format!("{before}{BEGIN}\n```text\n{picture}```\n\n{END}{after}"))
}

/// Crates above the core in one box each, then the core with its layers, the highest first.
fn draw(above: &[String], core: &str, layers: &[Layer]) -> String {
    let lines: Vec<String> = layers.iter().rev().map(line).collect();
    let texts = above.iter().map(String::as_str).chain([core]).chain(lines.iter().map(String::as_str));
    let width = texts.map(|text| text.chars().count()).max().unwrap_or_default();
    let rule = |left: char, right: char| format!("{left}{}{right}\n", "─".repeat(width + 2));
    let row = |text: &str| format!("│ {text}{} │\n", " ".repeat(width - text.chars().count()));
    let title = format!("├─ {core} {}┤\n", "─".repeat(width - core.chars().count() - 1));
    let inside: String = lines.iter().map(|line| row(line)).collect();
    let boxes: Vec<String> = above.iter().map(|tier| row(tier)).collect();
    [rule('┌', '┐'), boxes.join(&rule('├', '┤')), title, inside, rule('└', '┘')].concat()
}

fn line(layer: &Layer) -> String {
    layer.modules.join(if layer.acquainted { " ↔ " } else { "   " })
}

#[cfg(test)]
mod tests {
    use super::super::blind;
    use super::*;

    const TABLE: &[Layer] = &[blind(&["id", "time"]), Layer { modules: &["a", "b"], acquainted: true }];
    const DRAWN: &str = "\
┌─────────────────┐
│ aevrion-node    │
├─────────────────┤
│ aevrion-store-x │
├─ aevrion-core ──┤
│ a ↔ b           │
│ id   time       │
└─────────────────┘
";

    fn tree(document: &str) -> Tree {
        let package = |name: &str| format!("[package]\nname = \"{name}\"\n");
        let members = "[workspace]\nmembers = [\"core\", \"store\", \"node\"]\n";
        Tree::of(&[
            ("Cargo.toml", members),
            ("core/Cargo.toml", &package("aevrion-core")),
            ("store/Cargo.toml", &package("aevrion-store-x")),
            ("node/Cargo.toml", &package("aevrion-node")),
            (DOCUMENT, document),
        ])
    }

    fn document(picture: &str, modules: &[&str]) -> String {
        let rows: String = modules.iter().map(|module| format!("| `{module}` | what for |\n")).collect();
        format!("# A\n{BEGIN}{picture}{END}\n{rows}")
    }

    fn problems(document: &str) -> Vec<String> {
        check_against(&tree(document), TABLE).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn a_picture_that_is_out_of_date_is_found_and_redrawn() {
        let all = ["id", "time", "a", "b"];
        let stale = document("old\n", &all);
        assert!(problems(&stale)[0].contains("run `cargo xtask tidy --write`"));
        let Ok(redrawn) = redraw(&tree(&stale), TABLE) else { panic!("it has both marks") };
        assert_eq!(redrawn, document(&format!("\n```text\n{DRAWN}```\n\n"), &all));
        assert!(problems(&redrawn).is_empty());
    }

    #[test]
    fn a_document_without_the_marks_is_found() {
        assert!(problems("# A\n")[0].contains("has no lines"));
        assert!(problems(&format!("{END}{BEGIN}"))[0].contains("has no lines"));
    }

    #[test]
    fn a_module_without_an_explanation_is_found() {
        let found = problems(&document("", &["id", "time", "a"]));
        assert!(found.contains(&"no row of a table explains `b`".to_owned()), "{found:?}");
    }
}
