//! Requests whose configuration comes from a URL, goes to one, or is deleted there (RFC 6241 section 8.8).
//!
//! ```text
//!  WithUrl --read elsewhere--> Resume: the same request with its configuration inside --> answer
//!  CopyToUrl: print what the caller may read --written elsewhere--> Resume --> answer
//! ```
//! Must not know: files, servers. A [`Places`] given by the composition root does.

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::info;

use super::driver::Northbound;
use super::handle::{self, Continuation, Input};
use super::provider::Later;
use super::url::Url;
use super::{Answer, Caller, Datastore, Fragment, Kind, Refusal, Request, Response, Source, WithDefaults};
use crate::yang::tree::Tree;
use crate::yang::xml;

const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

/// The handle by which access rules govern the files of the device.
const FILES: &str = "/procyon-files:harddisk";

/// Reads and writes what URLs name. Bounded in bytes and time.
pub trait Places: Send {
    fn read(&self, url: &Url) -> Later<Bytes>;
    fn write(&self, url: &Url, content: Bytes) -> Later<()>;
    fn delete(&self, url: &Url) -> Later<()>;
}

impl Northbound {
    /// `then` lacks its configuration, which is at `url`.
    pub(super) fn with_url(&mut self, caller: &Caller, url: Url, then: Request, reply: oneshot::Sender<Answer>) {
        if let Err(refusal) = self.may_use(caller, &url, handle::Access::Read) {
            return drop(reply.send(Err(vec![refusal])));
        }
        let reading = self.places.read(&url);
        let caller = caller.clone();
        self.elsewhere(reading, move |northbound, outcome| {
            match outcome.and_then(|content| config_of(&content, &url)) {
                Ok(config) => northbound.ask(&caller, filled(then, config), reply),
                Err(refusal) => drop(reply.send(Err(vec![refusal]))),
            }
        });
    }

    pub(super) fn copy_to_url(
        &mut self,
        caller: &Caller,
        url: &Url,
        source: &Source,
        with_defaults: WithDefaults,
        reply: oneshot::Sender<Answer>,
    ) {
        let content = self
            .may_use(caller, url, handle::Access::Update)
            .map_err(|refusal| vec![refusal])
            .and_then(|()| self.readable_config(caller, source, with_defaults));
        let content = match content {
            Ok(content) => content,
            Err(refusals) => return drop(reply.send(Err(refusals))),
        };
        info!(user = %caller.user, %url, bytes = content.len(), "a configuration is copied to a URL");
        let writing = self.places.write(url, content);
        self.elsewhere(writing, move |_, outcome| answer(reply, outcome));
    }

    pub(super) fn delete_url(&mut self, caller: &Caller, url: &Url, reply: oneshot::Sender<Answer>) {
        if let Err(refusal) = self.may_use(caller, url, handle::Access::Update) {
            return drop(reply.send(Err(vec![refusal])));
        }
        info!(user = %caller.user, %url, "what a URL names is deleted");
        let deleting = self.places.delete(url);
        self.elsewhere(deleting, move |_, outcome| answer(reply, outcome));
    }

    /// Who may use the files of the device by sftp may use them here.
    fn may_use(&self, caller: &Caller, url: &Url, access: handle::Access) -> Result<(), Refusal> {
        if !self.abilities.url {
            let message = "the url capability is not announced, so <url> cannot be read or written";
            return Err(Refusal::new(Kind::OperationNotSupported, message));
        }
        match url {
            Url::File(_) => self.access.permits(caller, FILES, access),
            Url::Https(_) => Ok(()),
        }
    }

    /// RFC 8341 section 3.2.5: what the caller may not read is silently left out.
    fn readable_config(
        &mut self,
        caller: &Caller,
        source: &Source,
        with_defaults: WithDefaults,
    ) -> Result<Bytes, Vec<Refusal>> {
        let tree = match source {
            Source::Datastore(datastore) => self.datastore(caller, *datastore)?,
            Source::Inline(config) => {
                let mut tree = Tree::parse_config(self.schema, &config.0)?;
                self.secrets.conceal_in(&mut tree);
                std::sync::Arc::new(tree)
            }
        };
        let readable = match source {
            Source::Datastore(_) => self.readable(caller, &tree).print_xml(with_defaults),
            Source::Inline(_) => tree.print_xml(with_defaults),
        };
        let head = format!("<config xmlns=\"{BASE}\">");
        Ok([head.as_bytes(), &readable, b"</config>\n"].concat().into())
    }

    /// What a caller means by a datastore.
    pub(super) fn datastore(
        &mut self,
        caller: &Caller,
        datastore: Datastore,
    ) -> Result<std::sync::Arc<Tree>, Vec<Refusal>> {
        match datastore {
            Datastore::Running => Ok(std::sync::Arc::clone(self.datastores.running())),
            Datastore::Candidate => Ok(self.datastores.candidate(self.candidate_of(caller))),
            Datastore::Startup => self.startup().map_err(|refusal| vec![refusal]),
        }
    }

    pub(super) fn elsewhere<T: Send + 'static>(
        &self,
        work: Later<T>,
        then: impl FnOnce(&mut Northbound, Result<T, Refusal>) + Send + 'static,
    ) {
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move {
            let outcome = work.await;
            let resume = Continuation(Box::new(move |northbound: &mut Northbound| then(northbound, outcome)));
            // A northbound that is gone answers nobody.
            drop(inputs.send(Input::Resume(resume)).await);
        });
    }
}

fn answer(reply: oneshot::Sender<Answer>, outcome: Result<(), Refusal>) {
    drop(reply.send(outcome.map(|()| Response::Ok).map_err(|refusal| vec![refusal])));
}

/// What is kept at a URL is one `<config>` element.
fn config_of(content: &[u8], url: &Url) -> Result<Fragment, Refusal> {
    let elements = xml::parse(content).map_err(|refusal| {
        let message = format!("what {url} holds cannot be read: {}", refusal.message);
        Refusal::new(Kind::InvalidValue, message)
    })?;
    match elements.as_slice() {
        [config] if &*config.name == "config" && config.namespace.as_deref() == Some(BASE) => {
            Ok(Fragment(config.inner_xml().into()))
        }
        _ => {
            let message = format!("what {url} holds is not one <config> element of {BASE}");
            Err(Refusal::new(Kind::InvalidValue, message))
        }
    }
}

fn filled(request: Request, fragment: Fragment) -> Request {
    match request {
        Request::EditConfig { target, default_operation, test_option, error_option, .. } => {
            Request::EditConfig { target, default_operation, test_option, error_option, config: fragment }
        }
        Request::EditData { target, default_operation, .. } => {
            Request::EditData { target, default_operation, config: fragment }
        }
        Request::CopyConfig { target, .. } => Request::CopyConfig { target, source: Source::Inline(fragment) },
        Request::Validate { .. } => Request::Validate { source: Source::Inline(fragment) },
        other => other,
    }
}
