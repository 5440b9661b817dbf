//! What has changed between two states of a selection, as the edits of a YANG patch (RFC 8072).

use std::fmt::Write as _;

use crate::northbound::provider::{Change, Edit};
use crate::yang::diff;
use crate::yang::tree::{self, Tree};

/// Edits of one update; more changes at once are told by sending all of it.
pub(super) const EDITS_MAX: usize = 1000;

#[derive(Debug, PartialEq, Eq)]
pub(in crate::northbound) enum Difference {
    /// Nothing that the subscriber wants to hear of.
    Nothing,
    /// The `edit` elements.
    Edits(String),
    /// It is more, or of another kind, than a patch says well: all of it is to be sent.
    All,
}

/// `excluded` names the kinds of changes that are not told.
pub(in crate::northbound) fn between(old: &Tree, new: &Tree, excluded: &[String]) -> Difference {
    let changes = diff::changes(old, new);
    let mut edits = String::new();
    let mut count = 0;
    let mut created: Option<&str> = None;
    for change in &changes {
        let Change { path, edit } = change;
        let operation = match edit {
            // The node above has come, and this with it.
            Edit::Create { .. } if created.is_some_and(|above| is_below(path, above)) => continue,
            Edit::Create { .. } => {
                created = Some(path);
                "create"
            }
            Edit::Delete => "delete",
            Edit::Modify { .. } => "replace",
            Edit::Move => return Difference::All,
        };
        if excluded.iter().any(|excluded| excluded == operation) {
            continue;
        }
        count += 1;
        if count > EDITS_MAX {
            return Difference::All;
        }
        // Writing to a string cannot fail.
        let _ = write!(edits, "<edit><edit-id>{count}</edit-id><operation>{operation}</operation><target>");
        edits.push_str(&quick_xml::escape::escape(resource(path)));
        edits.push_str("</target>");
        if operation != "delete" {
            let Some(value) = tree::print_node(new, path) else { return Difference::All };
            let _ = write!(edits, "<value>{}</value>", String::from_utf8_lossy(&value));
        }
        edits.push_str("</edit>");
    }
    if count == 0 { Difference::Nothing } else { Difference::Edits(edits) }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// RFC 8040 section 3.5.3: `/module:list[key='v']/leaf` as `/module:list=v/leaf`, values percent-encoded.
fn resource(path: &str) -> String {
    let mut target = String::new();
    let mut rest = path;
    let mut first_key = true;
    while let Some(at) = rest.find(['[', '/']) {
        if rest[at..].starts_with('/') {
            target.push_str(&rest[..=at]);
            first_key = true;
            rest = &rest[at + 1..];
            continue;
        }
        target.push_str(&rest[..at]);
        let Some((value, after)) = predicate(&rest[at..]) else { break };
        target.push(if first_key { '=' } else { ',' });
        first_key = false;
        encode(&mut target, value);
        rest = after;
    }
    target.push_str(rest);
    target
}

/// The value of `[key='value']`, and what follows it.
fn predicate(text: &str) -> Option<(&str, &str)> {
    let equals = text.find('=')?;
    let quote = text[equals + 1..].chars().next()?;
    let value = &text[equals + 2..];
    let end = value.find(quote)?;
    Some((&value[..end], value[end + 1..].strip_prefix(']')?))
}

fn encode(target: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => target.push(char::from(byte)),
            // Writing to a string cannot fail.
            other => drop(write!(target, "%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yang::testing::{schema, top};

    /// The edits between two contents of the sample's container.
    fn edits(old: &str, new: &str, excluded: &[&str]) -> String {
        let parse = |inside: &str| Tree::parse_state(schema(), top(inside).as_bytes()).unwrap();
        let excluded: Vec<String> = excluded.iter().map(|&word| word.to_owned()).collect();
        match between(&parse(old), &parse(new), &excluded) {
            Difference::Nothing => "nothing".to_owned(),
            Difference::All => "all".to_owned(),
            Difference::Edits(edits) => edits.replace("</edit>", "</edit>\n"),
        }
    }

    #[test]
    fn a_path_becomes_a_resource() {
        assert_eq!(resource("/m:a/b[k='x/y'][l=\"it's\"]/n:c"), "/m:a/b=x%2Fy,it%27s/n:c");
        assert_eq!(resource("/m:a/b[.='1 2']"), "/m:a/b=1%202");
        assert_eq!(resource("/m:a"), "/m:a");
    }

    #[test]
    fn what_comes_goes_and_changes_is_told_once() {
        let old = "<name>a</name><item><name>x</name><port>1</port></item><item><name>y</name></item>";
        let new = "<name>b</name><item><name>x</name></item><item><name>z/1</name><deep><x>1</x></deep></item>";
        insta::assert_snapshot!(edits(old, new, &[]), @r#"
        <edit><edit-id>1</edit-id><operation>replace</operation><target>/sample:top/name</target><value><name xmlns="urn:sample">b</name></value></edit>
        <edit><edit-id>2</edit-id><operation>delete</operation><target>/sample:top/item=x/port</target></edit>
        <edit><edit-id>3</edit-id><operation>delete</operation><target>/sample:top/item=y</target></edit>
        <edit><edit-id>4</edit-id><operation>create</operation><target>/sample:top/item=z%2F1</target><value><item xmlns="urn:sample"><name>z/1</name><deep><x>1</x></deep></item></value></edit>
        "#);
        insta::assert_snapshot!(edits(old, new, &["delete", "create"]), @r#"<edit><edit-id>1</edit-id><operation>replace</operation><target>/sample:top/name</target><value><name xmlns="urn:sample">b</name></value></edit>"#);
        assert_eq!(edits(old, old, &[]), "nothing");
        assert_eq!(edits(old, new, &["delete", "create", "replace"]), "nothing");
    }

    #[test]
    fn what_a_patch_says_badly_is_sent_whole() {
        assert_eq!(edits("<step>a</step><step>b</step>", "<step>b</step><step>a</step>", &[]), "all");
        let many: String = (0..=EDITS_MAX).map(|number| format!("<tag>{number}</tag>")).collect();
        assert_eq!(edits("", &many, &[]), "all");
    }
}
