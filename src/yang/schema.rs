//! The YANG schema: loaded once at start, then read-only for the life of the process.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::analysis::Analysis;
use super::ffi::{Context, Fault, PrintFormat};
pub use super::ffi::{ModuleRef, Named, NodeKind, SchemaNode, ValueType};

/// A module to implement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSpec {
    pub name: String,
    pub revision: Option<String>,
    /// Names of the features to switch on; `*` means all.
    pub features: Vec<String>,
}

/// What get-schema may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    Yang,
    Yin,
}

/// What yang-library says of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInfo {
    pub name: &'static str,
    pub revision: Option<&'static str>,
    pub namespace: &'static str,
    pub prefix: &'static str,
    /// Implemented, or only imported for its types.
    pub is_implemented: bool,
    pub features: Vec<&'static str>,
    pub submodules: Vec<(&'static str, Option<&'static str>)>,
    /// Names of the modules that deviate it.
    pub deviated_by: Vec<&'static str>,
    pub file: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("libyang cannot make a schema context: is there enough memory?")]
    NoContext,
    #[error("the YANG directory {path} cannot be searched: does it exist and is it readable?")]
    DirectoryUnusable { path: PathBuf },
    #[error("the YANG module {module} cannot be loaded: {reason}; put the file right, or leave the module out")]
    ModuleRefused { module: String, reason: String },
}

/// Why get-schema has nothing to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("there is no such module in this revision")]
    Unknown,
    /// RFC 6022 section 3.1: more than one revision matches.
    #[error("more than one revision of this module is known: name one")]
    Ambiguous,
}

/// RFC 8341 section 3.2.2: what NACM does with a node when no rule says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NacmDefault {
    None,
    DenyWrite,
    DenyAll,
}

#[derive(Debug)]
pub struct Schema {
    context: Context,
    analysis: Analysis,
    content_id: String,
    /// The implemented module of each namespace.
    namespaces: HashMap<&'static str, ModuleRef>,
}

impl Schema {
    /// Loads and implements the modules, looking for files in the directories in that order. Never freed.
    pub fn load(search_dirs: &[PathBuf], modules: &[ModuleSpec]) -> Result<&'static Schema, SchemaError> {
        let context = Context::new().ok_or(SchemaError::NoContext)?;
        for path in search_dirs {
            if !context.search(path) {
                return Err(SchemaError::DirectoryUnusable { path: path.clone() });
            }
        }
        for spec in modules {
            context
                .load(&spec.name, spec.revision.as_deref(), &spec.features)
                .map_err(|faults| SchemaError::ModuleRefused { module: spec.name.clone(), reason: reason(&faults) })?;
        }
        let content_id = content_id(&context);
        let analysis = Analysis::of(context.modules().into_iter().flat_map(ModuleRef::top_nodes).collect());
        let namespaces = context
            .modules()
            .into_iter()
            .filter(|module| module.is_implemented())
            .map(|module| (module.namespace(), module))
            .collect();
        Ok(Box::leak(Box::new(Self { context, analysis, content_id, namespaces })))
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// What its constraints can see.
    pub fn analysis(&self) -> &Analysis {
        &self.analysis
    }

    /// All modules, implemented ones and imported ones, in the order of loading.
    pub fn modules(&self) -> Vec<ModuleInfo> {
        self.context.modules().into_iter().map(describe).collect()
    }

    /// The implemented module of that name.
    pub fn module(&self, name: &str) -> Option<ModuleRef> {
        self.context.module(name)
    }

    pub fn module_of_namespace(&self, namespace: &str) -> Option<ModuleRef> {
        self.namespaces.get(namespace).copied()
    }

