//! The committed checksums as the configuration tree holds them.
//!
//! Knows the names of the tree's nodes; not what a commit is.

use super::name::{NameError, ScriptKey, ScriptName, ScriptType};
use super::repository::Committed;
use crate::checksum::{ChecksumError, Sha256};
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

/// The top node of the configuration.
pub const ROOT: &str = "/Cisco-IOS-XR-um-script-cfg:script";

/// Where each type's scripts stand: path of containers, list, key. Scripts of type eem have their checksum on the
/// action that runs them.
const LISTS: [(ScriptType, &[&str], &str, &str); 4] = [
    (ScriptType::Exec, &["execs"], "exec", "exec-name"),
    (ScriptType::Process, &["processes"], "process", "process-name"),
    (ScriptType::Precommit, &["precommit", "script-names"], "script-name", "script-name"),
    (ScriptType::Config, &["configs"], "config", "config-name"),
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("{source}")]
    Name { path: String, source: NameError },
    #[error("{source}")]
    Checksum { path: String, source: ChecksumError },
    #[error("snmp scripts are not supported; use exec, process, config or precommit")]
    Snmp { path: String },
}

impl From<EntryError> for Refusal {
    fn from(error: EntryError) -> Self {
        let message = error.to_string();
        match error {
            EntryError::Name { path, .. } | EntryError::Checksum { path, .. } => {
                Self::new(Kind::InvalidValue, message).at(path)
            }
            EntryError::Snmp { path } => Self::new(Kind::OperationNotSupported, message).at(path),
        }
    }
}

/// The checksums below `root`, and what is wrong with those that cannot be read.
pub fn read(root: Option<&Element>) -> (Committed, Vec<EntryError>) {
    let (mut committed, mut errors) = (Committed::new(), Vec::new());
    let Some(root) = root else { return (committed, errors) };
    for (script_type, containers, list, key) in LISTS {
        let Some(entries) = root.descend(containers) else { continue };
        // The module that adds config scripts augments the tree, so its nodes bear its name.
        let folder: String = containers.iter().map(|name| format!("/{}", qualified(script_type, name))).collect();
        for entry in entries.children_named(list) {
            let name = entry.text_of(key).unwrap_or_default();
            let quote = if name.contains('\'') { '"' } else { '\'' };
            let path = format!("{ROOT}{folder}/{list}[{key}={quote}{name}{quote}]");
            let Some(sum) = entry.child("checksum").and_then(|checksum| checksum.text_of("sha256")) else { continue };
            match (ScriptName::parse(name), Sha256::parse(sum)) {
                (Ok(name), Ok(sum)) => {
                    committed.insert(ScriptKey::new(script_type, name), sum);
                }
                (Err(source), _) => errors.push(EntryError::Name { path, source }),
                (Ok(_), Err(source)) => {
                    errors.push(EntryError::Checksum { path: format!("{path}/checksum/sha256"), source });
                }
            }
        }
    }
    if root.descend(&["snmps", "snmp"]).is_some() {
        errors.push(EntryError::Snmp { path: format!("{ROOT}/snmps") });
    }
    (committed, errors)
}

fn qualified(script_type: ScriptType, name: &str) -> String {
    match script_type {
        ScriptType::Config => format!("Cisco-IOS-XR-um-config-validation-cfg:{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn process(name: &str, sum: &str) -> Element {
        let checksum = Element::node("checksum", vec![Element::leaf("sha256", sum)]);
        Element::node("process", vec![Element::leaf("process-name", name), checksum])
    }

    fn script(processes: Vec<Element>) -> Element {
        Element::node("script", vec![Element::node("processes", processes)])
    }

    #[test]
    fn a_checksum_is_read_in_any_case_and_as_pasted() {
        let pasted = format!(" {}  /harddisk:/x.py", SUM.to_uppercase());
        let (committed, errors) = read(Some(&script(vec![process("x.py", SUM), process("y.py", &pasted)])));
        assert_eq!(errors, []);
        let texts: Vec<String> = committed.iter().map(|(key, sum)| format!("{key} {sum}")).collect();
        assert_eq!(texts, [format!("process script `x.py` {SUM}"), format!("process script `y.py` {SUM}")]);
    }

    #[test]
    fn every_wrong_entry_is_named() {
        let (_, errors) = read(Some(&script(vec![process("x.py", "12"), process("a/b.py", SUM)])));
        let refusals: Vec<Refusal> = errors.into_iter().map(Refusal::from).collect();
        let shown: Vec<_> =
            refusals.iter().map(|refusal| (refusal.path.as_deref(), refusal.message.as_str())).collect();
        insta::assert_debug_snapshot!(shown, @r#"
        [
            (
                Some(
                    "/Cisco-IOS-XR-um-script-cfg:script/processes/process[process-name='x.py']/checksum/sha256",
                ),
                "checksum `12` has 2 digits; a SHA-256 sum has 64, as `sha256sum FILE` prints them",
            ),
            (
                Some(
                    "/Cisco-IOS-XR-um-script-cfg:script/processes/process[process-name='a/b.py']",
                ),
                "script name `a/b.py` holds a path; name the file alone, like `process-script.py`",
            ),
        ]
        "#);
    }
}
