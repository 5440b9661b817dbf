//! The accounts of ietf-system, handed to SSH: it watches what the system provider owns, because neither the host nor a
//! transport should know of the other.

use std::time::Duration;

use tracing::warn;

use crate::northbound::provider::{Proposal, Provider};
use crate::northbound::{Kind, Refusal};
use crate::ssh::{Account, Accounts, AuthorizedKey, CryptHash, LoginPolicy, SharedAccounts};
use crate::system::users;
use crate::yang::value::Element;

const ROOT: &str = "/ietf-system:system";

pub(super) struct AccountsProvider {
    shared: SharedAccounts,
}

impl AccountsProvider {
    pub(super) fn new(shared: SharedAccounts) -> Self {
        Self { shared }
    }
}

/// The accounts as configured; a key that cannot be read is left out, and said.
fn read(proposal: &Proposal<'_>) -> (Accounts, Vec<Refusal>) {
    let system = proposal.config.subtree(ROOT);
    let mut accounts = Accounts { login: login_policy(system.as_ref()), ..Accounts::default() };
    let mut refusals = Vec::new();
    let entries = users::users_of(system.as_ref());
    for entry in entries {
        let mut keys = Vec::new();
        for (algorithm, data) in &entry.keys {
            match AuthorizedKey::new(algorithm, data) {
                Ok(key) => keys.push(key),
                Err(trouble) => refusals.push(
                    Refusal::new(
                        Kind::InvalidValue,
                        format!("a key of user `{}` cannot be used: {trouble}", entry.name),
                    )
                    .mend("give algorithm and key-data as they stand in a .pub file")
                    .at(format!("{ROOT}/authentication/user[name='{}']/authorized-key", entry.name)),
                ),
            }
        }
        let account = Account { keys, password: entry.password.map(CryptHash::new) };
        accounts.users.insert(entry.name, account);
    }
    (accounts, refusals)
}

/// `procyon-login`, below the system.
fn login_policy(system: Option<&Element>) -> LoginPolicy {
    let Some(login) = system.and_then(|system| system.child("login")) else { return LoginPolicy::default() };
    LoginPolicy {
        banner: login.text_of("banner").map(str::to_owned),
        grace: login.text_of("grace-time").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
    }
}

impl Provider for AccountsProvider {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn watched_roots(&self) -> &'static [&'static str] {
        &[ROOT]
    }

    fn augmented_by(&self) -> &'static [&'static str] {
        &["procyon-login"]
    }

    fn takes_each_proposal_alone(&self) -> bool {
        true
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let (_, refusals) = read(proposal);
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let (accounts, refusals) = read(proposal);
        for refusal in refusals {
            warn!(%refusal, "an authorised key is left out");
        }
        self.shared.replace(accounts);
    }
}
