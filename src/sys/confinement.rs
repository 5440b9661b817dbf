//! Landlock: a program that may write below some folders only, whatever its account may, and may not send signals to what
//! is not of its own. What it has started is confined as it is.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
};

/// Kinds of writing that are told apart. Later kernels know more, of devices and sockets, which are not closed.
const KNOWN: ABI = ABI::V3;
/// Streams without a file, shared memory, terminals: for every program.
const DEVICES: &str = "/dev";

/// Rules that a process takes upon itself.
#[derive(Debug)]
pub struct Confinement(OwnedFd);

impl Confinement {
    /// Writing below these folders only; one that is not there is left out. `None` where the kernel has no such thing.
    ///
    /// # Errors
    /// The kernel has it, and refuses the rules.
    pub fn to(folders: &[PathBuf]) -> io::Result<Option<Self>> {
        let folders = folders.iter().map(PathBuf::as_path).chain([Path::new(DEVICES)]);
        rules(folders).map(|rules| rules.map(Self)).map_err(io::Error::other)
    }

    /// What the new process is given, to take it upon itself.
    pub fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Whether this kernel confines programs.
pub fn is_there() -> bool {
    rules([].into_iter()).is_ok_and(|rules| rules.is_some())
}

fn rules<'p>(folders: impl Iterator<Item = &'p Path>) -> Result<Option<OwnedFd>, RulesetError> {
    let writing = AccessFs::from_write(KNOWN);
    let rules = Ruleset::default().handle_access(writing)?.scope(Scope::Signal)?.create()?;
    Ok(rules.add_rules(path_beneath_rules(folders, writing))?.into())
}
