//! Messages and numbers for people: short enough to read, with thousands set apart.

/// The longest message that is not abbreviated, in bytes.
const LONGEST_MESSAGE: usize = 2_000;

/// A message without its middle, if it is long: it quotes a file, where a cell or a name may be of any length.
pub(crate) fn abbreviated(message: String) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message;
    }
    let half = LONGEST_MESSAGE / 2;
    let begin = (0..=half).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    let end = (message.len() - half..message.len()).find(|at| message.is_char_boundary(*at));
    let end = end.unwrap_or(message.len());
    let left_out = thousands((end - begin) as u64);
    format!("{} (… {left_out} bytes …) {}", &message[..begin], &message[end..])
}

/// A number with its thousands set apart.
pub(crate) fn thousands(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// A number with its noun, whose plural is regular.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        for whole in ["é".repeat(1_000), "short".to_owned(), String::new()] {
            assert_eq!(abbreviated(whole.clone()), whole);
        }
        let cut = abbreviated(format!("in `{}`: say so", "é".repeat(1 << 20)));
        assert!(cut.len() < 2_100 && cut.starts_with("in `é") && cut.ends_with("`: say so"), "{cut}");
        assert!(cut.contains("(… 2,095,1"), "{cut}");
    }
}
