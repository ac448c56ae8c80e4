//! The length of commit subjects: the reasons belong into the body.

use super::Problem;
use super::tree::Tree;

const LIMIT: usize = 72;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let too_long = tree.commits().filter(|(_, subject)| subject.chars().count() > LIMIT);
    too_long.map(|(hash, subject)| problem(hash, subject)).collect()
}

fn problem(hash: &str, subject: &str) -> Problem {
    let what =
        format!("its subject has {} characters, more than {LIMIT}: {subject}", subject.chars().count());
    Problem::in_file(&format!("commit {hash}"), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_subject_is_named() {
        let (fits, long) = ("ä".repeat(LIMIT), "ä".repeat(LIMIT + 1));
        let problems = check(&Tree::of_commits(&[&fits, &long]));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("has 73 characters"), "{}", problems[0]);
    }
}
