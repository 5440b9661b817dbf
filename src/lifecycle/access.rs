//! What management may do with which file: the union of what all definitions say, `no-access` standing alone.
//!
//! A declaration of the very path goes before the patterns of its directory, which are looked at in their order; a file
//! of the directory that no pattern names has the access of the directory itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::definition::{ConfigAccess, Definition, FilePattern, Kind, ProcessName};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{what} is no-access in the definition of `{closed_by}` and {access} in that of `{open_by}`: no-access cannot be \
     joined with anything else"
)]
pub struct Conflict {
    pub what: String,
    pub closed_by: ProcessName,
    pub open_by: ProcessName,
    pub access: ConfigAccess,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denied {
    #[error("`{}` is not declared by any process definition", path.display())]
    Undeclared { path: PathBuf },
    #[error("`{}` is {access} for management", path.display())]
    Closed { path: PathBuf, access: ConfigAccess },
}

/// One directory as one definition declares it.
#[derive(Debug, Clone)]
struct Folder {
    by: ProcessName,
    access: ConfigAccess,
    required: bool,
    patterns: Vec<FilePattern>,
}

/// All declarations of the definitions in force.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    files: BTreeMap<PathBuf, Vec<(ProcessName, ConfigAccess)>>,
    folders: BTreeMap<PathBuf, Vec<Folder>>,
}

impl Declared {
    /// Adds the declarations of a definition, all or none.
    ///
    /// # Errors
    /// A `no-access` that meets another access, here or in what was added before.
    pub fn add(&mut self, definition: &Definition) -> Result<(), Conflict> {
        let mut grown = self.clone();
        let name = &definition.name;
        for log in &definition.status.logs {
            grown.add_file(log, name, ConfigAccess::ReadOnly)?;
        }
        for resource in &definition.resources {
            match &resource.kind {
                Kind::File { path } | Kind::OsConfig { path } => grown.add_file(path, name, resource.access)?,
                Kind::Directory { path, patterns } => {
                    let folder = Folder {
                        by: name.clone(),
                        access: resource.access,
                        required: resource.required,
                        patterns: patterns.clone(),
                    };
                    grown.add_folder(path, folder)?;
                }
                // Not files: nothing that management could read or replace.
                Kind::Imdb { .. } | Kind::Process { .. } | Kind::Sqldb(_) => {}
            }
        }
        *self = grown;
        Ok(())
    }

    fn add_file(&mut self, path: &Path, by: &ProcessName, access: ConfigAccess) -> Result<(), Conflict> {
        let known = self.files.entry(path.to_owned()).or_default();
        join(&format!("`{}`", path.display()), known, by, access)?;
        known.push((by.clone(), access));
        Ok(())
    }

    fn add_folder(&mut self, path: &Path, folder: Folder) -> Result<(), Conflict> {
        let known = self.folders.entry(path.to_owned()).or_default();
        let defaults: Vec<(ProcessName, ConfigAccess)> =
            known.iter().map(|other| (other.by.clone(), other.access)).collect();
        join(&format!("directory `{}`", path.display()), &defaults, &folder.by, folder.access)?;
        for pattern in &folder.patterns {
            let same: Vec<(ProcessName, ConfigAccess)> = known
                .iter()
                .flat_map(|other| other.patterns.iter().map(move |its| (other, its)))
                .filter(|(_, its)| its.pattern == pattern.pattern)
                .map(|(other, its)| (other.by.clone(), its.access.unwrap_or(other.access)))
                .collect();
            let what = format!("`{}/{}`", path.display(), pattern.pattern);
            join(&what, &same, &folder.by, pattern.access.unwrap_or(folder.access))?;
        }
        known.push(folder);
        Ok(())
    }

    /// What management may do with the file.
    ///
    /// # Errors
    /// No definition declares it.
    pub fn access(&self, path: &Path) -> Result<ConfigAccess, Denied> {
        let exact = self.files.get(path).map(|declared| declared.iter().map(|(_, access)| *access).collect());
        let declared: Vec<ConfigAccess> = exact.unwrap_or_else(|| self.in_folder(path));
        // Patterns of two definitions that differ may name one file: what one of them closes stays closed.
        if declared.contains(&ConfigAccess::NoAccess) {
            return Ok(ConfigAccess::NoAccess);
        }
        declared.into_iter().reduce(union).ok_or_else(|| Denied::Undeclared { path: path.to_owned() })
    }

    /// In each declaration of the folder the first pattern that names the file; without any, the folders' own access.
    fn in_folder(&self, path: &Path) -> Vec<ConfigAccess> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Vec::new();
        };
        let declared = || self.folders.get(folder).into_iter().flatten();
        let by_pattern: Vec<ConfigAccess> = declared()
            .filter_map(|folder| {
                let first = folder.patterns.iter().find(|its| its.pattern.matches(name))?;
                Some(first.access.unwrap_or(folder.access))
            })
            .collect();
        if by_pattern.is_empty() { declared().map(|folder| folder.access).collect() } else { by_pattern }
    }

    /// # Errors
    /// The file is not declared, or not for reading.
    pub fn may_read(&self, path: &Path) -> Result<(), Denied> {
        self.allowed(path, ConfigAccess::may_read)
    }

    /// # Errors
    /// The file is not declared, or not for writing.
    pub fn may_write(&self, path: &Path) -> Result<(), Denied> {
        self.allowed(path, ConfigAccess::may_write)
    }

    fn allowed(&self, path: &Path, is_allowed: fn(ConfigAccess) -> bool) -> Result<(), Denied> {
        let access = self.access(path)?;
        if is_allowed(access) { Ok(()) } else { Err(Denied::Closed { path: path.to_owned(), access }) }
    }

    /// Whether the folder may be made for a file that is written there: declared, not required, and for writing.
    pub fn may_make_folder(&self, path: &Path) -> bool {
        self.folders.get(path).is_some_and(|declared| {
            declared.iter().all(|folder| !folder.required) && declared.iter().any(|folder| folder.access.may_write())
        })
    }
}

