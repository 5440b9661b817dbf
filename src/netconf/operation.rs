//! The operations of RFC 6241 section 7, get-schema of RFC 6022, create-subscription of RFC 5277 and YANG actions, from
//! XML to a [`Request`]; any other operation is handed on as it stands.
//!
//! Parameters are taken in any order and with any prefix; each at most once. What belongs to a capability that this
//! agent does not have is refused by name.
//!
//! Must not know: which modules are loaded, whether a datastore may be written.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::cut::Cut;
use super::extensions::{self, PARTIAL_LOCK, Place};
use super::filter;
use super::hello::BASE;
use super::nmda::NMDA;
use super::notice::NOTIFICATION;
use super::parameters::{MONITORING, Reader, refuse, text_in};
use super::rpc::Operation;
use super::text::quote;
use super::xml::{Parsed, Scanner, Tag};
use crate::datastore::confirmed::{Asked, Confirmation, TIMEOUT_DEFAULT, TOKEN_BYTES_MAX};
use crate::northbound::filter::Filter;
use crate::northbound::notifications::Wish;
use crate::northbound::{
    CommitOptions, Datastore, DefaultOperation, ErrorOption, Fragment, Kind, Request, SessionId, TestOption,
    WithDefaults,
};

const WITH_DEFAULTS: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults";
const HISTORY: &str = "urn:procyon:history";
const YANG: &str = "urn:ietf:params:xml:ns:yang:1";

/// Reads the operation that `tag` has opened, to its end.
pub(super) fn parse<'m>(scanner: &mut Scanner<'m>, message: &Bytes, tag: &Tag<'m>) -> Parsed<Operation> {
    let mut reader = Reader { operation: tag.name, scanner, message };
    if matches!(tag.namespace.as_deref(), Some(BASE | MONITORING | NOTIFICATION | NMDA | PARTIAL_LOCK | YANG)) {
        reader.check_attributes(tag)?;
    }
    let request = match (tag.namespace.as_deref(), tag.name) {
        (Some(BASE), "get") => reader.get()?,
        (Some(BASE), "get-config") => reader.get_config()?,
        (Some(BASE), "edit-config") => reader.edit_config()?,
        (Some(BASE), "copy-config") => reader.copy_config()?,
        (Some(BASE), "delete-config") => reader.delete_config()?,
        (Some(BASE), "lock") => Request::Lock { target: reader.only_target()? },
        (Some(BASE), "unlock") => Request::Unlock { target: reader.only_target()? },
        (Some(BASE), "validate") => reader.validate()?,
        (Some(BASE), "commit") => reader.commit()?,
        (Some(BASE), "cancel-commit") => reader.cancel_commit()?,
        (Some(BASE), "discard-changes") => {
            reader.parameters(|reader, tag| Err(reader.unknown(tag)))?;
            Request::DiscardChanges
        }
        (Some(BASE), "close-session") => {
            reader.parameters(|reader, tag| Err(reader.unknown(tag)))?;
            return Ok(Operation::CloseSession);
        }
        (Some(BASE), "kill-session") => reader.kill_session()?,
        (Some(MONITORING), "get-schema") => reader.get_schema()?,
        (Some(NOTIFICATION), "create-subscription") => Request::CreateSubscription(reader.subscription()?),
        (Some(NMDA), "get-data") => reader.get_data()?,
        (Some(NMDA), "edit-data") => reader.edit_data()?,
        (Some(PARTIAL_LOCK), "partial-lock") => reader.partial_lock()?,
        (Some(PARTIAL_LOCK), "partial-unlock") => reader.partial_unlock()?,
        (Some(YANG), "action") => reader.action()?,
        (Some(BASE | MONITORING | NOTIFICATION | NMDA | PARTIAL_LOCK | YANG), name) => {
            let message = format!("the operation `{}` is not supported", quote(name));
            return Err(refuse(Kind::OperationNotSupported, message));
        }
        (Some(_), _) => Request::Invoke { operation: reader.scanner.cut_element(message, tag)?.fragment },
        (None, name) => {
            let element = quote(name).into_owned();
            let message = format!("the operation `{element}` is in no namespace");
            return Err(refuse(Kind::UnknownNamespace { element, namespace: String::new() }, message));
        }
    };
    Ok(Operation::Ask(request))
}

