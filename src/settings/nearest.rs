//! The word that somebody probably meant.

/// The key with the fewest edits to `typed`; a key typed without its section counts as its last part.
pub(super) fn key<'a>(typed: &str, keys: &[&'a str]) -> &'a str {
    let last = typed.rsplit('.').next().unwrap_or(typed);
    keys.iter()
        .min_by_key(|key| {
            let key_last = key.rsplit('.').next().unwrap_or(key);
            // A slip in the last part is likelier than a wrong section.
            edits(typed, key).min(edits(last, key_last) + 1)
        })
        .copied()
        .unwrap_or_default()
}

/// Insertions, deletions and replacements of single characters (the distance of Levenshtein).
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_and_a_wrong_section_are_found() {
        let keys = ["listen_ssh", "limits", "limits.sessions", "python.interpreter"];
        assert_eq!(key("listen-ssh", &keys), "listen_ssh");
        assert_eq!(key("limits.session", &keys), "limits.sessions");
        assert_eq!(key("interpreter", &keys), "python.interpreter");
        assert_eq!(key("limit", &keys), "limits");
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!([edits("", "abc"), edits("kitten", "sitting"), edits("same", "same")], [3, 3, 0]);
    }
}
