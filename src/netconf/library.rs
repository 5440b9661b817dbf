//! The state of ietf-yang-library: RFC 8525's yang-library and, for older clients, RFC 7895's modules-state.
//!
//! Must not know: how modules are loaded.

use crate::yang::value::Element;

const MODULE: &str = "ietf-yang-library";

/// The one module set and the one schema that all datastores share.
const COMMON: &str = "procyon";

/// What [`yang_library`] makes.
pub const ROOT: &str = "/ietf-yang-library:yang-library";
/// What [`modules_state`] makes.
pub const OLDER_ROOT: &str = "/ietf-yang-library:modules-state";

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Library {
    pub modules: Vec<Module>,
    /// Changes whenever the modules do; the same on every start with the same modules.
    pub content_id: String,
    /// Datastores as identities: `ietf-datastores:running` and so on.
    pub datastores: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Module {
    pub name: String,
    pub revision: Option<String>,
    pub namespace: String,
    pub features: Vec<String>,
    /// Modules that deviate this one, with their revisions.
    pub deviations: Vec<(String, Option<String>)>,
    pub submodules: Vec<(String, Option<String>)>,
    /// False for a module that is there for its types and groupings only.
    pub implemented: bool,
}

/// As RFC 8525 tells it.
pub fn yang_library(library: &Library) -> Element {
    let mut set = vec![Element::leaf("name", COMMON)];
    set.extend(library.modules.iter().filter(|module| module.implemented).map(|module| {
        let mut children = head(module);
        children.extend(module.submodules.iter().map(|(name, revision)| submodule(name, revision.as_deref())));
        children.extend(module.features.iter().map(|feature| Element::leaf("feature", feature)));
        children.extend(module.deviations.iter().map(|(name, _)| Element::leaf("deviation", name)));
        Element::node("module", children)
    }));
    set.extend(library.modules.iter().filter(|module| !module.implemented).map(|module| {
        let mut children = vec![
            Element::leaf("name", &module.name),
            // A key, so it is there even where the module has no revision.
            Element::leaf("revision", module.revision.as_deref().unwrap_or_default()),
            Element::leaf("namespace", &module.namespace),
        ];
        children.extend(module.submodules.iter().map(|(name, revision)| submodule(name, revision.as_deref())));
        Element::node("import-only-module", children)
    }));
    let mut children = vec![
        Element::node("module-set", set),
        Element::node("schema", vec![Element::leaf("name", COMMON), Element::leaf("module-set", COMMON)]),
    ];
    children.extend(library.datastores.iter().map(|datastore| {
        Element::node("datastore", vec![Element::leaf("name", datastore), Element::leaf("schema", COMMON)])
    }));
    children.push(Element::leaf("content-id", &library.content_id));
    Element::node("yang-library", children).in_module(MODULE)
}

fn head(module: &Module) -> Vec<Element> {
    let mut children = vec![Element::leaf("name", &module.name)];
    children.extend(Element::leaf_if("revision", module.revision.as_ref()));
    children.push(Element::leaf("namespace", &module.namespace));
    children
}

fn submodule(name: &str, revision: Option<&str>) -> Element {
    let mut children = vec![Element::leaf("name", name)];
    children.extend(Element::leaf_if("revision", revision));
    Element::node("submodule", children)
}

/// As RFC 7895 does, for older clients.
pub fn modules_state(library: &Library) -> Element {
    let mut children = vec![Element::leaf("module-set-id", &library.content_id)];
    children.extend(library.modules.iter().map(|module| {
        let mut children = vec![
            Element::leaf("name", &module.name),
            Element::leaf("revision", module.revision.as_deref().unwrap_or_default()),
            Element::leaf("namespace", &module.namespace),
        ];
        children.extend(module.features.iter().map(|feature| Element::leaf("feature", feature)));
        children.extend(module.deviations.iter().map(|(name, revision)| dated("deviation", name, revision.as_deref())));
        children.push(Element::leaf("conformance-type", if module.implemented { "implement" } else { "import" }));
        children.extend(module.submodules.iter().map(|(name, revision)| dated("submodule", name, revision.as_deref())));
        Element::node("module", children)
    }));
    Element::node("modules-state", children).in_module(MODULE)
}

/// In RFC 7895 revisions are keys: an empty one stands for none.
fn dated(node: &'static str, name: &str, revision: Option<&str>) -> Element {
    Element::node(node, vec![Element::leaf("name", name), Element::leaf("revision", revision.unwrap_or_default())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_told_in_both_trees() {
        let implemented = Module {
            name: "app".to_owned(),
            revision: Some("2026-01-01".to_owned()),
            namespace: "urn:app".to_owned(),
            features: vec!["fast".to_owned()],
            deviations: vec![("dev".to_owned(), None)],
            submodules: vec![("part".to_owned(), None)],
            implemented: true,
        };
        let imported = Module { name: "types".to_owned(), namespace: "urn:types".to_owned(), ..Module::default() };
        let library = Library {
            modules: vec![implemented, imported],
            content_id: "42".to_owned(),
            datastores: vec!["ietf-datastores:running".to_owned()],
        };
        let (new, old) = (yang_library(&library), modules_state(&library));
        let set = new.child("module-set").unwrap();
        assert_eq!(set.child("module").unwrap().text_of("deviation"), Some("dev"));
        assert_eq!(set.descend(&["module", "submodule"]).unwrap().text_of("revision"), None);
        assert_eq!(set.child("import-only-module").unwrap().text_of("revision"), Some(""));
        assert_eq!(new.child("datastore").unwrap().text_of("schema"), Some("procyon"));
        assert_eq!(new.text_of("content-id"), Some("42"));
        let modules: Vec<_> = old.children_named("module").collect();
        assert_eq!(modules[0].text_of("conformance-type"), Some("implement"));
        assert_eq!(modules[1].text_of("conformance-type"), Some("import"));
        assert_eq!(modules[0].child("deviation").unwrap().text_of("revision"), Some(""));
    }
}