impl<'m> Reader<'_, 'm> {
    fn get(&mut self) -> Parsed<Request> {
        let (mut filter, mut with_defaults) = (None, None);
        self.parameters(|reader, tag| reader.retrieval(tag, &mut filter, &mut with_defaults))?;
        Ok(Request::Get { filter, with_defaults: with_defaults.unwrap_or_default() })
    }

    fn get_config(&mut self) -> Parsed<Request> {
        let (mut source, mut filter, mut with_defaults) = (None, None, None);
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "source" => {
                let read = reader.datastore(tag)?;
                reader.once(&mut source, read, tag)
            }
            _ => reader.retrieval(tag, &mut filter, &mut with_defaults),
        })?;
        let source = source.ok_or_else(|| self.missing("source"))?;
        Ok(Request::GetConfig { source, filter, with_defaults: with_defaults.unwrap_or_default() })
    }

    fn edit_config(&mut self) -> Parsed<Request> {
        let (mut target, mut default_operation, mut test_option, mut error_option, mut config) =
            (None, None, None, None, None);
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "target" => {
                let read = reader.datastore(tag)?;
                reader.once(&mut target, read, tag)
            }
            "default-operation" => {
                let read = reader.one_of(
                    tag,
                    &[
                        ("merge", DefaultOperation::Merge),
                        ("replace", DefaultOperation::Replace),
                        ("none", DefaultOperation::None),
                    ],
                )?;
                reader.once(&mut default_operation, read, tag)
            }
            "test-option" => {
                let read = reader.one_of(
                    tag,
                    &[
                        ("test-then-set", TestOption::TestThenSet),
                        ("set", TestOption::Set),
                        ("test-only", TestOption::TestOnly),
                    ],
                )?;
                reader.once(&mut test_option, read, tag)
            }
            "error-option" => {
                let read = reader.one_of(
                    tag,
                    &[
                        ("stop-on-error", ErrorOption::StopOnError),
                        ("continue-on-error", ErrorOption::ContinueOnError),
                        ("rollback-on-error", ErrorOption::RollbackOnError),
                    ],
                )?;
                reader.once(&mut error_option, read, tag)
            }
            "config" => {
                let read = Place::Inline(reader.config()?);
                reader.once(&mut config, read, tag)
            }
            "url" => {
                let read = Place::Url(reader.url(tag)?);
                reader.once(&mut config, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        let target = target.ok_or_else(|| self.missing("target"))?;
        let (config, url) = match config.ok_or_else(|| self.missing("config"))? {
            Place::Url(url) => (Fragment::default(), Some(url)),
            Place::Inline(config) => (config, None),
            Place::Datastore(_) => return Err(self.missing("config")),
        };
        let edit = Request::EditConfig {
            target,
            default_operation: default_operation.unwrap_or_default(),
            test_option: test_option.unwrap_or_default(),
            error_option: error_option.unwrap_or_default(),
            config,
        };
        Ok(extensions::fetched(url, edit))
    }

    fn validate(&mut self) -> Parsed<Request> {
        let mut source = None;
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "source" => {
                let read = reader.place(tag)?;
                reader.once(&mut source, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        let (source, from) = source.ok_or_else(|| self.missing("source"))?.into_source();
        Ok(extensions::fetched(from, Request::Validate { source }))
    }

    /// RFC 6241 sections 8.3.4.1 and 8.4.5, and what `procyon-history` adds.
    fn commit(&mut self) -> Parsed<Request> {
        let (mut confirmed, mut timeout, mut persist, mut persist_id) = (None, None, None, None);
        let (mut label, mut comment, mut best_effort) = (None, None, None);
        self.parameters(|reader, tag| match (tag.namespace.as_deref(), tag.name) {
            (Some(BASE), "confirmed") => {
                let text = reader.text(tag)?;
                if !text.is_empty() {
                    return Err(reader.invalid(tag, &text, "write <confirmed/>"));
                }
                reader.once(&mut confirmed, (), tag)
            }
            (Some(BASE), "confirm-timeout") => {
                let text = reader.text(tag)?;
                let seconds = text.parse::<u32>().ok().filter(|&seconds| seconds > 0);
                let seconds =
                    seconds.ok_or_else(|| reader.invalid(tag, &text, "seconds are a number from 1 to 4294967295"))?;
                reader.once(&mut timeout, Duration::from_secs(u64::from(seconds)), tag)
            }
            (Some(BASE), "persist") => {
                let token = reader.token(tag)?;
                reader.once(&mut persist, token, tag)
            }
            (Some(BASE), "persist-id") => {
                let token = reader.token(tag)?;
                reader.once(&mut persist_id, token, tag)
            }
            (Some(HISTORY), "label") => {
                let text = reader.text(tag)?;
                reader.once(&mut label, text, tag)
            }
            (Some(HISTORY), "comment") => {
                let text = reader.text(tag)?;
                reader.once(&mut comment, text, tag)
            }
            (Some(HISTORY), "best-effort") => {
                let text = reader.text(tag)?;
                if !text.is_empty() {
                    return Err(reader.invalid(tag, &text, "write <best-effort/>"));
                }
                reader.once(&mut best_effort, (), tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        if confirmed.is_none() && (timeout.is_some() || persist.is_some()) {
            let kind = Kind::MissingElement { element: "confirmed".to_owned() };
            let message = "confirm-timeout and persist are for a commit that has to be confirmed";
            return Err(Box::new(refuse(kind, message).mend("add <confirmed/>, or leave them out")));
        }
        let confirmed = confirmed.map(|()| Confirmation { timeout: timeout.unwrap_or(TIMEOUT_DEFAULT), persist });
        let confirm = Asked { confirmed, persist_id };
        Ok(Request::Commit(CommitOptions { confirm, label, comment, best_effort: best_effort.is_some() }))
    }

    fn cancel_commit(&mut self) -> Parsed<Request> {
        let mut persist_id = None;
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "persist-id" => {
                let token = reader.token(tag)?;
                reader.once(&mut persist_id, token, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        Ok(Request::CancelCommit { persist_id })
    }

    fn token(&mut self, tag: &Tag<'m>) -> Parsed<String> {
        let token = self.text(tag)?;
        if token.len() > TOKEN_BYTES_MAX {
            let message = format!("<{}> has more than {TOKEN_BYTES_MAX} bytes", quote(tag.name));
            return Err(refuse(Kind::TooBig, message));
        }
        Ok(token)
    }

    fn only_target(&mut self) -> Parsed<Datastore> {
        let mut target = None;
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "target" => {
                let read = reader.datastore(tag)?;
                reader.once(&mut target, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        target.ok_or_else(|| self.missing("target"))
    }

    fn kill_session(&mut self) -> Parsed<Request> {
        let mut session = None;
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "session-id" => {
                let text = reader.text(tag)?;
                let id = text.parse().ok().filter(|&id| id > 0);
                let id =
                    id.ok_or_else(|| reader.invalid(tag, &text, "a session id is a number from 1 to 4294967295"))?;
                reader.once(&mut session, SessionId(id), tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        Ok(Request::KillSession { session: session.ok_or_else(|| self.missing("session-id"))? })
    }

    fn get_schema(&mut self) -> Parsed<Request> {
        let (mut identifier, mut version, mut format) = (None, None, None);
        self.parameters(|reader, tag| {
            let slot = match tag.name {
                _ if tag.namespace.as_deref() != Some(MONITORING) => return Err(reader.unknown(tag)),
                "identifier" => &mut identifier,
                "version" => &mut version,
                "format" => &mut format,
                _ => return Err(reader.unknown(tag)),
            };
            let read = reader.text(tag)?;
            reader.once(slot, read, tag)
        })?;
        // An identity may carry a prefix; the names of the formats are unique without.
        let format = format.map(|format| format.rsplit(':').next().unwrap_or_default().to_owned());
        Ok(Request::GetSchema { identifier: identifier.ok_or_else(|| self.missing("identifier"))?, version, format })
    }

    fn subscription(&mut self) -> Parsed<Wish> {
        let (mut stream, mut filter, mut start, mut stop) = (None, None, None, None);
        self.parameters(|reader, tag| match (tag.namespace.as_deref(), tag.name) {
            // Clients in the field send it in either namespace.
            (Some(NOTIFICATION | BASE), "filter") => {
                let read = filter::parse(reader.scanner, tag)?;
                reader.once(&mut filter, read, tag)
            }
            (Some(NOTIFICATION), "stream") => {
                let read = reader.text(tag)?;
                reader.once(&mut stream, read, tag)
            }
            (Some(NOTIFICATION), "startTime") => {
                let read = reader.time(tag)?;
                reader.once(&mut start, read, tag)
            }
            (Some(NOTIFICATION), "stopTime") => {
                let read = reader.time(tag)?;
                reader.once(&mut stop, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        Ok(Wish { stream, filter, start, stop })
    }

    fn time(&mut self, tag: &Tag<'m>) -> Parsed<Timestamp> {
        let text = self.text(tag)?;
        text.parse().map_err(|_| {
            // RFC 5277 section 2.1.1 names bad-element for its times.
            let kind = Kind::BadElement { element: tag.name.to_owned() };
            let message = format!("`{}` is not a time with its zone, like 2026-11-21T07:00:00Z", quote(&text));
            refuse(kind, message)
        })
    }

    fn action(&mut self) -> Parsed<Request> {
        let cut = self.scanner.cut_content(self.message)?;
        match cut {
            Cut { has_text: true, .. } => Err(text_in("action")),
            Cut { elements: 0, .. } => Err(refuse(
                Kind::MissingElement { element: "action".to_owned() },
                "<action> does not say which action of which node",
            )),
            Cut { elements: 1, fragment, .. } => Ok(Request::Action { action: fragment }),
            Cut { .. } => Err(refuse(
                Kind::BadElement { element: "action".to_owned() },
                "an action names one node, below one top element",
            )),
        }
    }

    /// filter and with-defaults, which both retrievals have.
    fn retrieval(
        &mut self,
        tag: &Tag<'m>,
        filter: &mut Option<Filter>,
        with_defaults: &mut Option<WithDefaults>,
    ) -> Parsed<()> {
        if self.base_name(tag) == "filter" {
            let read = filter::parse(self.scanner, tag)?;
            return self.once(filter, read, tag);
        }
        if is_with_defaults(tag) {
            let read = self.one_of(tag, &DEFAULTS)?;
            return self.once(with_defaults, read, tag);
        }
        Err(self.unknown(tag))
    }
}

/// The modes of RFC 6243.
pub(super) const DEFAULTS: [(&str, WithDefaults); 4] = [
    ("explicit", WithDefaults::Explicit),
    ("report-all", WithDefaults::ReportAll),
    ("report-all-tagged", WithDefaults::ReportAllTagged),
    ("trim", WithDefaults::Trim),
];

pub(super) fn is_with_defaults(tag: &Tag<'_>) -> bool {
    tag.name == "with-defaults" && tag.namespace.as_deref() == Some(WITH_DEFAULTS)
}
