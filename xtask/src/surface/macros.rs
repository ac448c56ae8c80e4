//! Items made by a macro of the same module: the tool would otherwise miss them.
//!
//! One shape is understood, that of a macro which writes the same type several times: `$(#[$doc:meta])*`, then names
//! and single tokens. A macro of another shape that makes public items is an error, so that none is missed in silence.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{Item, ItemMacro};

/// Replaces the macro calls in `items` by the items they make.
pub(super) fn expand(items: Vec<Item>) -> Result<Vec<Item>> {
    let definitions: BTreeMap<String, TokenStream> = items.iter().filter_map(definition).collect();
    let mut expanded = Vec::new();
    for item in items {
        match item {
            Item::Macro(call) if call.ident.is_none() => expanded.extend(expand_call(&call, &definitions)?),
            Item::Verbatim(tokens) if makes_public(&tokens) => bail!("`{tokens}` is not understood"),
            other => expanded.push(other),
        }
    }
    Ok(expanded)
}

fn definition(item: &Item) -> Option<(String, TokenStream)> {
    let Item::Macro(ItemMacro { ident: Some(name), mac, .. }) = item else { return None };
    Some((name.to_string(), mac.tokens.clone()))
}

fn expand_call(call: &ItemMacro, definitions: &BTreeMap<String, TokenStream>) -> Result<Vec<Item>> {
    let name = call.mac.path.get_ident().map(ToString::to_string).unwrap_or_default();
    let input = &call.mac.tokens;
    match definitions.get(&name) {
        Some(rules) if makes_public(rules) || makes_public(input) => {
            let Some(made) = apply(rules.clone(), input.clone()) else {
                bail!("`{name}!` makes public items, and xtask/src/surface/macros.rs does not understand it");
            };
            Ok(syn::parse2::<syn::File>(made)?.items)
        }
        None if makes_public(input) => bail!("`{name}!` is given public items, and is defined elsewhere"),
        _ => Ok(Vec::new()),
    }
}

fn makes_public(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Group(group) => makes_public(&group.stream()),
        other => is(&other, "pub"),
    })
}

/// The output of the only rule; nothing if its shape is another.
fn apply(rules: TokenStream, input: TokenStream) -> Option<TokenStream> {
    let mut rules = rules.into_iter();
    let Some(TokenTree::Group(pattern)) = rules.next() else { return None };
    let body = rules.find_map(|token| match token {
        TokenTree::Group(body) => Some(body),
        _ => None,
    })?;
    if rules.any(|token| !is(&token, ";")) {
        return None;
    }
    let (attributes, input) = split_attributes(input);
    let values = bind(pattern.stream(), input)?;
    substitute(body.stream(), &attributes, &values)
}

fn split_attributes(input: TokenStream) -> (Vec<TokenTree>, Vec<TokenTree>) {
    let mut rest: Vec<TokenTree> = input.into_iter().collect();
    let pairs = rest.chunks(2).take_while(|pair| is(&pair[0], "#")).count();
    let tokens = rest.len().min(2 * pairs);
    let attributes = rest.drain(..tokens).collect();
    (attributes, rest)
}

/// Binds the names of the pattern to single tokens of the input.
fn bind(pattern: TokenStream, input: Vec<TokenTree>) -> Option<BTreeMap<String, TokenTree>> {
    let mut values = BTreeMap::new();
    let mut input = input.into_iter();
    let mut pattern = pattern.into_iter();
    while let Some(token) = pattern.next() {
        if !is(&token, "$") {
            (input.next()?.to_string() == token.to_string()).then_some(())?;
            continue;
        }
        match pattern.next()? {
            TokenTree::Ident(name) => {
                let (_, fragment) = (pattern.next()?, pattern.next()?);
                ["ident", "literal", "tt"].contains(&fragment.to_string().as_str()).then_some(())?;
                values.insert(name.to_string(), input.next()?);
            }
            TokenTree::Group(repeated) => {
                of_attributes(&repeated)?;
                pattern.next()?;
            }
            _ => return None,
        }
    }
    input.next().is_none().then_some(values)
}

fn substitute(
    body: TokenStream,
    attributes: &[TokenTree],
    values: &BTreeMap<String, TokenTree>,
) -> Option<TokenStream> {
    let mut made = TokenStream::new();
    let mut body = body.into_iter();
    while let Some(token) = body.next() {
        match token {
            TokenTree::Group(group) => {
                let inner = substitute(group.stream(), attributes, values)?;
                made.extend([TokenTree::Group(Group::new(group.delimiter(), inner))]);
            }
            token if is(&token, "$") => match body.next()? {
                TokenTree::Group(repeated) => {
                    of_attributes(&repeated)?;
                    body.next()?;
                    made.extend(attributes.iter().cloned());
                }
                TokenTree::Ident(crate_root) if crate_root == "crate" => {
                    made.extend([TokenTree::Ident(crate_root)]);
                }
                name => made.extend([values.get(&name.to_string())?.clone()]),
            },
            token => made.extend([token]),
        }
    }
    Some(made)
}

/// `(#[$name:meta])`, or `(#[$name])` in a body.
fn of_attributes(repeated: &Group) -> Option<()> {
    let starts = repeated.stream().into_iter().next().is_some_and(|token| is(&token, "#"));
    (starts && repeated.delimiter() == Delimiter::Parenthesis).then_some(())
}

fn is(token: &TokenTree, text: &str) -> bool {
    !matches!(token, TokenTree::Group(_)) && token.to_string() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Result<Vec<String>> {
        let items = expand(syn::parse_str::<syn::File>(text)?.items)?;
        Ok(items.iter().map(super::super::tokens::in_one_line).collect())
    }

    #[test]
    fn a_macro_that_writes_a_type_is_expanded() {
        let text = "macro_rules! id { ($(#[$doc:meta])* $name:ident) => { $(#[$doc])* pub struct $name(u8); }; }\n\
            id! { #[doc(hidden)] Key }";
        let Ok(items) = made(text) else { panic!("it is understood") };
        assert_eq!(items[1], "# [doc(hidden)] pub struct Key(u8);");
    }

    #[test]
    fn a_macro_that_is_not_understood_is_an_error_if_it_makes_public_items() {
        let many = "macro_rules! m { ($($n:ident)*) => { $(VIS struct $n;)* } }\nm! { A B }";
        assert!(made(many).is_ok_and(|items| items.len() == 1));
        assert!(made(&many.replace("VIS", "pub")).is_err());
        assert!(made("other! { pub fn f() {} }").is_err());
        assert!(made("other! { fn f() {} }").is_ok_and(|items| items.is_empty()));
    }
}