    /// The text of a module or submodule for get-schema.
    pub fn text(&self, name: &str, revision: Option<&str>, format: TextFormat) -> Result<String, TextError> {
        let format = match format {
            TextFormat::Yang => PrintFormat::Yang,
            TextFormat::Yin => PrintFormat::Yin,
        };
        let revision = revision.filter(|revision| !revision.is_empty());
        let found: Vec<ModuleRef> = self
            .context
            .modules()
            .into_iter()
            .filter(|module| module.name() == name && revision.is_none_or(|wanted| module.revision() == Some(wanted)))
            .collect();
        match found.as_slice() {
            [] => self.context.submodule_text(name, revision, format).ok_or(TextError::Unknown),
            [module] => module.text(format).ok_or(TextError::Unknown),
            _ => Err(TextError::Ambiguous),
        }
    }

    /// Top data nodes, rpcs and notifications of all implemented modules.
    pub fn top_nodes(&self) -> Vec<SchemaNode> {
        self.context.modules().into_iter().flat_map(ModuleRef::top_nodes).collect()
    }

    pub fn top(&self, module: &str, name: &str) -> Option<SchemaNode> {
        self.module(module)?.child(name)
    }

    /// The schema node of a schema path or data path (`/module:a/b[key='v']/c`): predicates are passed over.
    pub fn node(&self, path: &str) -> Option<SchemaNode> {
        let mut at: Option<SchemaNode> = None;
        for step in super::path::steps(path)? {
            let module = match (step.module, at) {
                (Some(name), _) => self.module(name)?,
                (None, Some(parent)) => parent.module(),
                (None, None) => return None,
            };
            at = Some(match at {
                None => module.child(step.name)?,
                Some(parent) => parent
                    .child(module, step.name)
                    .or_else(|| parent.operations().into_iter().find(|operation| operation.name() == step.name))?,
            });
        }
        at
    }

    /// Changes whenever the set of modules, their revisions, features or deviations change (RFC 8525).
    pub fn content_id(&self) -> &str {
        &self.content_id
    }
}

impl SchemaNode {
    /// Its own nacm:default-deny-* statement; RFC 8341 asks at each node, so descendants are asked for themselves.
    pub fn nacm(self) -> NacmDefault {
        if self.has_extension("ietf-netconf-acm", "default-deny-all") {
            NacmDefault::DenyAll
        } else if self.has_extension("ietf-netconf-acm", "default-deny-write") {
            NacmDefault::DenyWrite
        } else {
            NacmDefault::None
        }
    }
}

fn describe(module: ModuleRef) -> ModuleInfo {
    ModuleInfo {
        name: module.name(),
        revision: module.revision(),
        namespace: module.namespace(),
        prefix: module.prefix(),
        is_implemented: module.is_implemented(),
        features: module.features(),
        submodules: module.submodules(),
        deviated_by: module.deviated_by().into_iter().map(ModuleRef::name).collect(),
        file: module.file(),
    }
}

fn content_id(context: &Context) -> String {
    // Sorted, so that the order of loading does not matter.
    let mut lines = BTreeMap::new();
    for info in context.modules().into_iter().map(describe) {
        let revision = info.revision.unwrap_or("");
        let mut line = format!("{}@{revision} {}", info.name, info.is_implemented);
        let mut features = info.features;
        features.sort_unstable();
        for word in features.into_iter().chain(info.deviated_by) {
            line.push(' ');
            line.push_str(word);
        }
        lines.insert((info.name, revision), line);
    }
    let mut hash = Sha256::new();
    for line in lines.values() {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What went wrong, first cause first: `text (file/path, line 12)`.
fn reason(faults: &[Fault]) -> String {
    let said: Vec<String> = faults
        .iter()
        .map(|fault| {
            let text = fault.message.trim_end_matches('.');
            match (&fault.schema_path, fault.line) {
                (Some(path), Some(line)) => format!("{text} (at {path}, line {line})"),
                (Some(path), None) => format!("{text} (at {path})"),
                (None, Some(line)) => format!("{text} (line {line})"),
                (None, None) => text.to_owned(),
            }
        })
        .collect();
    if said.is_empty() { "libyang gives no reason".to_owned() } else { said.join("; ") }
}
