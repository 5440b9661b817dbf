//! The custodian: parent of agent and keeper, holder of what must outlive them.
//!
//! ```text
//!           start order, or at once (keeper)        unordered end
//!   Off ------------------------------> Running ---------------------> Due --(0, 1, 2, 5, 5 ... s)--> Running
//!    ^                                    | stop order                   |
//!    |  ordered end: exit 0, SIGTERM      v                              | stop order
//!    +------------------------------- Stopping --(limit)--> SIGKILL      |
//!    +-------------------------------------------------------------------+
//! ```
//! * An agent that ends ordered takes its deposits with it: nobody is going to accept on those sockets. A keeper that ends
//!   ordered takes the whole house with it: it has stopped every container, which only a system shutdown asks for.
//! * An agent whose very first run ends within seconds with an exit status of its own has refused to start: it is not
//!   started again, and whoever watches is told.
//! * A shutdown ends what the keeper holds even where the keeper has died: a successor takes over first and is then told.
//! * At an upgrade the process stays and becomes the program that is installed by then; its wards are started anew.
//! * A ward that has said that it serves is asked now and then whether it still turns; one that is hung is killed.
//! * Orphans of the whole house end up here (`PR_SET_CHILD_SUBREAPER`); the keeper is told of each.
//! * If the custodian dies, its wards go on: no parent-death signal is set, and [`super::deposit`] says what a ward does.
//!
//! `machine.rs` decides who runs, `vault.rs` keeps deposits, `control.rs` is how the launcher speaks with it, `driver.rs`
//! is the loop. Must not know: YANG, XML, containers, what a deposit means. It parses nothing that outsiders send:
//! its two kinds of peers are its own wards and processes of its own user.

pub mod control;
mod desk;
pub mod driver;
mod handover;
pub mod lock;
mod machine;
mod pulse;
mod upgrade;
mod vault;

use std::path::PathBuf;

pub use self::driver::main;
pub use self::handover::VERSION as HANDOVER_VERSION;
pub use self::machine::STOP_LIMIT;
pub use self::upgrade::{ASK_VERSION, HANDOVER_OPTION};

/// What to run as wards. The agent's command comes with the order to start it.
#[derive(Debug, Clone)]
pub struct Wards {
    /// Program and arguments; `--deposit-fd N` is added.
    pub keeper: Vec<std::ffi::OsString>,
    /// What the custodian itself becomes at an upgrade.
    pub custodian: PathBuf,
}

impl Wards {
    /// The keeper as it is installed: `program --keeper --root ROOT`.
    pub fn installed(program: PathBuf, custodian: PathBuf, root: PathBuf) -> Self {
        Self { keeper: vec![program.into(), "--keeper".into(), "--root".into(), root.into()], custodian }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CustodianError {
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    #[error("cannot open the control socket {path}: {error}; check that its folder exists and is writable")]
    Socket { path: PathBuf, error: nix::Error },
    #[error(
        "what the custodian before this has left cannot be read ({reason}): stop what runs, and start everything anew"
    )]
    Handover { reason: String },
    #[error("{what}: {error}")]
    System { what: &'static str, error: nix::Error },
}
