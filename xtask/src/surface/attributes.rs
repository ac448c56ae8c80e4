//! The attributes that decide whether an embedder sees an item: `cfg`, `doc(hidden)`, and either in a `cfg_attr`.
//!
//! A build for embedders has neither `test` nor the feature `testkit`; every other condition may hold.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Lit, Meta, Token};

const TEST_FEATURE: &str = "testkit";

/// Whether embedders get the item at all.
pub(super) fn is_built(attributes: &[Attribute]) -> bool {
    let conditions = metas(attributes).into_iter().filter(|meta| meta.path().is_ident("cfg"));
    conditions.flat_map(|meta| arguments(&meta)).all(|condition| evaluate(&condition) != Answer::No)
}

pub(super) fn is_hidden(attributes: &[Attribute]) -> bool {
    let docs = metas(attributes).into_iter().filter(|meta| meta.path().is_ident("doc"));
    docs.flat_map(|meta| arguments(&meta)).any(|argument| argument.path().is_ident("hidden"))
}

/// Neither left out of the build nor hidden.
pub(super) fn is_shown(attributes: &[Attribute]) -> bool {
    is_built(attributes) && !is_hidden(attributes)
}

pub(super) fn has(attributes: &[Attribute], name: &str) -> bool {
    metas(attributes).iter().any(|meta| meta.path().is_ident(name))
}

/// All attributes, with those in a `cfg_attr` whose condition may hold.
fn metas(attributes: &[Attribute]) -> Vec<Meta> {
    attributes.iter().flat_map(|attribute| unwrapped(attribute.meta.clone())).collect()
}

fn unwrapped(meta: Meta) -> Vec<Meta> {
    if !meta.path().is_ident("cfg_attr") {
        return vec![meta];
    }
    let mut parts = arguments(&meta).into_iter();
    match parts.next().map(|condition| evaluate(&condition)) {
        None | Some(Answer::No) => Vec::new(),
        Some(Answer::Yes | Answer::Depends) => parts.flat_map(unwrapped).collect(),
    }
}

/// The arguments in parentheses; none if they are not metas, as in `doc = "text"`.
fn arguments(meta: &Meta) -> Vec<Meta> {
    let Meta::List(list) = meta else { return Vec::new() };
    let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    parsed.map(|parts| parts.into_iter().collect()).unwrap_or_default()
}

/// Whether a condition holds in a build for embedders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Depends,
}

fn evaluate(condition: &Meta) -> Answer {
    if condition.path().is_ident("test") || is_test_feature(condition) {
        return Answer::No;
    }
    let parts: Vec<Answer> = arguments(condition).iter().map(evaluate).collect();
    let any = |answer| parts.contains(&answer);
    let name = condition.path().get_ident().map(ToString::to_string).unwrap_or_default();
    match name.as_str() {
        "not" if any(Answer::No) => Answer::Yes,
        "not" if any(Answer::Yes) => Answer::No,
        "all" if any(Answer::No) => Answer::No,
        "all" if !any(Answer::Depends) => Answer::Yes,
        "any" if any(Answer::Yes) => Answer::Yes,
        "any" if !any(Answer::Depends) => Answer::No,
        _ => Answer::Depends,
    }
}

fn is_test_feature(condition: &Meta) -> bool {
    let Meta::NameValue(pair) = condition else { return false };
    let Expr::Lit(value) = &pair.value else { return false };
    let Lit::Str(text) = &value.lit else { return false };
    pair.path.is_ident("feature") && text.value() == TEST_FEATURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(text: &str) -> Vec<Attribute> {
        let Ok(item) = syn::parse_str::<syn::ItemStruct>(&format!("{text}\nstruct S;")) else {
            panic!("{text} is no attribute")
        };
        item.attrs
    }

    #[test]
    fn conditions_of_tests_leave_an_item_out() {
        for out in [
            "#[cfg(test)]",
            "#[cfg(feature = \"testkit\")]",
            "#[cfg(all(unix, feature = \"testkit\"))]",
            "#[cfg(any(test, feature = \"testkit\"))]",
            "#[cfg(not(not(test)))]",
            "#[cfg_attr(not(test), cfg(test))]",
        ] {
            assert!(!is_built(&attributes(out)), "{out}");
        }
        for built in [
            "",
            "#[cfg(not(feature = \"testkit\"))]",
            "#[cfg(feature = \"identity\")]",
            "#[cfg(not(unix))]",
            "#[cfg(any(test, unix))]",
            "#[cfg(all(unix, not(test)))]",
        ] {
            assert!(is_built(&attributes(built)), "{built}");
        }
    }

    #[test]
    fn hidden_items_are_known() {
        for hidden in [
            "#[doc(hidden)]",
            "#[doc = \"text\"] #[doc(hidden, alias = \"other\")]",
            "#[cfg_attr(not(feature = \"testkit\"), doc(hidden))]",
        ] {
            assert!(is_hidden(&attributes(hidden)), "{hidden}");
        }
        for shown in ["/// hidden", "#[doc(alias = \"hidden\")]", "#[cfg_attr(test, doc(hidden))]"] {
            assert!(!is_hidden(&attributes(shown)), "{shown}");
        }
    }
}
