//! What a look before a start stands on: the folders that it found or made, and the files that begin the program.
//!
//! ```text
//!  worker: look (may wait) --> survey --> Footing, if nothing of it is far
//!  loop:   glance (asks nobody) at each of them: all as they were --> a second look would say the same
//!                                                anything else    --> a worker looks
//! ```
//! A restart is so spared two ways to a thread and back. Must not know: what a start does with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::gate;
use crate::container::spec::{ContainerSpec, Program};
use crate::sys::glimpse::{self, Glimpse};

#[derive(Debug)]
pub struct Footing {
    /// For no other definition.
    spec: Arc<ContainerSpec>,
    /// What the first line of the program names, and so on.
    interpreters: Box<[PathBuf]>,
    /// In the order of [`folders`] and [`files`], up to the program.
    glimpses: Box<[Glimpse]>,
}

impl Footing {
    /// What a look has stood on. `chain` is the program and its interpreters. `None` where that cannot be said.
    pub fn survey(spec: &Arc<ContainerSpec>, chain: &[PathBuf]) -> Option<Self> {
        let (program, interpreters) = chain.split_first()?;
        let mut glimpses = Vec::new();
        for folder in folders(spec) {
            glimpses.push(lasting(glimpse::look(folder).ok()?));
        }
        for file in files(spec, interpreters) {
            glimpses.push(glimpse::look(&file).ok()?);
            if file == *program {
                return Some(Self {
                    spec: Arc::clone(spec),
                    interpreters: interpreters.into(),
                    glimpses: glimpses.into(),
                });
            }
        }
        None
    }

    /// Whether all of it is as it was, and near. Never waits.
    pub fn holds(&self, spec: &Arc<ContainerSpec>) -> bool {
        if !Arc::ptr_eq(&self.spec, spec) {
            return false;
        }
        let folders = folders(spec).map(|folder| glimpse::glance(folder).map(lasting));
        let files = files(spec, &self.interpreters).map(|file| glimpse::glance(&file));
        folders.chain(files).zip(&self.glimpses).all(|(seen, before)| seen == Ok(*before))
    }
}

fn lasting(glimpse: Glimpse) -> Glimpse {
    match glimpse {
        Glimpse::There(identity) => Glimpse::There(identity.whatever_it_holds()),
        Glimpse::Missing => Glimpse::Missing,
    }
}

/// What has to be there, whatever it holds.
fn folders(spec: &ContainerSpec) -> impl Iterator<Item = &Path> {
    let output = spec.logs.output.as_deref().and_then(Path::parent);
    let required = spec.provision.required.iter().map(|required| required.path.as_path());
    let made = spec.provision.folders.iter().map(|folder| folder.path.as_path());
    [spec.logs.dir.as_path(), spec.cwd.as_path()].into_iter().chain(output).chain(required).chain(made)
}

/// What has to be as it was: the interpreters, and every place where the program is looked for.
fn files<'s>(spec: &'s ContainerSpec, interpreters: &'s [PathBuf]) -> impl Iterator<Item = PathBuf> + 's {
    let word = match &spec.program {
        Program::Command { argv } => argv.first(),
        Program::Script { .. } => None,
    };
    let candidates = word.into_iter().flat_map(|word| gate::candidates(spec, word));
    interpreters.iter().cloned().chain(candidates)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::container::provision::{RequiredPath, WhenMissing};
    use crate::container::spec::{ContainerName, LogSpec};

    struct House {
        folder: tempfile::TempDir,
        spec: Arc<ContainerSpec>,
    }

    impl House {
        /// A script by its own interpreter, in the second of two folders that are searched.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            for name in ["work", "logs", "first", "second", "mount"] {
                fs::create_dir(at(name)).unwrap();
            }
            let name = ContainerName::parse("ioc").unwrap();
            let program = Program::Command { argv: vec!["ioc".into()] };
            let mut spec = ContainerSpec::new(name, program, at("work"), LogSpec::in_dir(at("logs")));
            spec.env.push(("PATH".into(), format!("{}:{}", at("first").display(), at("second").display())));
            spec.provision.required = vec![RequiredPath { path: at("mount"), when_missing: WhenMissing::Refuse }];
            let house = Self { spec: Arc::new(spec), folder };
            house.program("second/shell", "\x7fELF");
            house.program("second/ioc", &format!("#!{}\n", house.at("second/shell").display()));
            house
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn program(&self, name: &str, text: &str) {
            fs::write(self.at(name), text).unwrap();
            fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// In place, and until the clock of the file system shows it.
        fn rewrite(&self, name: &str, text: &str) {
            let before = glimpse::look(&self.at(name));
            while glimpse::look(&self.at(name)) == before {
                fs::write(self.at(name), text).unwrap();
            }
        }

        fn survey(&self) -> Footing {
            let chain = [self.at("second/ioc"), self.at("second/shell")];
            Footing::survey(&self.spec, &chain).expect("the program is where it is looked for")
        }

        /// Whether it holds after that.
        fn holds_after(change: impl FnOnce(&Self)) -> bool {
            let house = Self::new();
            let footing = house.survey();
            change(&house);
            footing.holds(&house.spec)
        }
    }

    #[test]
    fn it_holds_while_only_logs_and_files_of_the_program_change() {
        assert!(House::holds_after(|_| ()));
        assert!(House::holds_after(|house| {
            fs::write(house.at("logs/stdout.log"), "line\n").unwrap();
            fs::write(house.at("work/core"), "").unwrap();
            fs::write(house.at("mount/data"), "").unwrap();
        }));
    }

    #[test]
    fn it_does_not_hold_when_anything_that_the_start_needs_is_another() {
        let gone = |name: &'static str| move |house: &House| fs::rename(house.at(name), house.at("away")).unwrap();
        let anew = |name: &'static str| {
            move |house: &House| {
                fs::rename(house.at(name), house.at("away")).unwrap();
                fs::create_dir(house.at(name)).unwrap();
            }
        };
        for name in ["work", "logs", "mount", "second/ioc", "second/shell"] {
            assert!(!House::holds_after(gone(name)), "without {name}");
        }
        for name in ["work", "logs", "mount"] {
            assert!(!House::holds_after(anew(name)), "with another {name}");
        }
        assert!(!House::holds_after(|house| house.program("first/ioc", "\x7fELF")), "another is found first");
        assert!(!House::holds_after(|house| house.rewrite("second/ioc", "#!/bin/true\n")), "another interpreter");
    }

    #[test]
    fn it_holds_for_its_own_definition_only() {
        let house = House::new();
        let other = Arc::new(ContainerSpec::clone(&house.spec));
        assert!(!house.survey().holds(&other));
    }
}
