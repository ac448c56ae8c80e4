//! Text with columns in braces, such as `plane:{tailnum}`; `{{` and `}}` stand for the braces themselves.

use csv::StringRecord;

use crate::failure::Failure;
use crate::human::abbreviated;

/// A template of a row's key, time or value.
pub(super) struct Template(Vec<Part>);

enum Part {
    Text(String),
    Column(usize),
}

impl Template {
    /// Parses the template given by `flag`, for rows with columns of these names.
    pub(super) fn parse(flag: &str, text: &str, names: &StringRecord) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::usage(format!("{flag} '{text}': {what}"));
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            plain.push_str(before);
            let brace = &behind[..1];
            if let Some(after) = behind[1..].strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(wrong(
                    "a brace is closed that was not opened: write }} for one that stands for itself",
                ));
            }
            let Some((name, after)) = behind[1..].split_once('}') else {
                return Err(wrong("a brace is not closed: write {{ for one that stands for itself"));
            };
            parts.extend([Part::Text(std::mem::take(&mut plain)), Part::Column(column(flag, name, names)?)]);
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// A column of the template that is empty in this row.
    pub(super) fn empty_column(&self, row: &StringRecord) -> Option<usize> {
        self.0.iter().find_map(|part| match part {
            Part::Column(column) if row.get(*column).unwrap_or_default().is_empty() => Some(*column),
            _ => None,
        })
    }

    /// Fills in a row.
    pub(super) fn fill(&self, row: &StringRecord) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Column(column) => row.get(*column).unwrap_or_default(),
        });
        parts.collect()
    }

    /// Fills in a row whose columns need not be text.
    pub(super) fn fill_bytes<'r>(&self, column: impl Fn(usize) -> &'r [u8]) -> Vec<u8> {
        let mut filled = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Part::Column(at) => filled.extend_from_slice(column(*at)),
            }
        }
        filled
    }

    /// Whether the template contains this column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Column(at) if *at == column))
    }

    /// Whether the template is this column alone.
    pub(super) fn is_only(&self, column: usize) -> bool {
        let mut parts = self.0.iter().filter(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        matches!((parts.next(), parts.next()), (Some(Part::Column(at)), None) if *at == column)
    }
}

/// The only column of this name, as `flag` needs it.
pub(super) fn column(flag: &str, name: &str, names: &StringRecord) -> Result<usize, Failure> {
    let mut called = names.iter().enumerate().filter(|(_, known)| *known == name);
    let (first, second) = (called.next(), called.next());
    match (first, second) {
        (Some((column, _)), None) => Ok(column),
        (Some((first, _)), Some((second, _))) => Err(Failure::error(format!(
            "{flag}: columns {} and {} are both called `{name}`: give one of them another name in the file",
            first + 1,
            second + 1
        ))),
        (None, _) => Err(Failure::usage(abbreviated(unknown(flag, name, names)))),
    }
}

/// The error for an unknown column, with the known ones and the likely cause.
fn unknown(flag: &str, name: &str, names: &StringRecord) -> String {
    let known = names.iter().collect::<Vec<_>>().join(", ");
    let advice = match names.iter().find(|known| known.trim() == name) {
        Some(_) => "; its name has spaces around it in the file: --trim takes them off",
        None if names.len() == 1 && known.contains([';', '\t', '|']) => {
            "; it looks as if the columns were separated by something else: say by what with --delimiter"
        }
        None => "",
    };
    let are = if names.len() == 1 { "is only" } else { "are" };
    let known = if names.len() == 1 { format!("`{known}`") } else { known };
    format!("{flag}: there is no column `{name}`, there {are} {known}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Failure> {
        let (names, row) = (StringRecord::from(vec!["a", "b"]), StringRecord::from(vec!["1", "2"]));
        Template::parse("--value", text, &names).map(|template| template.fill(&row))
    }

    #[test]
    fn braces_that_stand_for_themselves() {
        assert_eq!(filled("x{a}-{b}y").unwrap(), "x1-2y");
        assert_eq!(filled(r#"{{"a":{a},"b":"{b}"}}"#).unwrap(), r#"{"a":1,"b":"2"}"#);
        assert_eq!(filled("{{a}}").unwrap(), "{a}");
        assert_eq!(filled("{{{a}}}").unwrap(), "{1}");
        assert_eq!(filled("").unwrap(), "");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, what) in
            [("{a", "not closed"), ("a}", "not opened"), ("{c}", "no column `c`"), ("{}", "``")]
        {
            let said = filled(text).unwrap_err().to_string();
            assert!(said.contains(what) && said.contains("--value"), "{said}");
        }
    }
}
