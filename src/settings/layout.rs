//! Where everything is under a root, and what device paths (`/harddisk:/x`) are in the file system.
//!
//! ```text
//!  ROOT/procyon.toml      settings            keys/        host keys (0700)
//!       harddisk/         what scripts see    process.d/   process definitions
//!       config/  (0700)   commits, snapshot   run/         sockets and locks
//!       state/   (0700)   journals, custodian.log, private folders of the apps
//! ```
//! Only names: nothing here is created or read, except that [`Layout::open`] looks whether the root is one.

use std::path::{Component, Path, PathBuf};

/// Room for `/run/custodian.sock` within the 107 bytes that the address of a Unix socket may have.
const ROOT_BYTES_MAX: usize = 80;
/// The device's name of the disk.
const DEVICE: &str = "harddisk:";
/// The script repository on that disk.
const REPOSITORY: &str = "mirror/script-mgmt";

/// The kinds of scripts; each has a shelf of its own.
pub const SCRIPT_KINDS: [&str; 5] = ["config", "exec", "process", "eem", "precommit"];

/// A root and the paths under it. The root is absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("{root} is not initialised; create it with: procyon init --root {root} --admin NAME")]
    NotInitialised { root: PathBuf },
    #[error(
        "the path of the root {root} is longer than {ROOT_BYTES_MAX} bytes, too long for sockets under it; choose a shorter one or a symbolic link"
    )]
    RootTooLong { root: PathBuf },
    #[error("cannot make {root} an absolute path: {error}")]
    NoAbsolutePath { root: PathBuf, error: std::io::Error },
    #[error("`{path}` is not below the disk; device paths look like /harddisk:/mirror/x")]
    NotOnTheDisk { path: String },
    #[error("`{path}` has a part that is not a plain name; `..` and NUL are not allowed")]
    NotPlain { path: String },
}

impl Layout {
    /// The layout at `root`, whether there is anything or not.
    pub fn at(root: &Path) -> Result<Self, LayoutError> {
        let absolute =
            std::path::absolute(root).map_err(|error| LayoutError::NoAbsolutePath { root: root.to_owned(), error })?;
        if absolute.as_os_str().len() > ROOT_BYTES_MAX {
            return Err(LayoutError::RootTooLong { root: absolute });
        }
        Ok(Self { root: absolute })
    }

