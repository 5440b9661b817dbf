//! `copy` and `scp`: one file, from or to this device's disk.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::outside::{Proof, Unmet};
use super::{Done, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::remote::{Place, Remote};

/// As often a password may be wrong.
const PASSWORDS_MAX: usize = 3;

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn copy(&mut self, matched: &Matched) -> Done {
        let user = self.setup.user.clone();
        let place = |argument: &str| Place::parse(matched.get(argument).unwrap_or(""), &user).map_err(said);
        let (from, to) = (place("FROM")?, place("TO")?);
        let bytes = match (&from, &to) {
            (Place::Here(from), Place::Here(_)) => self.read_permitted(from).await?,
            (Place::Here(from), Place::There(remote)) => {
                let bytes = self.read_permitted(from).await?;
                self.by_ssh(remote, Some(&bytes)).await?;
                bytes
            }
            (Place::Web(address), Place::Here(_)) => {
                // Refused before anything is asked of a server.
                self.permitted(true).await?;
                let outside = Rc::clone(&self.setup.outside);
                outside.fetch(address).await.map_err(said)?
            }
            (Place::There(remote), Place::Here(_)) => {
                self.permitted(true).await?;
                self.by_ssh(remote, None).await?
            }
            (_, Place::Web(_)) => return Err(said("nothing is copied to web servers; scp://HOST/PATH takes files")),
            (Place::Web(_) | Place::There(_), Place::There(_)) => {
                return Err(said("one of the two has to be a file of this device: /harddisk:/FILE"));
            }
        };
        if let Place::Here(name) = &to {
            let name = self.in_folder(name, from.file_name());
            self.write_file(&name, &bytes).await?;
        }
        Ok(self.out.print(&format!("{} bytes copied\n", bytes.len())).await?)
    }

    /// Asks whoever sits there for what the host wants, as often as it is of use.
    async fn by_ssh(&mut self, remote: &Remote, content: Option<&[u8]>) -> Result<Vec<u8>, Trouble> {
        let mut proof = Proof::default();
        let mut passwords = 0;
        loop {
            let outside = Rc::clone(&self.setup.outside);
            let exchange = outside.by_ssh(remote, content, &proof);
            let (done, terminal) = match self.out.terminal() {
                Some(terminal) => match terminal.while_waiting(exchange).await {
                    Some(done) => (done, terminal),
                    None => return Err(said(format!("{remote}: nothing is known of the copy, which was given up"))),
                },
                None => return exchange.await.map_err(said),
            };
            match done {
                Ok(bytes) => return Ok(bytes),
                Err(Unmet::Host { host, fingerprint, .. }) if proof.trusts.is_none() => {
                    let question = format!(
                        "The host {host} is not known here. Its key has the fingerprint\n{fingerprint}.\nIs that right, and shall it be known from now on? [no]: "
                    );
                    let answer = terminal.answer(&question).await?.unwrap_or_default();
                    if !answer.starts_with(['y', 'Y']) {
                        return Err(said(format!("{host} is not trusted, and nothing was copied")));
                    }
                    proof.trusts = Some(fingerprint);
                }
                Err(Unmet::Key { .. }) if passwords < PASSWORDS_MAX => {
                    passwords += 1;
                    let question = format!("Password of {} at {}: ", remote.user, remote.host);
                    let password = terminal.secret(&question).await?;
                    if password.is_none() {
                        return Err(said("nothing was copied"));
                    }
                    proof.password = password;
                }
                Err(unmet) => return Err(said(unmet)),
            }
        }
    }
}

fn said(text: impl std::fmt::Display) -> Trouble {
    Trouble::Said(format!("% {text}"))
}
