//! The known name that an unknown one was probably meant to be.

/// The candidate with the fewest edits from `text`; the first of several.
pub(super) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.min_by_key(|candidate| edit_count(text, candidate))
}

/// Levenshtein's distance in bytes, one row of its matrix at a time.
fn edit_count(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.bytes().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, b) in row.iter().skip(1).zip(to.bytes()) {
            let substituted = diagonal + usize::from(a != b);
            diagonal = *above;
            left = substituted.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (from, to, count) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ] {
            assert_eq!(edit_count(from, to), count, "{from} {to}");
            assert_eq!(edit_count(to, from), count, "{to} {from}");
        }
    }

    #[test]
    fn finds_the_nearest() {
        let known = ["listeners.mqtt", "listeners.amqp", "log.level"];
        assert_eq!(nearest("listener.mqt", known.into_iter()), Some("listeners.mqtt"));
        assert_eq!(nearest("loglevel", known.into_iter()), Some("log.level"));
        assert_eq!(nearest("x", [].into_iter()), None);
    }
}
