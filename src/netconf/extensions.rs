//! Operations of other modules whose parameters need the XML around them: partial-lock of RFC 5717, and what URLs add to
//! those of RFC 6241.
//!
//! Must not know: what is locked or where URLs lead.

use super::nmda::NMDA;
use super::parameters::{Reader, refuse};
use super::text::quote;
use super::xml::{Parsed, Tag};
use crate::northbound::filter::XPath;
use crate::northbound::url::Url;
use crate::northbound::{Datastore, Fragment, Kind, Request, Source, WithDefaults};
use crate::yang::xml;

pub(super) const PARTIAL_LOCK: &str = "urn:ietf:params:xml:ns:netconf:partial-lock:1.0";

/// Expressions of one partial lock.
const SELECTS_MAX: usize = 1000;

/// What `<source>` or `<target>` may name.
pub(super) enum Place {
    Datastore(Datastore),
    Inline(Fragment),
    Url(Url),
}

impl Place {
    /// A source, and the URL that it is to be read from first.
    pub(super) fn into_source(self) -> (Source, Option<Url>) {
        match self {
            Place::Datastore(datastore) => (Source::Datastore(datastore), None),
            Place::Inline(config) => (Source::Inline(config), None),
            Place::Url(url) => (Source::Inline(Fragment::default()), Some(url)),
        }
    }
}

/// `request` as it stands, or when the configuration has come from `url`.
pub(super) fn fetched(url: Option<Url>, request: Request) -> Request {
    match url {
        Some(url) => Request::WithUrl { url, then: Box::new(request) },
        None => request,
    }
}

