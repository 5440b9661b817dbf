//! Prefixes inside of values and XPath expressions: from those of the XML document to module names.

use std::borrow::Cow;

use super::schema::{Schema, SchemaNode};
use super::xml::Scope;

/// A leaf's text with its prefixes turned into module names, as libyang's JSON style wants them.
pub fn module_names<'a>(schema: &Schema, leaf: SchemaNode, text: &'a str, scope: &Scope) -> Cow<'a, str> {
    if !leaf.has_prefixed_values() {
        return Cow::Borrowed(text);
    }
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    let module_of = |prefix: &str| schema.module_of_namespace(scope.lookup(prefix)?).map(|module| module.name());
    if trimmed.contains(['/', '[', '(']) {
        return Cow::Owned(translate(trimmed, leaf.is_instance_identifier(), module_of));
    }
    match trimmed.split_once(':') {
        Some((prefix, name)) => match module_of(prefix) {
            Some(module) => Cow::Owned(format!("{module}:{name}")),
            None => Cow::Borrowed(text),
        },
        // An identity without a prefix is in the default namespace; for libyang it would be in the leaf's module.
        None => match module_of("").filter(|module| *module != leaf.module().name() && leaf.is_identity()) {
            Some(module) => Cow::Owned(format!("{module}:{trimmed}")),
            None => Cow::Borrowed(text),
        },
    }
}

/// An XPath expression with the client's prefixes turned into module names.
pub fn expression(schema: &Schema, text: &str, namespaces: &[(String, String)]) -> String {
    translate(text, false, |prefix| {
        let (_, namespace) = namespaces.iter().find(|(bound, _)| bound == prefix)?;
        schema.module_of_namespace(namespace).map(|module| module.name())
    })
}

/// Replaces `prefix:` before a name, outside of quotes. With `once`, a module that was just named is not named again:
/// so libyang wants instance-identifiers.
fn translate(text: &str, once: bool, module_of: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    let mut current = None;
    while let Some(first) = rest.chars().next() {
        if first == '\'' || first == '"' {
            let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if is_name_start(first) {
            let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let prefixes_a_name = after.starts_with(':') && !after.starts_with("::");
            match module_of(word).filter(|_| prefixes_a_name) {
                Some(module) => {
                    if !(once && current == Some(module)) {
                        out.push_str(module);
                        out.push(':');
                    }
                    current = Some(module);
                    // What follows is the local name; it is never a prefix itself.
                    let local = &after[1..];
                    let end = local.find(|letter| !is_name(letter)).unwrap_or(local.len());
                    out.push_str(&local[..end]);
                    rest = &local[end..];
                }
                None => {
                    out.push_str(word);
                    rest = after;
                }
            }
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn is_name_start(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::translate;

    fn module_of(prefix: &str) -> Option<&'static str> {
        match prefix {
            "a" => Some("module-a"),
            "b" => Some("module-b"),
            _ => None,
        }
    }

    #[test]
    fn prefixes_become_modules_outside_of_quotes_and_axes() {
        let text = "/a:top/b:list[a:name='a:b']/child::a:x | count(//a:*)";
        assert_eq!(
            translate(text, false, module_of),
            "/module-a:top/module-b:list[module-a:name='a:b']/child::module-a:x | count(//module-a:*)"
        );
    }

    #[test]
    fn an_instance_identifier_names_a_module_where_it_changes() {
        assert_eq!(
            translate("/a:top/a:list[a:k='1']/b:x/b:y", true, module_of),
            "/module-a:top/list[k='1']/module-b:x/y"
        );
    }

    #[test]
    fn unknown_prefixes_and_odd_text_stay_as_they_are() {
        for text in ["/z:top", "'open", "", "é:ü", "a", "a:"] {
            let same = translate(text, false, |_| None);
            assert_eq!(same, text);
        }
    }
}
