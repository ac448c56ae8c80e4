//! The line of each public item: kind, path and signature.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use syn::{
    Attribute, Field, Fields, FnArg, GenericArgument, GenericParam, Generics, ImplItem, Item, ItemEnum,
    ItemImpl, ItemStatic, ItemTrait, Pat, PathArguments, ReturnType, Safety, Signature, StaticMutability,
    TraitItem, Type, TypeParamBound, Visibility,
};

use super::attributes::{has, is_shown};
use super::modules::{Crate, DefinitionId, ModuleId};
use super::names::Meaning;
use super::reach::{Path, Reached, below};
use super::tokens::in_one_line;

/// Sorted by path, so that the parts of a type follow it.
type Sorted = BTreeSet<(Path, String)>;

pub(super) fn lines(krate: &Crate, reached: &Reached) -> Result<Vec<String>> {
    let mut lines = Lines(Sorted::new());
    for module in &reached.modules {
        lines.add(module, "mod", "");
    }
    for (path, target) in &reached.reexports {
        lines.add(path, "use", &format!(" = {}", target.join("::")));
    }
    for (id, path) in &reached.definitions {
        lines.add_definition(path, &krate.definition(*id).item);
    }
    for (id, block) in inherent_impls(krate)? {
        if let Some(path) = reached.definitions.get(&id) {
            lines.add_impl(path, block);
        }
    }
    Ok(lines.0.into_iter().map(|(_, line)| line).collect())
}

/// The inherent `impl` blocks by their types.
fn inherent_impls(krate: &Crate) -> Result<Vec<(DefinitionId, &ItemImpl)>> {
    let mut found = Vec::new();
    for (module, block) in &krate.impls {
        let definitions = implemented(krate, *module, &block.self_ty);
        if definitions.is_empty() {
            bail!("the type of `impl {}` is not found", in_one_line(&block.self_ty));
        }
        found.extend(definitions.into_iter().map(|id| (id, block)));
    }
    Ok(found)
}