/// Accesses of one resource: the more permissive of two holds, and both of `read-only` and `write-only`.
pub fn union(one: ConfigAccess, other: ConfigAccess) -> ConfigAccess {
    match (one.may_read() || other.may_read(), one.may_write() || other.may_write()) {
        (true, true) => ConfigAccess::ReadWrite,
        (true, false) => ConfigAccess::ReadOnly,
        (false, true) => ConfigAccess::WriteOnly,
        (false, false) => ConfigAccess::NoAccess,
    }
}

fn join(
    what: &str,
    known: &[(ProcessName, ConfigAccess)],
    by: &ProcessName,
    access: ConfigAccess,
) -> Result<(), Conflict> {
    let is_closed = |access: ConfigAccess| access == ConfigAccess::NoAccess;
    let Some((other, others)) = known.iter().find(|(_, others)| is_closed(*others) != is_closed(access)) else {
        return Ok(());
    };
    let (closed_by, open_by, access) = if is_closed(access) { (by, other, *others) } else { (other, by, access) };
    Err(Conflict { what: what.to_owned(), closed_by: closed_by.clone(), open_by: open_by.clone(), access })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::xml;

    fn definition(name: &str, resources: &str) -> Definition {
        let text = xml::tests::sample(name, &format!("<resources>{resources}</resources>"));
        xml::parse(&text).unwrap()
    }

    fn declared(all: &[&str]) -> Result<Declared, Conflict> {
        let mut declared = Declared::default();
        for (at, resources) in all.iter().enumerate() {
            declared.add(&definition(&format!("p{at}"), resources))?;
        }
        Ok(declared)
    }

    fn access(all: &[&str], path: &str) -> Option<ConfigAccess> {
        declared(all).unwrap().access(Path::new(path)).ok()
    }

    #[test]
    fn the_more_permissive_declaration_holds() {
        let read = "<file configAccess='read-only'>/etc/x</file>";
        let write = "<file configAccess='write-only'>/etc/x</file>";
        assert_eq!(access(&[read, read], "/etc/x"), Some(ConfigAccess::ReadOnly));
        assert_eq!(access(&[read, write], "/etc/x"), Some(ConfigAccess::ReadWrite));
        assert_eq!(access(&[read], "/etc/y"), None);
    }

    #[test]
    fn no_access_meets_nothing_else() {
        let (closed, open) = ("<file configAccess='no-access'>/etc/x</file>", "<osconfig>/etc/x</osconfig>");
        assert_eq!(access(&[closed, closed], "/etc/x"), Some(ConfigAccess::NoAccess));
        for both in [[closed, open], [open, closed]] {
            let conflict = declared(&both).unwrap_err();
            assert!(conflict.to_string().starts_with("`/etc/x` is no-access in the definition of"), "{conflict}");
        }
        assert!(declared(&[&format!("{closed}{open}")]).is_err(), "within one definition too");
    }

    #[test]
    fn patterns_are_looked_at_in_their_order_and_an_exact_path_goes_first() {
        let folder = "<directory configAccess='read-only'><path>/ssl</path>\
             <filePattern configAccess='write-only'>key*</filePattern><filePattern>*.crt</filePattern></directory>\
             <file configAccess='read-write'>/ssl/key-exact.crt</file>";
        let at = |path| access(&[folder], path);
        assert_eq!(at("/ssl/key.crt"), Some(ConfigAccess::WriteOnly));
        assert_eq!(at("/ssl/a.crt"), Some(ConfigAccess::ReadOnly));
        assert_eq!(at("/ssl/key-exact.crt"), Some(ConfigAccess::ReadWrite));
        assert_eq!(at("/ssl/a.txt"), Some(ConfigAccess::ReadOnly), "the directory's own");
        assert_eq!([at("/ssl/sub/a.crt"), at("/ssl"), at("/a.crt")], [None; 3]);
    }

    #[test]
    fn what_one_pattern_closes_no_other_opens() {
        let folder =
            |pattern: &str| format!("<directory configAccess='read-only'><path>/d</path>{pattern}</directory>");
        let closed = folder("<filePattern configAccess='no-access'>*.key</filePattern>");
        let open = folder("<filePattern configAccess='read-write'>a*</filePattern>");
        let both: [&str; 2] = [&closed, &open];
        assert_eq!(access(&both, "/d/a.key"), Some(ConfigAccess::NoAccess));
        assert_eq!(access(&both, "/d/a.txt"), Some(ConfigAccess::ReadWrite));
    }

    #[test]
    fn a_log_is_for_reading() {
        assert_eq!(access(&[""], "/var/log/p0.log"), Some(ConfigAccess::ReadOnly));
    }

    #[test]
    fn only_a_folder_that_may_be_missing_is_made() {
        let folder = |attributes: &str| format!("<directory {attributes}><path>/new</path></directory>");
        let may = |text: String| declared(&[&text]).unwrap().may_make_folder(Path::new("/new"));
        assert!(may(folder("required='false'")));
        assert!(!may(folder("")));
        assert!(!may(folder("required='false' configAccess='read-only'")));
    }

    #[test]
    fn a_union_is_never_less_than_its_parts() {
        for one in ConfigAccess::ALL {
            for other in ConfigAccess::ALL {
                let both = union(one, other);
                assert_eq!(both, union(other, one));
                assert!(both.may_read() >= one.may_read() && both.may_write() >= one.may_write());
            }
        }
    }
}
