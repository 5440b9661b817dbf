//! get-data and edit-data (RFC 8526), from XML to a request.
//!
//! Must not know: which datastores there are.

use super::extensions::{Place, fetched};
use super::filter;
use super::parameters::{Reader, refuse};
use super::text::quote;
use super::xml::{Parsed, Tag};
use crate::northbound::filter::Filter;
use crate::northbound::nmda::{Asked, Origin, Origins, Shape, Store};
use crate::northbound::{Datastore, DefaultOperation, Fragment, Kind, Request};

pub(super) const NMDA: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda";
const DATASTORES: &str = "urn:ietf:params:xml:ns:yang:ietf-datastores";
const ORIGIN: &str = "urn:ietf:params:xml:ns:yang:ietf-origin";

impl<'m> Reader<'_, 'm> {
    pub(super) fn get_data(&mut self) -> Parsed<Request> {
        let (mut store, mut filter, mut config, mut depth, mut with_origin, mut defaults) =
            (None, None, None, None, None, None);
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        self.parameters(|reader, tag| match (tag.namespace.as_deref(), tag.name) {
            (Some(NMDA), "datastore") => {
                let read = reader.store(tag)?;
                reader.once(&mut store, read, tag)
            }
            (Some(NMDA), "subtree-filter") => {
                let read = filter::subtree(reader.scanner, "subtree-filter")?;
                reader.once(&mut filter, read, tag)
            }
            (Some(NMDA), "xpath-filter") => {
                let namespaces = reader.scanner.in_scope();
                let expression = reader.text(tag)?;
                reader.once(&mut filter, Filter::XPath { expression, namespaces }, tag)
            }
            (Some(NMDA), "config-filter") => {
                let read = reader.one_of(tag, &[("true", true), ("false", false)])?;
                reader.once(&mut config, read, tag)
            }
            (Some(NMDA), "origin-filter") => {
                wanted.push(reader.origin(tag)?);
                Ok(())
            }
            (Some(NMDA), "negated-origin-filter") => {
                unwanted.push(reader.origin(tag)?);
                Ok(())
            }
            (Some(NMDA), "max-depth") => {
                let text = reader.text(tag)?;
                let read =
                    match text.as_str() {
                        "unbounded" => None,
                        number => Some(number.parse().ok().filter(|levels: &u16| *levels > 0).ok_or_else(|| {
                            reader.invalid(tag, &text, "write a number from 1 to 65535, or unbounded")
                        })?),
                    };
                reader.once(&mut depth, read, tag)
            }
            (Some(NMDA), "with-origin") => {
                let text = reader.text(tag)?;
                if !text.is_empty() {
                    return Err(reader.invalid(tag, &text, "write <with-origin/>"));
                }
                reader.once(&mut with_origin, (), tag)
            }
            _ if super::operation::is_with_defaults(tag) => {
                let read = reader.one_of(tag, &super::operation::DEFAULTS)?;
                reader.once(&mut defaults, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        let store = store.ok_or_else(|| self.missing("datastore"))?;
        let origins = match (wanted.is_empty(), unwanted.is_empty()) {
            (true, true) => Origins::All,
            (false, true) => Origins::Of(wanted),
            (true, false) => Origins::NotOf(unwanted),
            (false, false) => {
                let kind = Kind::BadElement { element: "negated-origin-filter".to_owned() };
                return Err(refuse(kind, "origins are either chosen or excluded, not both"));
            }
        };
        let shape = Shape { config, origins, max_depth: depth.flatten(), with_origin: with_origin.is_some() };
        if store != Store::Operational && (shape.with_origin || shape.origins != Origins::All) {
            let message = "origins are those of configuration in use: ask the operational datastore";
            return Err(refuse(Kind::InvalidValue, message));
        }
        let with_defaults = defaults.unwrap_or(store.usual_defaults());
        Ok(Request::GetData(Asked { store, filter, shape, with_defaults }))
    }

    pub(super) fn edit_data(&mut self) -> Parsed<Request> {
        let (mut store, mut default_operation, mut content) = (None, None, None);
        self.parameters(|reader, tag| match (tag.namespace.as_deref(), tag.name) {
            (Some(NMDA), "datastore") => {
                let read = reader.store(tag)?;
                reader.once(&mut store, read, tag)
            }
            (Some(NMDA), "default-operation") => {
                let operations = [
                    ("merge", DefaultOperation::Merge),
                    ("replace", DefaultOperation::Replace),
                    ("none", DefaultOperation::None),
                ];
                let read = reader.one_of(tag, &operations)?;
                reader.once(&mut default_operation, read, tag)
            }
            (Some(NMDA), "config") => {
                let read = Place::Inline(reader.config()?);
                reader.once(&mut content, read, tag)
            }
            (Some(NMDA), "url") => {
                let read = Place::Url(reader.url(tag)?);
                reader.once(&mut content, read, tag)
            }
            _ => Err(reader.unknown(tag)),
        })?;
        let target = store.ok_or_else(|| self.missing("datastore"))?;
        let (config, url) = match content.ok_or_else(|| self.missing("config"))? {
            Place::Url(url) => (Fragment::default(), Some(url)),
            Place::Inline(config) => (config, None),
            Place::Datastore(_) => return Err(self.missing("config")),
        };
        let target = configuration(target)?;
        let default_operation = default_operation.unwrap_or_default();
        Ok(fetched(url, Request::EditData { target, default_operation, config }))
    }

    /// The datastore that lock, unlock and validate may name by its identity.
    pub(super) fn named_datastore(&mut self, tag: &Tag<'m>) -> Parsed<Datastore> {
        configuration(self.store(tag)?)
    }

    fn store(&mut self, tag: &Tag<'m>) -> Parsed<Store> {
        let name = self.identity(tag, DATASTORES)?;
        match name.as_str() {
            "running" => Ok(Store::Configuration(Datastore::Running)),
            "candidate" => Ok(Store::Configuration(Datastore::Candidate)),
            "startup" => Ok(Store::Configuration(Datastore::Startup)),
            "intended" => Ok(Store::Intended),
            "operational" => Ok(Store::Operational),
            _ => Err(self.invalid(tag, &name, "the datastores there are stand in /yang-library/datastore")),
        }
    }

    fn origin(&mut self, tag: &Tag<'m>) -> Parsed<Origin> {
        let name = self.identity(tag, ORIGIN)?;
        match name.as_str() {
            "origin" => Ok(Origin::Any),
            "intended" => Ok(Origin::Intended),
            "default" => Ok(Origin::Default),
            "dynamic" | "system" | "learned" | "unknown" => Ok(Origin::Other),
            _ => Err(self.invalid(tag, &name, "the origins are those of ietf-origin")),
        }
    }

    /// The local name of an identity of `namespace`.
    fn identity(&mut self, tag: &Tag<'m>, namespace: &str) -> Parsed<String> {
        let scope = self.scanner.in_scope();
        let text = self.text(tag)?;
        let (prefix, name) = text.split_once(':').unwrap_or(("", &text));
        let bound = scope.iter().find(|(known, _)| known == prefix).map(|(_, bound)| bound.as_str());
        // Without a prefix it may as well be meant in the namespace that its base is in.
        if bound == Some(namespace) || prefix.is_empty() {
            return Ok(name.to_owned());
        }
        let remedy = format!("an identity of namespace {namespace} is due");
        Err(self.invalid(tag, &quote(&text), &remedy))
    }
}

fn configuration(store: Store) -> Parsed<Datastore> {
    match store {
        Store::Configuration(datastore) => Ok(datastore),
        Store::Intended => {
            let message =
                "the intended datastore is what running makes it: it is neither written nor locked nor validated";
            Err(Box::new(refuse(Kind::InvalidValue, message).mend("name running")))
        }
        Store::Operational => {
            let message = "the operational datastore is neither written nor locked nor validated";
            Err(refuse(Kind::InvalidValue, message))
        }
    }
}
