//! The paths by which embedders reach the items of a crate.
//!
//! An item has one path of its own: where it is defined, if all modules around it are public, or else the shortest of
//! its re-exports. Every further path is a re-export.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::modules::{Access, Crate, DefinitionId, ModuleId, ROOT, Use};
use super::names::Meaning;

/// The names of modules and of the item, from the crate down.
pub(super) type Path = Vec<String>;

#[derive(Default)]
pub(super) struct Reached {
    /// The public modules but the root.
    pub(super) modules: Vec<Path>,
    /// Each public definition, and its own path.
    pub(super) definitions: BTreeMap<DefinitionId, Path>,
    /// Each further path, and the item that it stands for.
    pub(super) reexports: Vec<(Path, Path)>,
}

pub(super) fn reach(krate: &Crate) -> Result<Reached> {
    let mut walk = Walk { krate, within: Vec::new(), paths: BTreeMap::new(), reached: Reached::default() };
    walk.module(ROOT, &vec![krate.module(ROOT).name.clone()])?;
    Ok(walk.settle())
}

struct Walk<'a> {
    krate: &'a Crate,
    /// The modules being walked through, for modules that re-export each other.
    within: Vec<ModuleId>,
    /// All paths of each definition.
    paths: BTreeMap<DefinitionId, Vec<Path>>,
    reached: Reached,
}

impl Walk<'_> {
    /// Everything public in a module, as seen below `path`.
    fn module(&mut self, id: ModuleId, path: &Path) -> Result<()> {
        if self.within.contains(&id) {
            return Ok(());
        }
        self.within.push(id);
        let krate = self.krate;
        let module = krate.module(id);
        for definition in &module.definitions {
            self.definition(*definition, below(path, &krate.definition(*definition).name));
        }
        for child in &module.children {
            if krate.module(*child).access == Access::Public {
                self.submodule(*child, below(path, &krate.module(*child).name))?;
            }
        }
        for import in module.uses.iter().filter(|import| import.access == Access::Public) {
            self.import(id, import, path)?;
        }
        self.within.pop();
        Ok(())
    }

    fn definition(&mut self, id: DefinitionId, path: Path) {
        if self.krate.definition(id).access == Access::Public {
            self.paths.entry(id).or_default().push(path);
        }
    }

    fn submodule(&mut self, id: ModuleId, path: Path) -> Result<()> {
        self.module(id, &path)?;
        self.reached.modules.push(path);
        Ok(())
    }

    fn import(&mut self, id: ModuleId, import: &Use, path: &Path) -> Result<()> {
        let meanings = self.krate.resolve(id, &import.path);
        if meanings.is_empty() {
            bail!("`pub use {}` in {} names nothing", import.path.join("::"), own_name(self.krate, id));
        }
        for meaning in meanings {
            match (meaning, &import.name) {
                (Meaning::Definition(definition), Some(name)) => {
                    self.definition(definition, below(path, name));
                }
                (Meaning::Definition(_), None) => {
                    bail!("the glob of {}: variants are not followed", import.path.join("::"))
                }
                (Meaning::Module(module), None) => self.module(module, path)?,
                (Meaning::Module(module), Some(name)) => self.renamed(module, below(path, name))?,
                (Meaning::Foreign(there), name) => {
                    let star = || "*".to_owned();
                    let there = if name.is_none() { below(&there, "*") } else { there };
                    self.reached.reexports.push((below(path, &name.clone().unwrap_or_else(star)), there));
                }
            }
        }
        Ok(())
    }

    /// A module under another name: a new path only, if it has one of its own.
    fn renamed(&mut self, id: ModuleId, path: Path) -> Result<()> {
        match own_path(self.krate, id) {
            Some(own) => self.reached.reexports.push((path, own)),
            None if self.krate.module(id).access == Access::Public => self.submodule(id, path)?,
            None => {}
        }
        Ok(())
    }

    fn settle(self) -> Reached {
        let Self { krate, paths, mut reached, .. } = self;
        for (id, mut paths) in paths {
            let definition = krate.definition(id);
            let defined = own_path(krate, definition.module).map(|module| below(&module, &definition.name));
            paths.sort_by_key(|path| (Some(path) != defined.as_ref(), path.len(), path.clone()));
            paths.dedup();
            let own = paths.remove(0);
            reached.reexports.extend(paths.into_iter().map(|path| (path, own.clone())));
            reached.definitions.insert(id, own);
        }
        reached
    }
}

pub(super) fn below(path: &Path, name: &str) -> Path {
    [path.as_slice(), &[name.to_owned()]].concat()
}

/// The path of a module by its declarations, if all of them are public.
fn own_path(krate: &Crate, id: ModuleId) -> Option<Path> {
    let module = krate.module(id);
    match module.parent {
        None => Some(vec![module.name.clone()]),
        Some(parent) if module.access == Access::Public => {
            Some(below(&own_path(krate, parent)?, &module.name))
        }
        Some(_) => None,
    }
}

/// The path of a module in messages.
fn own_name(krate: &Crate, id: ModuleId) -> String {
    let module = krate.module(id);
    match module.parent {
        None => module.name.clone(),
        Some(parent) => format!("{}::{}", own_name(krate, parent), module.name),
    }
}
