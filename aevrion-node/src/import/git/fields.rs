//! The templates of keys and values for a change: those of columns, over bytes.

use csv::StringRecord;

use super::history::Change;
use crate::cli::ColumnArgs;
use crate::failure::Failure;
use crate::import::template::Template;

/// Fields of every change. A key is made of these alone, so that a deletion has the key of the deleted value.
const OF_KEYS: &[&str] = &["path", "commit", "author", "subject"];
/// Further fields of changes that do not delete the path.
const OF_VALUES: &[&str] = &["hash", "mode", "content"];
/// The index of the content among all fields.
const CONTENT: usize = 6;

/// The parsed templates.
pub(super) struct Fields {
    key: Template,
    value: Template,
}

impl Fields {
    pub(super) fn new(columns: &ColumnArgs) -> Result<Self, Failure> {
        let key = columns.key.as_deref().unwrap_or("{path}");
        let value = columns.value.as_deref().unwrap_or("{content}");
        let names = [OF_KEYS, OF_VALUES].concat();
        Ok(Self {
            key: Template::parse("--key", key, &StringRecord::from(OF_KEYS))?,
            value: Template::parse("--value", value, &StringRecord::from(names))?,
        })
    }

    /// Whether the values contain file contents.
    pub(super) fn need_content(&self) -> bool {
        self.value.has(CONTENT)
    }

    pub(super) fn key(&self, change: &Change) -> Vec<u8> {
        self.key.fill_bytes(|field| field_of(change, &[], field))
    }

    /// The value, byte for byte: contents need not be text.
    pub(super) fn value(&self, change: &Change, content: Vec<u8>) -> Vec<u8> {
        if self.value.is_only(CONTENT) {
            return content;
        }
        self.value.fill_bytes(|field| field_of(change, &content, field))
    }
}

fn field_of<'c>(change: &'c Change, content: &'c [u8], field: usize) -> &'c [u8] {
    let commit = &change.commit;
    match field {
        0 => &change.path,
        1 => commit.hash.as_bytes(),
        2 => &commit.author,
        3 => &commit.subject,
        4 => change.hash.as_bytes(),
        5 => change.mode.as_bytes(),
        _ => content,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::import::git::history::{Commit, Kind};

    fn fields(key: Option<&str>, value: Option<&str>) -> Result<Fields, Failure> {
        let (key, value) = (key.map(str::to_owned), value.map(str::to_owned));
        Fields::new(&ColumnArgs { key, value, ..ColumnArgs::default() })
    }

    fn change() -> Change {
        let (author, subject) = (b"A <a@b>".to_vec(), b"why".to_vec());
        let commit = Commit { hash: "c0".into(), author_time: "1".into(), author, subject };
        let (path, mode, hash) = (b"p\xFF".to_vec(), "100644".to_owned(), "b0".to_owned());
        Change { commit: Arc::new(commit), path, before: Kind::Nothing, after: Kind::Blob, mode, hash }
    }

    #[test]
    fn every_field_means_what_its_name_says_byte_for_byte() {
        let all =
            fields(Some("{path}|{commit}|{author}|{subject}"), Some("{hash}|{mode}|{content}")).unwrap();
        assert_eq!(all.key(&change()), b"p\xFF|c0|A <a@b>|why");
        assert_eq!(all.value(&change(), b"\0\xFE".to_vec()), b"b0|100644|\0\xFE");
        let usual = fields(None, None).unwrap();
        assert_eq!(usual.key(&change()), b"p\xFF");
        assert_eq!(usual.value(&change(), b"\xFE{".to_vec()), b"\xFE{");
        assert!(all.need_content() && usual.need_content());
        assert!(!fields(None, Some("{hash} {{content}}")).unwrap().need_content());
    }

    #[test]
    fn keys_are_made_of_what_deletions_have_too() {
        for key in ["{content}", "{hash}", "{mode}", "{pfad}"] {
            let said = fields(Some(key), None).err().unwrap().to_string();
            assert!(said.contains("--key") && said.contains("path, commit, author, subject"), "{said}");
        }
    }
}