impl<'m> Reader<'_, 'm> {
    pub(super) fn url(&mut self, tag: &Tag<'m>) -> Parsed<Url> {
        let text = self.text(tag)?;
        self.parsed_url(&text)
    }

    fn parsed_url(&self, text: &str) -> Parsed<Url> {
        Url::parse(text).map_err(|refused| {
            let refusal = refuse(Kind::InvalidValue, refused.to_string());
            Box::new(refusal.at(format!("/ietf-netconf:rpc/{}/url", self.operation)))
        })
    }

    /// ncclient writes a whole `<source>` into `<url>`, as text, where a device knows URLs: it takes whatever holds `://` for
    /// one, and namespaces do. What can be nothing else is taken for what was meant.
    fn url_or_content(&mut self, tag: &Tag<'m>) -> Parsed<Place> {
        let text = self.text(tag)?;
        match written_out(&text) {
            Some(config) => Ok(Place::Inline(Fragment(config.into()))),
            None => self.parsed_url(&text).map(Place::Url),
        }
    }

    pub(super) fn copy_config(&mut self) -> Parsed<Request> {
        let (mut target, mut source, mut with_defaults) = (None, None, None);
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "target" => {
                let read = reader.place(tag)?;
                reader.once(&mut target, read, tag)
            }
            "source" => {
                let read = reader.place(tag)?;
                reader.once(&mut source, read, tag)
            }
            _ if super::operation::is_with_defaults(tag) => {
                let read = reader.one_of(tag, &super::operation::DEFAULTS)?;
                reader.once(&mut with_defaults, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        let target = target.ok_or_else(|| self.missing("target"))?;
        let source = source.ok_or_else(|| self.missing("source"))?;
        let (source, from) = source.into_source();
        match target {
            // RFC 6243 section 4.5.3 is about what is written elsewhere; a datastore knows its defaults.
            Place::Datastore(_) if with_defaults.is_some_and(|mode| mode != WithDefaults::Explicit) => Err(Box::new(
                refuse(Kind::OperationNotSupported, "a datastore is copied with what is explicitly set")
                    .mend("leave out <with-defaults>, or copy to a URL"),
            )),
            Place::Datastore(target) => Ok(fetched(from, Request::CopyConfig { target, source })),
            // RFC 6241 section 8.8.5.2 leaves copies between two URLs to the server.
            Place::Url(_) if from.is_some() => Err(Box::new(
                refuse(Kind::OperationNotSupported, "a configuration is not copied from one URL to another")
                    .mend("copy it to a datastore between"),
            )),
            Place::Url(url) => Ok(Request::CopyToUrl { url, source, with_defaults: with_defaults.unwrap_or_default() }),
            Place::Inline(_) => Err(refuse(
                Kind::BadElement { element: "config".to_owned() },
                "a target is a datastore or a URL, not <config>",
            )),
        }
    }

    pub(super) fn delete_config(&mut self) -> Parsed<Request> {
        let mut target = None;
        self.parameters(|reader, tag| match reader.base_name(tag) {
            "target" => {
                let read = reader.place(tag)?;
                reader.once(&mut target, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        match target.ok_or_else(|| self.missing("target"))? {
            Place::Datastore(target) => Ok(Request::DeleteConfig { target }),
            Place::Url(url) => Ok(Request::DeleteUrl { url }),
            Place::Inline(_) => Err(refuse(
                Kind::BadElement { element: "config".to_owned() },
                "a target is a datastore or a URL, not <config>",
            )),
        }
    }

    pub(super) fn partial_lock(&mut self) -> Parsed<Request> {
        let mut selects = Vec::new();
        self.parameters(|reader, tag| match (tag.namespace.as_deref(), tag.name) {
            (Some(PARTIAL_LOCK), "select") if selects.len() < SELECTS_MAX => {
                let namespaces = reader.scanner.in_scope();
                let expression = reader.text(tag)?;
                selects.push(XPath { expression, namespaces });
                Ok(())
            }
            (Some(PARTIAL_LOCK), "select") => {
                Err(refuse(Kind::TooBig, format!("a partial lock has at most {SELECTS_MAX} expressions")))
            }
            _ => Err(reader.unknown(tag)),
        })?;
        if selects.is_empty() {
            return Err(self.missing("select"));
        }
        Ok(Request::PartialLock { selects })
    }

    pub(super) fn partial_unlock(&mut self) -> Parsed<Request> {
        let mut id = None;
        self.parameters(|reader, tag| match (tag.namespace.as_deref(), tag.name) {
            (Some(PARTIAL_LOCK), "lock-id") => {
                let text = reader.text(tag)?;
                let read: u32 = text.parse().map_err(|_| {
                    refuse(Kind::InvalidValue, format!("`{}` is not the number of a partial lock", quote(&text)))
                })?;
                reader.once(&mut id, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        Ok(Request::PartialUnlock { id: id.ok_or_else(|| self.missing("lock-id"))? })
    }

    /// The content of `<source>` or `<target>`.
    pub(super) fn place(&mut self, within: &Tag<'m>) -> Parsed<Place> {
        let mut found = None;
        self.parameters_in(within.name, |reader, tag| {
            let place = match reader.base_name(tag) {
                "running" => Place::Datastore(Datastore::Running),
                "candidate" => Place::Datastore(Datastore::Candidate),
                "startup" => Place::Datastore(Datastore::Startup),
                "config" => Place::Inline(reader.config()?),
                "url" => reader.url_or_content(tag)?,
                // RFC 8526 section 3.1.3; the leaf is read to its end.
                _ if tag.name == "datastore" && tag.namespace.as_deref() == Some(NMDA) => {
                    let named = reader.named_datastore(tag)?;
                    return reader.once(&mut found, Place::Datastore(named), tag);
                }
                _ => return Err(reader.unknown(tag)),
            };
            if matches!(place, Place::Datastore(_)) {
                reader.parameters_in(tag.name, |reader, tag| Err(reader.unknown(tag)))?;
            }
            reader.once(&mut found, place, tag)
        })?;
        found.ok_or_else(|| {
            let message = format!("<{}> names no datastore", quote(within.name));
            refuse(Kind::MissingElement { element: quote(within.name).into_owned() }, message)
        })
    }

    /// Where only a datastore may stand.
    pub(super) fn datastore(&mut self, within: &Tag<'m>) -> Parsed<Datastore> {
        let element = match self.place(within)? {
            Place::Datastore(datastore) => return Ok(datastore),
            Place::Inline(_) => "config",
            Place::Url(_) => "url",
        };
        let message = format!("a datastore is due here, not <{element}>");
        Err(refuse(Kind::BadElement { element: element.to_owned() }, message))
    }
}

/// The content of `<config>` in the text of a `<source>`.
fn written_out(text: &str) -> Option<String> {
    if !text.starts_with("<source") {
        return None;
    }
    let elements = xml::parse(text.as_bytes()).ok()?;
    let [source] = elements.as_slice() else { return None };
    match source.children.as_slice() {
        [config] if &*source.name == "source" && &*config.name == "config" => Some(config.inner_xml()),
        _ => None,
    }
}
