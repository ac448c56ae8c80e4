//! The meaning of paths: which module or definition a name stands for.

use super::modules::{Crate, DefinitionId, ModuleId, ROOT, Use};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Module(ModuleId),
    Definition(DefinitionId),
    /// A path in another crate.
    Foreign(Vec<String>),
}

/// The `use` declarations that are being followed: a name may stand on both sides of one.
type Followed = Vec<*const Use>;

impl Crate {
    /// All that `path` means in `module`: one name can stand for a module and a function. Empty if it names nothing.
    pub(super) fn resolve(&self, module: ModuleId, path: &[String]) -> Vec<Meaning> {
        self.follow(module, path, &mut Vec::new())
    }

    fn follow(&self, module: ModuleId, path: &[String], followed: &mut Followed) -> Vec<Meaning> {
        let Some((first, rest)) = path.split_first() else { return vec![Meaning::Module(module)] };
        let mut meanings = match first.as_str() {
            "" => return vec![Meaning::Foreign(rest.to_vec())],
            "crate" => vec![Meaning::Module(ROOT)],
            "self" => vec![Meaning::Module(module)],
            "super" => self.module(module).parent.map(Meaning::Module).into_iter().collect(),
            name => self.look_up(module, name, followed),
        };
        if meanings.is_empty() {
            return vec![Meaning::Foreign(path.to_vec())];
        }
        for name in rest {
            meanings = meanings.iter().flat_map(|meaning| self.inside(meaning, name, followed)).collect();
        }
        meanings
    }

    fn inside(&self, meaning: &Meaning, name: &str, followed: &mut Followed) -> Vec<Meaning> {
        match meaning {
            Meaning::Module(module) if name == "super" => {
                self.module(*module).parent.map(Meaning::Module).into_iter().collect()
            }
            Meaning::Module(module) => self.look_up(*module, name, followed),
            Meaning::Definition(_) => Vec::new(),
            Meaning::Foreign(path) => vec![Meaning::Foreign([path.as_slice(), &[name.to_owned()]].concat())],
        }
    }

    fn look_up(&self, id: ModuleId, name: &str, followed: &mut Followed) -> Vec<Meaning> {
        let module = self.module(id);
        let children = module.children.iter().filter(|child| self.module(**child).name == name);
        let definitions = module.definitions.iter().filter(|one| self.definition(**one).name == name);
        let mut found: Vec<Meaning> = children.map(|child| Meaning::Module(*child)).collect();
        found.extend(definitions.map(|one| Meaning::Definition(*one)));
        for import in module.uses.iter().filter(|import| import.name.as_deref() == Some(name)) {
            found.extend(self.through(id, import, None, followed));
        }
        if found.is_empty() {
            for glob in module.uses.iter().filter(|import| import.name.is_none()) {
                found.extend(self.through(id, glob, Some(name), followed));
            }
        }
        found
    }

    /// The item that a `use` brings in; of a glob, the one under `name`.
    fn through(
        &self,
        id: ModuleId,
        import: &Use,
        name: Option<&str>,
        followed: &mut Followed,
    ) -> Vec<Meaning> {
        if followed.contains(&std::ptr::from_ref(import)) {
            return Vec::new();
        }
        followed.push(import);
        let mut meanings = self.follow(id, &import.path, followed);
        if let Some(name) = name {
            // Whether another crate has the name cannot be known.
            meanings.retain(|meaning| !matches!(meaning, Meaning::Foreign(_)));
            meanings = meanings.iter().flat_map(|meaning| self.inside(meaning, name, followed)).collect();
        }
        followed.pop();
        meanings
    }
}
