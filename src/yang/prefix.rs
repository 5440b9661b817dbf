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
        let named = leaf.is_instance_identifier().then_some("");
        return Cow::Owned(translate(trimmed, named, module_of));
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
    translate(text, None, |prefix| {
        let (_, namespace) = namespaces.iter().find(|(bound, _)| bound == prefix)?;
        schema.module_of_namespace(namespace).map(|module| module.name())
    })
}

/// A key predicate like `[ex:name='x']`: without prefixes, since keys are in the module of their list.
pub fn key_predicate(schema: &Schema, list: SchemaNode, text: &str, scope: &Scope) -> String {
    translate(text, Some(list.module().name()), |prefix| {
        schema.module_of_namespace(scope.lookup(prefix)?).map(|module| module.name())
    })
}

/// Replaces `prefix:` before a name, outside of quotes. When `named` is the module named last, a module is not named
/// again until another one was: so libyang wants instance-identifiers.
fn translate(text: &str, mut named: Option<&str>, module_of: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
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
                    if named != Some(module) {
                        out.push_str(module);
                        out.push(':');
                    }
                    named = named.map(|_| module);
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
            translate(text, None, module_of),
            "/module-a:top/module-b:list[module-a:name='a:b']/child::module-a:x | count(//module-a:*)"
        );
    }

    #[test]
    fn an_instance_identifier_names_a_module_where_it_changes() {
        assert_eq!(
            translate("/a:top/a:list[a:k='1']/b:x/b:y", Some(""), module_of),
            "/module-a:top/list[k='1']/module-b:x/y"
        );
    }

    #[test]
    fn unknown_prefixes_and_odd_text_stay_as_they_are() {
        for text in ["/z:top", "'open", "", "é:ü", "a", "a:"] {
            let same = translate(text, None, |_| None);
            assert_eq!(same, text);
        }
    }
}