fn implemented(krate: &Crate, module: ModuleId, of: &Type) -> Vec<DefinitionId> {
    let path = match of {
        Type::Path(named) => &named.path,
        Type::TraitObject(object) => match object.bounds.first() {
            Some(TypeParamBound::Trait(bound)) => &bound.path,
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let path: Path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let meanings = krate.resolve(module, &path).into_iter();
    let types = meanings.filter_map(|meaning| match meaning {
        Meaning::Definition(id) => Some(id),
        _ => None,
    });
    types.flat_map(|id| unaliased(krate, id)).collect()
}

/// The type itself, if this is another name of it. A function may share its name.
fn unaliased(krate: &Crate, id: DefinitionId) -> Vec<DefinitionId> {
    let definition = krate.definition(id);
    match &definition.item {
        Item::Type(alias) => implemented(krate, definition.module, &alias.ty),
        Item::Struct(_) | Item::Enum(_) | Item::Union(_) | Item::Trait(_) => vec![id],
        _ => Vec::new(),
    }
}

struct Lines(Sorted);

impl Lines {
    fn add(&mut self, path: &Path, kind: &str, rest: &str) {
        let line = format!("{kind} {}{rest}", path.join("::"));
        self.0.insert((path.clone(), line));
    }

    fn add_definition(&mut self, path: &Path, item: &Item) {
        match item {
            Item::Const(item) => self.add(path, "const", &format!(": {}", in_one_line(&item.ty))),
            Item::Enum(item) => self.add_enum(path, item),
            Item::Fn(item) => self.add_function(path, &item.sig, ""),
            Item::Macro(_) => self.add(path, "macro", "!"),
            Item::Static(item) => self.add_static(path, item),
            Item::Struct(item) => {
                let kind = with_openness("struct", &item.attrs);
                let hidden = hidden_fields(&item.fields);
                self.add(path, &kind, &format!("{}{hidden}", generics(&item.generics)));
                self.add_fields(path, &item.fields);
            }
            Item::Trait(item) => self.add_trait(path, item),
            Item::Type(item) => {
                let rest = format!("{} = {}", generics(&item.generics), in_one_line(&item.ty));
                self.add(path, "type", &rest);
            }
            Item::Union(item) => {
                self.add(path, "union", &generics(&item.generics));
                self.add_fields(path, &Fields::Named(item.fields.clone()));
            }
            _ => {}
        }
    }

    fn add_static(&mut self, path: &Path, item: &ItemStatic) {
        let kind = match item.mutability {
            StaticMutability::Mut(_) => "static mut",
            _ => "static",
        };
        self.add(path, kind, &format!(": {}", in_one_line(&item.ty)));
    }

    fn add_fields(&mut self, path: &Path, fields: &Fields) {
        for (position, field) in fields.iter().enumerate().filter(|(_, field)| is_visible(field)) {
            let name = field.ident.as_ref().map_or_else(|| position.to_string(), ToString::to_string);
            self.add(&below(path, &name), "field", &format!(": {}", in_one_line(&field.ty)));
        }
    }

    fn add_enum(&mut self, path: &Path, item: &ItemEnum) {
        self.add(path, &with_openness("enum", &item.attrs), &generics(&item.generics));
        for variant in item.variants.iter().filter(|variant| is_shown(&variant.attrs)) {
            let path = below(path, &variant.ident.to_string());
            self.add(&path, &with_openness("variant", &variant.attrs), &variant_fields(&variant.fields));
        }
    }

    fn add_trait(&mut self, path: &Path, item: &ItemTrait) {
        let kind = if item.unsafety.is_some() { "unsafe trait" } else { "trait" };
        let mut rest = String::new();
        if !item.supertraits.is_empty() {
            rest = format!(": {}", in_one_line(&item.supertraits));
        }
        self.add(path, kind, &with_generics(&item.generics, &rest));
        for part in &item.items {
            self.add_trait_item(path, part);
        }
    }

    fn add_trait_item(&mut self, path: &Path, part: &TraitItem) {
        let provided = |default| if default { " { .. }" } else { "" };
        match part {
            TraitItem::Fn(item) if is_shown(&item.attrs) => {
                let path = below(path, &item.sig.ident.to_string());
                self.add_function(&path, &item.sig, provided(item.default.is_some()));
            }
            TraitItem::Const(item) if is_shown(&item.attrs) => {
                let rest = format!(": {}{}", in_one_line(&item.ty), provided(item.default.is_some()));
                self.add(&below(path, &item.ident.to_string()), "const", &rest);
            }
            TraitItem::Type(item) if is_shown(&item.attrs) => {
                let bounds = in_one_line(&item.bounds);
                let rest = if bounds.is_empty() { bounds } else { format!(": {bounds}") };
                self.add(
                    &below(path, &item.ident.to_string()),
                    "type",
                    &with_generics(&item.generics, &rest),
                );
            }
            _ => {}
        }
    }

    fn add_impl(&mut self, path: &Path, block: &ItemImpl) {
        let condition = impl_condition(block);
        for part in &block.items {
            match part {
                ImplItem::Fn(item) if is_public(&item.vis) && is_shown(&item.attrs) => {
                    self.add_function(&below(path, &item.sig.ident.to_string()), &item.sig, &condition);
                }
                ImplItem::Const(item) if is_public(&item.vis) && is_shown(&item.attrs) => {
                    let rest = format!(": {}{condition}", in_one_line(&item.ty));
                    self.add(&below(path, &item.ident.to_string()), "const", &rest);
                }
                _ => {}
            }
        }
    }

    fn add_function(&mut self, path: &Path, signature: &Signature, rest: &str) {
        let inputs: Vec<String> = signature.inputs.iter().map(input).collect();
        let output = match &signature.output {
            ReturnType::Default => String::new(),
            returned => format!(" {}", in_one_line(returned)),
        };
        let call = format!("({}){output}", inputs.join(", "));
        self.add(
            path,
            &qualified(signature),
            &format!("{}{rest}", with_generics(&signature.generics, &call)),
        );
    }
}

fn with_openness(kind: &str, attributes: &[Attribute]) -> String {
    if has(attributes, "non_exhaustive") { format!("#[non_exhaustive] {kind}") } else { kind.to_owned() }
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn is_visible(field: &Field) -> bool {
    is_public(&field.vis) && is_shown(&field.attrs)
}

/// A mark for fields that keep embedders from building the struct or matching it as a whole.
fn hidden_fields(fields: &Fields) -> &'static str {
    match fields {
        Fields::Named(_) if !fields.iter().all(is_visible) => " { .. }",
        Fields::Unnamed(_) if !fields.iter().all(is_visible) => "(..)",
        _ => "",
    }
}

fn variant_fields(fields: &Fields) -> String {
    let part = |field: &Field| {
        let name = field.ident.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        format!("{name}{}", in_one_line(&field.ty))
    };
    let mut parts: Vec<String> = fields.iter().filter(|field| is_shown(&field.attrs)).map(part).collect();
    if parts.len() < fields.len() {
        parts.push("..".to_owned());
    }
    match fields {
        Fields::Named(_) => format!(" {{ {} }}", parts.join(", ")),
        Fields::Unnamed(_) => format!("({})", parts.join(", ")),
        Fields::Unit => String::new(),
    }
}

fn qualified(signature: &Signature) -> String {
    let mut kind = String::new();
    for word in [signature.constness.map(|_| "const "), signature.asyncness.map(|_| "async ")] {
        kind.push_str(word.unwrap_or_default());
    }
    if matches!(signature.safety, Safety::Unsafe(_)) {
        kind.push_str("unsafe ");
    }
    if let Some(abi) = &signature.abi {
        kind.push_str(&format!("{} ", in_one_line(abi)));
    }
    kind + "fn"
}

/// A parameter as the caller sees it: whether the function changes its copy is its own affair.
fn input(argument: &FnArg) -> String {
    match argument {
        FnArg::Receiver(receiver) => {
            let mut receiver = receiver.clone();
            receiver.attrs.clear();
            receiver.mutability = None;
            in_one_line(&receiver)
        }
        FnArg::Typed(typed) => {
            let name = match &*typed.pat {
                Pat::Ident(pattern) => pattern.ident.to_string(),
                _ => "_".to_owned(),
            };
            format!("{name}: {}", in_one_line(&typed.ty))
        }
    }
}

fn generics(generics: &Generics) -> String {
    with_generics(generics, "")
}

/// The parameters, then the middle, then the bounds.
fn with_generics(generics: &Generics, middle: &str) -> String {
    let parameters = if generics.params.is_empty() { String::new() } else { in_one_line(generics) };
    let bounds = generics.where_clause.as_ref().map(|clause| {
        let text = in_one_line(clause);
        format!(" {}", text.trim_end_matches(','))
    });
    format!("{parameters}{middle}{}", bounds.unwrap_or_default())
}

/// For which arguments of a generic type a method exists.
fn impl_condition(block: &ItemImpl) -> String {
    let is_lifetime = |parameter: &GenericParam| matches!(parameter, GenericParam::Lifetime(_));
    if block.generics.params.iter().all(is_lifetime) && !names_types(&block.self_ty) {
        return String::new();
    }
    format!(" in impl{}", with_generics(&block.generics, &format!(" {}", in_one_line(&block.self_ty))))
}

fn names_types(of: &Type) -> bool {
    let Type::Path(named) = of else { return false };
    named.path.segments.iter().any(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(list) => {
            list.args.iter().any(|argument| !matches!(argument, GenericArgument::Lifetime(_)))
        }
        _ => false,
    })
}
