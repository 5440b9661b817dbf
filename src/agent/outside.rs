//! What shells are lent that is no NETCONF, each under the access rules: consoles, the Linux of the host, files of servers.

use std::sync::Arc;

use tracing::info;

use super::console::{Consoles, Sitter};
use super::hosts::Hosts;
use super::linux::Linux;
use super::urls::Urls;
use crate::northbound::Caller;
use crate::northbound::handle::{Access, Handle};
use crate::shell::driver::{Copied, Lent, Outside, Proof, Seat};
use crate::shell::marks::Marks;
use crate::shell::remote::Remote;
use crate::shell::vocabulary::LINUX;

/// What there is to lend.
#[derive(Clone)]
pub(super) struct Lender {
    pub consoles: Consoles,
    pub linux: Linux,
    pub urls: Arc<Urls>,
    pub hosts: Arc<Hosts>,
}

/// It, for one session.
pub(super) struct Lending {
    pub lender: Lender,
    pub northbound: Handle,
    pub caller: Caller,
    pub marks: Option<Marks>,
}

impl Outside for Lending {
    fn console<'a>(&'a self, words: &'a str, seat: Seat<'a>) -> Lent<'a, ()> {
        Box::pin(async move {
            let Seat { input, output, window, .. } = seat;
            let mut sitter = Sitter {
                caller: self.caller.clone(),
                has_terminal: window.is_some(),
                input,
                output,
                marks: self.marks.clone(),
            };
            self.lender.consoles.carry_out(&mut sitter, words).await
        })
    }

    fn linux<'a>(&'a self, command: Option<&'a str>, seat: Seat<'a>) -> Lent<'a, u32> {
        Box::pin(async move {
            let permitted = self.northbound.permits(&self.caller, LINUX, Access::Update).await;
            permitted.map_err(|refusal| refusal.to_string())?;
            info!(user = %self.caller.user, origin = %self.caller.origin, command, "runs Linux");
            self.lender.linux.run(&self.caller.user, command, seat).await
        })
    }

    fn by_ssh<'a>(&'a self, remote: &'a Remote, content: Option<&'a [u8]>, proof: &'a Proof) -> Copied<'a> {
        let (user, origin) = (&self.caller.user, &self.caller.origin);
        info!(%user, %origin, %remote, writes = content.is_some(), "a file of another host");
        Box::pin(self.lender.hosts.exchange(remote, content, proof))
    }

    fn fetch<'a>(&'a self, url: &'a str) -> Lent<'a, Vec<u8>> {
        Box::pin(self.lender.urls.fetch(url))
    }
}
