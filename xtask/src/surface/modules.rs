//! The modules of a crate as its source declares them, without those that only tests build.

use anyhow::{Context, Result, bail};
use syn::{Attribute, Ident, Item, ItemImpl, ItemMod, UseTree, Visibility};

use super::{attributes, macros};

/// The text of a file, by its path from the root of the repository.
pub(super) type Files<'a> = &'a dyn Fn(&str) -> Option<String>;

/// An index into [`Crate::modules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ModuleId(usize);

pub(super) const ROOT: ModuleId = ModuleId(0);

/// An index into [`Crate::definitions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DefinitionId(usize);

/// Who may name an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everyone who may name its module.
    Public,
    /// As public, but left out of the documentation.
    Hidden,
    /// The crate, or a part of it.
    Internal,
}

pub(super) struct Definition {
    pub(super) name: String,
    pub(super) module: ModuleId,
    pub(super) access: Access,
    pub(super) item: Item,
}

/// One name, or the glob, of a `use` declaration.
pub(super) struct Use {
    pub(super) access: Access,
    pub(super) path: Vec<String>,
    /// Nothing for a glob.
    pub(super) name: Option<String>,
}

pub(super) struct Module {
    pub(super) name: String,
    pub(super) parent: Option<ModuleId>,
    pub(super) access: Access,
    pub(super) children: Vec<ModuleId>,
    pub(super) definitions: Vec<DefinitionId>,
    pub(super) uses: Vec<Use>,
}

pub(super) struct Crate {
    modules: Vec<Module>,
    definitions: Vec<Definition>,
    /// The inherent `impl` blocks, with their modules.
    pub(super) impls: Vec<(ModuleId, ItemImpl)>,
}

impl Crate {
    /// Reads the library of the package in `folder`, which is also its name.
    pub(super) fn read(folder: &str, files: Files<'_>) -> Result<Self> {
        let mut krate = Self { modules: Vec::new(), definitions: Vec::new(), impls: Vec::new() };
        let root = Module::new(&folder.replace('-', "_"), None, Access::Public);
        let path = format!("{folder}/src/lib.rs");
        let Some(text) = files(&path) else { bail!("{path} is missing") };
        krate.modules.push(root);
        let source = Source { files, path, folder: format!("{folder}/src") };
        krate.read_file(ROOT, &source, &text)?;
        Ok(krate)
    }

    pub(super) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    pub(super) fn definition(&self, id: DefinitionId) -> &Definition {
        &self.definitions[id.0]
    }

    fn read_file(&mut self, module: ModuleId, source: &Source<'_>, text: &str) -> Result<()> {
        let file = syn::parse_file(text).with_context(|| format!("{} does not parse", source.path))?;
        self.add_items(module, source, file.items)
    }

    fn add_items(&mut self, module: ModuleId, source: &Source<'_>, items: Vec<Item>) -> Result<()> {
        let items = items.into_iter().filter(|item| attributes::is_built(attributes_of(item))).collect();
        for item in macros::expand(items).with_context(|| source.path.clone())? {
            match item {
                Item::Mod(declared) => self.add_module(module, source, declared)?,
                Item::Use(declared) => {
                    let access = access(&declared.vis, &declared.attrs);
                    let mut prefix = Vec::new();
                    // A name from another crate is told apart by the colons.
                    prefix.extend(declared.leading_colon.map(|_| String::new()));
                    add_uses(&declared.tree, access, &prefix, &mut self.modules[module.0].uses);
                }
                Item::Impl(block) if block.trait_.is_none() => self.impls.push((module, block)),
                other => self.add_definition(module, other),
            }
        }
        Ok(())
    }

    fn add_module(&mut self, parent: ModuleId, source: &Source<'_>, declared: ItemMod) -> Result<()> {
        let name = declared.ident.to_string();
        let id = ModuleId(self.modules.len());
        let module = Module::new(&name, Some(parent), access(&declared.vis, &declared.attrs));
        self.modules.push(module);
        self.modules[parent.0].children.push(id);
        let folder = format!("{}/{name}", source.folder);
        if let Some((_, items)) = declared.content {
            return self.add_items(id, &Source { folder, ..source.clone() }, items);
        }
        let places = [format!("{folder}.rs"), format!("{folder}/mod.rs")];
        let found = places.into_iter().find_map(|path| Some(((source.files)(&path)?, path)));
        let Some((text, path)) = found else {
            bail!("{}: the file of `mod {name}` is missing", source.path);
        };
        self.read_file(id, &Source { path, folder, files: source.files }, &text)
    }

    fn add_definition(&mut self, module: ModuleId, item: Item) {
        let Some((name, vis)) = name_and_visibility(&item) else { return };
        let attributes = attributes_of(&item);
        // A macro has no visibility: it is either exported at the root, or not at all.
        let (module, access) = match &vis {
            Some(vis) => (module, access(vis, attributes)),
            None if !attributes::has(attributes, "macro_export") => return,
            None if attributes::is_hidden(attributes) => (ROOT, Access::Hidden),
            None => (ROOT, Access::Public),
        };
        let id = DefinitionId(self.definitions.len());
        self.definitions.push(Definition { name: name.to_string(), module, access, item });
        self.modules[module.0].definitions.push(id);
    }
}

impl Module {
    fn new(name: &str, parent: Option<ModuleId>, access: Access) -> Self {
        let name = name.to_owned();
        Self { name, parent, access, children: Vec::new(), definitions: Vec::new(), uses: Vec::new() }
    }
}

/// A file, or an inline module in it.
#[derive(Clone)]
struct Source<'a> {
    files: Files<'a>,
    path: String,
    /// The folder of the files of its submodules.
    folder: String,
}

fn access(vis: &Visibility, attributes: &[Attribute]) -> Access {
    match vis {
        Visibility::Public(_) if attributes::is_hidden(attributes) => Access::Hidden,
        Visibility::Public(_) => Access::Public,
        _ => Access::Internal,
    }
}

fn add_uses(tree: &UseTree, access: Access, prefix: &[String], uses: &mut Vec<Use>) {
    let with = |name: &Ident| [prefix, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => add_uses(&path.tree, access, &with(&path.ident), uses),
        UseTree::Group(group) => {
            for part in &group.items {
                add_uses(part, access, prefix, uses);
            }
        }
        UseTree::Glob(_) => uses.push(Use { access, path: prefix.to_vec(), name: None }),
        UseTree::Name(name) if name.ident == "self" => {
            uses.push(Use { access, path: prefix.to_vec(), name: prefix.last().cloned() });
        }
        UseTree::Name(name) => {
            uses.push(Use { access, path: with(&name.ident), name: Some(name.ident.to_string()) });
        }
        UseTree::Rename(renamed) => {
            let path = if renamed.ident == "self" { prefix.to_vec() } else { with(&renamed.ident) };
            uses.push(Use { access, path, name: Some(renamed.rename.to_string()) });
        }
    }
}

/// The name that an item defines, if it can be used from other modules. A macro has no visibility.
fn name_and_visibility(item: &Item) -> Option<(Ident, Option<Visibility>)> {
    let (name, vis) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        Item::Macro(item) => return Some((item.ident.clone()?, None)),
        _ => return None,
    };
    Some((name.clone(), Some(vis.clone())))
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