    /// The layout of an initialised root.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        let layout = Self::at(root)?;
        if layout.keys().is_dir() && layout.harddisk().is_dir() && layout.run().is_dir() {
            Ok(layout)
        } else {
            Err(LayoutError::NotInitialised { root: layout.root })
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn settings_file(&self) -> PathBuf {
        self.root.join("procyon.toml")
    }

    /// What device paths call `/harddisk:/`.
    pub fn harddisk(&self) -> PathBuf {
        self.root.join("harddisk")
    }

    /// The shelf of one kind of script: one of [`SCRIPT_KINDS`].
    pub fn repository(&self, kind: &str) -> PathBuf {
        self.harddisk().join(REPOSITORY).join(kind)
    }

    /// Logs of the apps.
    pub fn logs(&self) -> PathBuf {
        self.harddisk().join(REPOSITORY).join("logs")
    }

    /// The commits and the snapshot.
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// What `init` wrote for the agent to commit at its first start.
    pub fn initial_config(&self) -> PathBuf {
        self.config().join("initial.xml")
    }

    /// What waits for its confirmation.
    pub fn confirmed_commit(&self) -> PathBuf {
        self.state().join("confirmed-commit")
    }

    /// The startup datastore, where there is one.
    pub fn startup(&self) -> PathBuf {
        self.config().join("startup")
    }

    /// The boot at which startup was looked at last.
    pub fn startup_boot(&self) -> PathBuf {
        self.state().join("startup-boot")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The keeper's own records.
    pub fn keeper_state(&self) -> PathBuf {
        self.state().join("keeper")
    }

    /// The private folder that an app runs in.
    pub fn work(&self, app: &str) -> PathBuf {
        self.state().join("work").join(app)
    }

    pub fn custodian_log(&self) -> PathBuf {
        self.state().join("custodian.log")
    }

    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub fn host_key_ed25519(&self) -> PathBuf {
        self.keys().join("ssh_host_ed25519_key")
    }

    pub fn host_key_ecdsa(&self) -> PathBuf {
        self.keys().join("ssh_host_ecdsa_key")
    }

    /// Process definitions.
    pub fn process_d(&self) -> PathBuf {
        self.root.join("process.d")
    }

    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub fn keeper_socket(&self) -> PathBuf {
        self.run().join("keeper.sock")
    }

    /// Local NETCONF: shells and tools on the box.
    pub fn agent_socket(&self) -> PathBuf {
        self.run().join("agent.sock")
    }

    /// Where `procyon shell` finds its shell.
    pub fn shell_socket(&self) -> PathBuf {
        self.run().join("shell.sock")
    }

    pub fn agent_lock(&self) -> PathBuf {
        self.run().join("agent.lock")
    }

    pub fn custodian_socket(&self) -> PathBuf {
        self.run().join("custodian.sock")
    }

    pub fn custodian_lock(&self) -> PathBuf {
        self.run().join("custodian.lock")
    }

    /// The device's name of a file on its disk; `None` for files elsewhere.
    pub fn device_path(&self, real: &Path) -> Option<String> {
        let below = real.strip_prefix(self.harddisk()).ok()?;
        if below.components().any(|part| !matches!(part, Component::Normal(_))) {
            return None;
        }
        Some(format!("/{DEVICE}/{}", below.to_str()?))
    }

    /// The file that a device path names: `/harddisk:/x`, `harddisk:/x` and `harddisk:x` are the same. Symbolic links
    /// are not looked at; whoever opens the file must not follow them out of the disk.
    pub fn real_path(&self, device: &str) -> Result<PathBuf, LayoutError> {
        let below = device.strip_prefix('/').unwrap_or(device).strip_prefix(DEVICE);
        let below = below.ok_or_else(|| LayoutError::NotOnTheDisk { path: device.to_owned() })?;
        let mut real = self.harddisk();
        for part in Path::new(below.trim_start_matches('/')).components() {
            match part {
                Component::Normal(name) if !below.contains('\0') => real.push(name),
                Component::CurDir => {}
                _ => return Err(LayoutError::NotPlain { path: device.to_owned() }),
            }
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::at(Path::new("/srv/p")).unwrap()
    }

    #[test]
    fn the_three_spellings_of_a_device_path_are_one_file() {
        for spelling in
            ["/harddisk:/mirror/x.py", "harddisk:/mirror/x.py", "harddisk:mirror/x.py", "harddisk:/./mirror//x.py"]
        {
            assert_eq!(layout().real_path(spelling).unwrap(), Path::new("/srv/p/harddisk/mirror/x.py"), "{spelling}");
        }
        assert_eq!(layout().real_path("harddisk:").unwrap(), Path::new("/srv/p/harddisk"));
    }

    #[test]
    fn a_device_path_cannot_leave_the_disk() {
        for path in ["/harddisk:/../keys/x", "harddisk:a/../../x", "harddisk:..", "harddisk:a\0b"] {
            assert!(matches!(layout().real_path(path), Err(LayoutError::NotPlain { .. })), "{path:?}");
        }
        for path in ["/etc/passwd", "disk0:/x", "", "harddisk/x", "//harddisk:/x"] {
            assert!(matches!(layout().real_path(path), Err(LayoutError::NotOnTheDisk { .. })), "{path:?}");
        }
    }

    #[test]
    fn a_real_path_has_a_device_path_only_on_the_disk() {
        let layout = layout();
        let script = layout.repository("process").join("x.py");
        let device = layout.device_path(&script).unwrap();
        assert_eq!(device, "/harddisk:/mirror/script-mgmt/process/x.py");
        assert_eq!(layout.real_path(&device).unwrap(), script);
        assert_eq!(layout.device_path(Path::new("/srv/p/keys/x")), None);
        assert_eq!(layout.device_path(Path::new("/srv/p/harddisk/../keys/x")), None);
    }

    #[test]
    fn a_root_is_absolute_short_and_initialised() {
        assert!(Layout::at(Path::new("relative")).unwrap().root().is_absolute());
        assert!(matches!(Layout::at(Path::new(&"/x".repeat(60))), Err(LayoutError::RootTooLong { .. })));
        let folder = tempfile::tempdir().unwrap();
        let error = Layout::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("procyon init --root"), "{error}");
    }
}
