//! Module names inside of values: between XML, where prefixes stand for them, and RFC 7951, which writes them.

use crate::yang::schema::ValueType;

/// From XML: each prefix becomes the name of its module; what has none is left alone.
pub(super) fn from_xml<'a>(text: &str, of: &ValueType, module_of: impl Fn(&str) -> Option<&'a str>) -> String {
    let trimmed = text.trim();
    if is_path(of, trimmed) {
        let mut named = None;
        return rewrite(trimmed, |prefix| {
            let module = module_of(prefix?)?.to_owned();
            // RFC 7951 section 6.11: a module is named where it changes.
            let is_new = named.as_ref() != Some(&module);
            named = Some(module.clone());
            Some(if is_new { format!("{module}:") } else { String::new() })
        });
    }
    match trimmed.split_once(':') {
        Some((prefix, name)) => module_of(prefix).map_or_else(|| text.to_owned(), |module| format!("{module}:{name}")),
        None => match module_of("").filter(|_| holds_identities(of)) {
            Some(module) => format!("{module}:{trimmed}"),
            None => text.to_owned(),
        },
    }
}

/// To XML: module names serve as prefixes. Tells which modules have to be declared.
pub(super) fn to_xml(text: &str, of: &ValueType, is_module: impl Fn(&str) -> bool) -> (String, Vec<String>) {
    let mut used: Vec<String> = Vec::new();
    let mut note = |module: &str| {
        if !used.iter().any(|known| known == module) {
            used.push(module.to_owned());
        }
    };
    if is_path(of, text) {
        let mut named: Option<String> = None;
        let written = rewrite(text, |prefix| {
            if let Some(prefix) = prefix.filter(|prefix| is_module(prefix)) {
                named = Some(prefix.to_owned());
            }
            let module = named.clone()?;
            note(&module);
            Some(format!("{module}:"))
        });
        return (written, used);
    }
    if let Some((module, _)) = text.split_once(':').filter(|(module, _)| is_module(module)) {
        note(module);
    }
    (text.to_owned(), used)
}

fn holds_identities(of: &ValueType) -> bool {
    match of {
        ValueType::Identity(_) => true,
        ValueType::Leafref { of, .. } => holds_identities(of),
        _ => false,
    }
}

fn is_path(of: &ValueType, text: &str) -> bool {
    match of {
        ValueType::Path => true,
        ValueType::Leafref { of, .. } => is_path(of, text),
        ValueType::Union(members) => text.starts_with('/') && members.iter().any(|member| is_path(member, text)),
        _ => false,
    }
}

/// Asks, for each step name outside of quotes, what stands before it: given its prefix, answered with the new one and
/// its colon. `None` leaves it as it is.
fn rewrite(text: &str, mut prefix_for: impl FnMut(Option<&str>) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut starts_name = false;
    while let Some(first) = rest.chars().next() {
        if first == '\'' || first == '"' {
            let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            starts_name = false;
        } else if starts_name && (first.is_alphabetic() || first == '_') {
            let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
            let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let (prefix, local, after) = match after.strip_prefix(':').filter(|after| !after.starts_with(':')) {
                Some(after) => {
                    let end = after.find(|letter| !is_name(letter)).unwrap_or(after.len());
                    (Some(word), &after[..end], &after[end..])
                }
                None => (None, word, after),
            };
            match (prefix_for(prefix), prefix) {
                (Some(new), _) => out.push_str(&new),
                (None, Some(old)) => {
                    out.push_str(old);
                    out.push(':');
                }
                (None, None) => {}
            }
            out.push_str(local);
            rest = after;
            starts_name = false;
        } else {
            out.push(first);
            starts_name = matches!(first, '/' | '[');
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_after_a_way_through_xml() {
        let path = "/sample:top/item[name='a/b:c']/more:colour";
        let (xml, used) = to_xml(path, &ValueType::Path, |module| matches!(module, "sample" | "more"));
        assert_eq!(xml, "/sample:top/sample:item[sample:name='a/b:c']/more:colour");
        assert_eq!(used, ["sample", "more"]);
        let back = from_xml(&xml, &ValueType::Path, |prefix| match prefix {
            "sample" => Some("sample"),
            "more" => Some("more"),
            _ => None,
        });
        assert_eq!(back, path);
    }

    #[test]
    fn an_identity_takes_the_module_of_its_prefix() {
        let identities = ValueType::Identity(Vec::new());
        let module_of = |prefix: &str| match prefix {
            "s" => Some("sample"),
            "" => Some("more"),
            _ => None,
        };
        assert_eq!(from_xml(" s:cat ", &identities, module_of), "sample:cat");
        assert_eq!(from_xml("dog", &identities, module_of), "more:dog");
        assert_eq!(from_xml("z:dog", &identities, module_of), "z:dog");
    }
}
