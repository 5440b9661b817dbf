//! What can be watched of a resource, and which changes are changes of a process's configuration.

use std::path::{Path, PathBuf};

use super::definition::{Definition, Kind, Resource, Sqldb};

/// Something outside whose presence is told by whoever watches it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watch {
    File(PathBuf),
    Directory(PathBuf),
    Sqldb(Sqldb),
}

impl Watch {
    /// `None` for what the lifecycle knows by itself: names and processes.
    pub fn of(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::File { path } | Kind::OsConfig { path } => Some(Self::File(path.clone())),
            Kind::Directory { path, .. } => Some(Self::Directory(path.clone())),
            Kind::Sqldb(sqldb) => Some(Self::Sqldb(sqldb.clone())),
            Kind::Imdb { .. } | Kind::Process { .. } => None,
        }
    }
}

/// Whether a change of the file is a change of the definition's configuration. Its logs are not: the process itself
/// writes them.
pub fn is_configuration(definition: &Definition, path: &Path) -> bool {
    !definition.status.logs.iter().any(|log| log == path)
        && definition.resources.iter().any(|resource| covers(resource, path))
}

fn covers(resource: &Resource, path: &Path) -> bool {
    match &resource.kind {
        Kind::File { path: file } | Kind::OsConfig { path: file } => file == path,
        Kind::Directory { path: folder, patterns } => {
            if folder == path {
                return true;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.parent() == Some(folder)
                && (patterns.is_empty() || patterns.iter().any(|its| its.pattern.matches(name)))
        }
        Kind::Imdb { .. } | Kind::Process { .. } | Kind::Sqldb(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::xml;

    #[test]
    fn a_change_of_what_is_declared_is_a_change_of_configuration_but_a_log_is_not() {
        let resources = "<resources><file required='false'>/etc/a</file><directory><path>/etc/d</path>\
             <filePattern>*.conf</filePattern></directory><directory><path>/var/log</path></directory></resources>";
        let definition = xml::parse(&xml::tests::sample("x", resources)).unwrap();
        let is = |path: &str| is_configuration(&definition, Path::new(path));
        assert!(is("/etc/a") && is("/etc/d") && is("/etc/d/x.conf") && is("/var/log/other"));
        assert!(!is("/etc/b") && !is("/etc/d/x.bak") && !is("/etc/d/sub/x.conf") && !is("/var/log/x.log"));
    }
}
