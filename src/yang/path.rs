//! libyang's data paths as text: `/module:container/list[key='v']/leaf`.

use super::ffi::{ModuleRef, Node, SchemaNode};
use super::schema::NodeKind;

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    pub module: Option<&'a str>,
    pub name: &'a str,
    /// The predicates as written, brackets included; empty when there are none.
    pub predicates: &'a str,
}

/// Cuts a path into its steps; `None` when it is not an absolute path.
pub fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('/')?;
    let mut steps = Vec::new();
    loop {
        let end = step_end(rest)?;
        let (step, after) = rest.split_at(end);
        let (qualified, predicates) = step.split_at(step.find('[').unwrap_or(step.len()));
        let (module, name) = match qualified.split_once(':') {
            Some((module, name)) => (Some(module), name),
            None => (None, qualified),
        };
        if name.is_empty() || module == Some("") {
            return None;
        }
        steps.push(Step { module, name, predicates });
        match after.strip_prefix('/') {
            Some(next) => rest = next,
            None => return Some(steps),
        }
    }
}

/// The byte where the first step of `text` ends: at a slash outside of brackets and quotes, or at the end.
fn step_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut inside = false;
    for (index, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') if inside => quote = Some(byte),
            (None, b'[') => inside = true,
            (None, b']') => inside = false,
            (None, b'/') if !inside => return Some(index),
            (None, _) => {}
        }
    }
    (quote.is_none() && !inside).then_some(text.len())
}

/// The names and values of predicates, `[p:name='value'][other="value"]`; `None` for what is none.
pub fn key_values(predicates: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = predicates;
    let mut keys = Vec::new();
    while let Some(inside) = rest.strip_prefix('[') {
        let (name, after) = inside.split_once('=')?;
        let quote = after.chars().next().filter(|letter| matches!(letter, '\'' | '"'))?;
        let (value, after) = after[1..].split_once(quote)?;
        keys.push((name.rsplit(':').next().unwrap_or(name), value));
        rest = after.strip_prefix(']')?;
    }
    (rest.is_empty() && !keys.is_empty()).then_some(keys)
}

/// One more step, that of a configuration node, as [`Node::path`] would write it below a node of `around`.
pub(super) fn push_step(path: &mut String, node: Node<'_>, around: Option<ModuleRef>) {
    let facts = node.schema().facts();
    path.push('/');
    if around != Some(facts.module) {
        path.push_str(facts.module.name());
        path.push(':');
    }
    path.push_str(facts.name);
    match facts.kind {
        NodeKind::List => push_keys(path, node),
        NodeKind::LeafList => push_predicate(path, ".", node.value().unwrap_or_default()),
        _ => {}
    }
}

/// `[k1='v'][k2='w']` of an entry.
pub(super) fn key_predicates(entry: Node<'_>) -> String {
    let mut text = String::new();
    push_keys(&mut text, entry);
    text
}

fn push_keys(path: &mut String, entry: Node<'_>) {
    for key in entry.children().take_while(|child| child.schema().facts().is_key) {
        push_predicate(path, key.name(), key.value().unwrap_or_default());
    }
}

fn push_predicate(path: &mut String, name: &str, value: &str) {
    let quote = if value.contains('\'') { '"' } else { '\'' };
    path.push('[');
    path.push_str(name);
    path.push('=');
    path.push(quote);
    path.push_str(value);
    path.push(quote);
    path.push(']');
}

/// A value as a predicate literal; `None` when it holds both kinds of quotes, which XPath 1.0 cannot write.
pub fn quoted(value: &str) -> Option<String> {
    if !value.contains('\'') {
        Some(format!("'{value}'"))
    } else if !value.contains('"') {
        Some(format!("\"{value}\""))
    } else {
        None
    }
}

/// `[k1='v'][k2='w']` for the keys of a list.
pub fn key_predicate(keys: &[SchemaNode], values: &[&str]) -> Option<String> {
    let mut text = String::new();
    for (key, value) in keys.iter().zip(values) {
        text.push('[');
        text.push_str(key.name());
        text.push('=');
        text.push_str(&quoted(value)?);
        text.push(']');
    }
    Some(text)
}

/// The path of a child that need not exist.
pub fn child_path(parent: Option<Node<'_>>, child: SchemaNode, predicate: &str) -> String {
    let above = parent.map(Node::path).unwrap_or_default();
    extend(&above, parent.map(Node::schema), child, predicate)
}

/// `above` with one more step: the module is named where it changes, as libyang does.
pub fn extend(above: &str, parent: Option<SchemaNode>, child: SchemaNode, predicate: &str) -> String {
    let module = child.module();
    if parent.is_some_and(|parent| parent.module() == module) {
        format!("{above}/{}{predicate}", child.name())
    } else {
        format!("{above}/{}:{}{predicate}", module.name(), child.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predicate_is_told_from_a_value() {
        assert_eq!(key_values("[s:a='1'][b=\"x'y\"]"), Some(vec![("a", "1"), ("b", "x'y")]));
        for value in ["plain", "[", "[a]", "[a='1'", "[a='1']x", ""] {
            assert_eq!(key_values(value), None, "{value}");
        }
    }

    #[test]
    fn slashes_inside_of_quotes_do_not_end_a_step() {
        let found = steps("/m:top/list[name='a/b]']/leaf").unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], Step { module: Some("m"), name: "top", predicates: "" });
        assert_eq!(found[1].predicates, "[name='a/b]']");
        assert_eq!(found[2].name, "leaf");
    }

    #[test]
    fn broken_paths_are_no_paths() {
        for text in ["", "relative", "/", "/a//b", "/:x", "/m:list[name='open", "/m:list[x"] {
            assert_eq!(steps(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_with_both_quotes_has_no_literal() {
        assert_eq!(quoted("it's").as_deref(), Some("\"it's\""));
        assert_eq!(quoted("'\""), None);
    }
}
