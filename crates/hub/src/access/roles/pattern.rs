//! Actions of a role with wildcards, as Azure's role definitions have them: `*` stands for any characters, slashes included, and
//! letters compare without case.

/// Whether an action is one of a pattern's.
pub(super) fn matches(pattern: &str, action: &str) -> bool {
    let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b);
    let (pattern, action) = (pattern.as_bytes(), action.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Where to go on when what followed the last wildcard did not fit: that wildcard then stands for one more.
    let mut again: Option<(usize, usize)> = None;
    while let Some(byte) = action.get(place) {
        match pattern.get(at) {
            Some(b'*') => {
                again = Some((at, place));
                at += 1;
            }
            Some(wanted) if same(*wanted, *byte) => {
                at += 1;
                place += 1;
            }
            _ => match again {
                Some((star, from)) => {
                    again = Some((star, from + 1));
                    at = star + 1;
                    place = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_stand_for_anything() {
        for (pattern, action, expected) in [
            ("*", "a/b", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("A/B", "a/b", true),
            ("a/*/read", "a/devices/read", true),
            ("a/*/read", "a/b/c/read", true),
            ("a/*/read", "a/read", false),
            ("a/*/read", "a/devices/write", false),
            ("a/*/read", "a/devices/readable", false),
            ("*read", "a/read/read", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a**", "a", true),
            ("a/b", "a/bc", false),
        ] {
            assert_eq!(matches(pattern, action), expected, "{pattern} {action}");
        }
    }
}
