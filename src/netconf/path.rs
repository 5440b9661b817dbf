//! A node's path as libyang prints it (`/module:container/list[key='v']`) to the XPath of an error-path, with prefixes
//! and the namespaces they stand for (RFC 6241 section 4.3).
//!
//! Knows modules only through [`Namespaces`].

use std::fmt::Write as _;

use super::error::Namespaces;

/// An XPath and the declarations it needs: prefix, namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) xpath: String,
    pub(super) declarations: Vec<(String, String)>,
}

/// `None` where the path is not one, or names a module that nobody knows.
pub(super) fn to_xpath(path: &str, names: &dyn Namespaces) -> Option<Located> {
    let mut converter = Converter { names, modules: Vec::new(), xpath: String::with_capacity(path.len() + 32) };
    converter.convert(path)?;
    let declarations = converter.modules.into_iter().map(|(_, prefix, namespace)| (prefix, namespace)).collect();
    Some(Located { xpath: converter.xpath, declarations })
}

struct Converter<'n> {
    names: &'n dyn Namespaces,
    /// Module, prefix chosen for it, namespace.
    modules: Vec<(String, String, String)>,
    xpath: String,
}

impl Converter<'_> {
    fn convert(&mut self, path: &str) -> Option<()> {
        let mut rest = path;
        let mut module = None;
        while !rest.is_empty() {
            rest = rest.strip_prefix('/')?;
            self.xpath.push('/');
            if let Some(after) = rest.strip_prefix('@') {
                self.xpath.push('@');
                rest = after;
            }
            let (name, after) = take_name(rest)?;
            module = Some(self.name(name, module.as_deref())?);
            rest = after;
            while let Some(after) = rest.strip_prefix('[') {
                rest = self.predicate(after, module.as_deref())?;
            }
        }
        module.map(|_| ())
    }

    /// What stands between brackets: `key='v'`, `.='v'` or a position. What follows the closing one is returned.
    fn predicate<'p>(&mut self, text: &'p str, module: Option<&str>) -> Option<&'p str> {
        self.xpath.push('[');
        let mut rest = text;
        if let Some(after) = rest.strip_prefix('.') {
            self.xpath.push('.');
            rest = after;
        } else if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            self.xpath.push_str(&rest[..digits]);
            self.xpath.push(']');
            return rest[digits..].strip_prefix(']');
        } else {
            let (name, after) = take_name(rest)?;
            self.name(name, module)?;
            rest = after;
        }
        rest = rest.strip_prefix('=')?;
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let end = rest[1..].find(quote)? + 2;
        self.xpath.push('=');
        self.xpath.push_str(&rest[..end]);
        self.xpath.push(']');
        rest[end..].strip_prefix(']')
    }

    /// Writes a name with its prefix; the module it is in.
    fn name(&mut self, name: &str, parent: Option<&str>) -> Option<String> {
        let (module, local) = match name.split_once(':') {
            Some((module, local)) => (module, local),
            None => (parent?, name),
        };
        let at = match self.modules.iter().position(|(known, ..)| known == module) {
            Some(at) => at,
            None => {
                let (namespace, prefix) = self.names.of_module(module)?;
                let mut unique = prefix.clone();
                let mut number = 2;
                while self.modules.iter().any(|(_, taken, _)| *taken == unique) {
                    unique.clone_from(&prefix);
                    // Writing to a string cannot fail.
                    let _ = write!(unique, "{number}");
                    number += 1;
                }
                self.modules.push((module.to_owned(), unique, namespace));
                self.modules.len() - 1
            }
        };
        self.xpath.push_str(&self.modules[at].1);
        self.xpath.push(':');
        self.xpath.push_str(local);
        Some(module.to_owned())
    }
}

fn take_name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Names;

    impl Namespaces for Names {
        fn of_module(&self, module: &str) -> Option<(String, String)> {
            match module {
                "app" => Some(("urn:app".to_owned(), "a".to_owned())),
                "other" => Some(("urn:other".to_owned(), "a".to_owned())),
                _ => None,
            }
        }
    }

    fn xpath(path: &str) -> Option<(String, Vec<(String, String)>)> {
        to_xpath(path, &Names).map(|located| (located.xpath, located.declarations))
    }

    fn declared(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(prefix, namespace)| (prefix.to_owned(), namespace.to_owned())).collect()
    }

    #[test]
    fn names_inherit_the_module_and_get_its_prefix() {
        let app = declared(&[("a", "urn:app")]);
        assert_eq!(xpath("/app:top/list[key='it']/leaf"), Some(("/a:top/a:list[a:key='it']/a:leaf".to_owned(), app)));
    }

    #[test]
    fn two_modules_of_one_prefix_are_told_apart() {
        let both = declared(&[("a", "urn:app"), ("a2", "urn:other")]);
        assert_eq!(xpath("/app:top/other:more/x"), Some(("/a:top/a2:more/a2:x".to_owned(), both)));
    }

    #[test]
    fn predicates_keep_their_values_whatever_is_in_them() {
        let app = declared(&[("a", "urn:app")]);
        assert_eq!(
            xpath("/app:l[k1=\"it's]/x\"][app:k2='y']/ll[.='z']/n[3]").unwrap(),
            ("/a:l[a:k1=\"it's]/x\"][a:k2='y']/a:ll[.='z']/a:n[3]".to_owned(), app)
        );
    }

    #[test]
    fn what_is_no_path_or_of_no_module_gives_nothing() {
        for path in
            ["", "app:top", "/", "/top", "/none:x", "/app:l[k='v", "/app:l[k=v]", "/app:l[]", "/app:a//b", "/app:a["]
        {
            assert_eq!(xpath(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "(/|app:|[a-zé]|\\[|\\]|=|'|\"|\\.|[0-9]|@){0,20}") {
            let _ = xpath(&path);
        }
    }
}
