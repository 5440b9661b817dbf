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
    let module_of = |prefix: &str| {
        let (_, namespace) = namespaces.iter().find(|(bound, _)| bound == prefix)?;
        schema.module_of_namespace(namespace).map(|module| module.name())
    };
    translate(&with_identities(text, module_of), None, module_of)
}

/// What `derived-from` and `derived-from-or-self` ask about is named in a literal: the prefix in that means a module too.
fn with_identities(text: &str, module_of: impl Fn(&str) -> Option<&'static str>) -> Cow<'_, str> {
    if !text.contains("derived-from") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    // Of each bracket that is open: the commas behind it, where it is that of such a call.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut is_called = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            _ if is_name_start(first) => rest.find(|letter| !is_name(letter)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        let identity = word.strip_prefix(first).and_then(|inner| inner.strip_suffix(first)?.split_once(':'));
        match (first, identity) {
            ('\'' | '"', Some((prefix, name))) if open.last() == Some(&Some(1)) => {
                let module = module_of(prefix.trim()).unwrap_or(prefix);
                out.extend([&word[..1], module, ":", name, &word[..1]]);
            }
            _ => out.push_str(word),
        }
        match first {
            '(' => open.push(is_called.then_some(0)),
            '[' => open.push(None),
            ')' | ']' => drop(open.pop()),
            ',' => {
                if let Some(Some(commas)) = open.last_mut() {
                    *commas += 1;
                }
            }
            _ => {}
        }
        is_called = matches!(word, "derived-from" | "derived-from-or-self") || is_called && first.is_whitespace();
        rest = after;
    }
    Cow::Owned(out)
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
    use super::{translate, with_identities};

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
    fn the_prefix_of_an_identity_that_is_asked_about_becomes_a_module() {
        for (text, expected) in [
            ("//a:x[derived-from(., 'a:id')]", "//a:x[derived-from(., 'module-a:id')]"),
            (
                "//x[derived-from-or-self (../y[z(1, 'b:i')], \"b:i\")]",
                "//x[derived-from-or-self (../y[z(1, 'b:i')], \"module-b:i\")]",
            ),
            (
                "derived-from('a:x', 'a:x') | concat('a:x', 'a:x')",
                "derived-from('a:x', 'module-a:x') | concat('a:x', 'a:x')",
            ),
            ("derived-from(x, 'z:id')", "derived-from(x, 'z:id')"),
            ("derived-from(x, 'id')", "derived-from(x, 'id')"),
            ("derived-from(x, 'a:", "derived-from(x, 'a:"),
            ("derived-from(x, '", "derived-from(x, '"),
            ("a = 'derived-from(x, ' and 'a:y'", "a = 'derived-from(x, ' and 'a:y'"),
        ] {
            assert_eq!(with_identities(text, module_of), expected, "{text}");
        }
    }

    #[test]
    fn unknown_prefixes_and_odd_text_stay_as_they_are() {
        for text in ["/z:top", "'open", "", "é:ü", "a", "a:"] {
            let same = translate(text, None, |_| None);
            assert_eq!(same, text);
        }
    }
}
