//! How the parameters of an operation are read, whatever the operation: each at most once, in any order, and refused
//! by name.
//!
//! Must not know: which operation has which parameters.

use bytes::Bytes;

use super::extensions::PARTIAL_LOCK;
use super::hello::BASE;
use super::nmda::NMDA;
use super::notice::NOTIFICATION;
use super::text::quote;
use super::xml::{Parsed, Scanner, Tag, Token};
use crate::northbound::refusal::Layer;
use crate::northbound::{Fragment, Kind, Refusal};

pub(super) const MONITORING: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring";

/// A refusal of the operations layer.
pub(super) fn refuse(kind: Kind, message: impl Into<String>) -> Box<Refusal> {
    Box::new(Refusal::new(kind, message).at_layer(Layer::Protocol))
}

/// The walk inside of one operation.
pub(super) struct Reader<'r, 'm> {
    pub(super) operation: &'m str,
    pub(super) scanner: &'r mut Scanner<'m>,
    pub(super) message: &'r Bytes,
}

impl<'m> Reader<'_, 'm> {
    /// Hands every child element of the element that the walk is in to `each`, which reads it to its end.
    pub(super) fn parameters(&mut self, each: impl FnMut(&mut Self, &Tag<'m>) -> Parsed<()>) -> Parsed<()> {
        self.parameters_in(self.operation, each)
    }

    /// The same in a parameter named `element`.
    pub(super) fn parameters_in(
        &mut self,
        element: &str,
        mut each: impl FnMut(&mut Self, &Tag<'m>) -> Parsed<()>,
    ) -> Parsed<()> {
        loop {
            match self.scanner.next()? {
                Token::Open(tag) => {
                    if tag.name != "filter" {
                        self.check_attributes(&tag)?;
                    }
                    each(self, &tag)?;
                }
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Text(_) => return Err(text_in(element)),
                Token::Close | Token::End => return Ok(()),
            }
        }
    }

    /// An operation and its parameters, filters aside, have no attributes. Those of other namespaces mean nothing here.
    pub(super) fn check_attributes(&self, tag: &Tag<'m>) -> Parsed<()> {
        let attributes = self.scanner.attributes_of(tag)?;
        let is_ours = |namespace: Option<&str>| namespace.is_none_or(|namespace| namespace == BASE);
        let Some(found) = attributes.into_iter().find(|attribute| is_ours(attribute.namespace.as_deref())) else {
            return Ok(());
        };
        let (element, attribute) = (quote(tag.name).into_owned(), quote(found.name).into_owned());
        let message = format!("<{element}> of `{}` has no attribute `{attribute}`", self.operation);
        Err(refuse(Kind::UnknownAttribute { element, attribute }, message))
    }

    pub(super) fn config(&mut self) -> Parsed<Fragment> {
        let cut = self.scanner.cut_content(self.message)?;
        if cut.has_text { Err(text_in("config")) } else { Ok(cut.fragment) }
    }

    /// Reads a leaf to its end.
    pub(super) fn text(&mut self, tag: &Tag<'m>) -> Parsed<String> {
        let mut text = String::new();
        loop {
            match self.scanner.next()? {
                Token::Text(piece) => text.push_str(&piece),
                Token::Open(inner) => {
                    let message = format!("<{}> holds text, not elements", quote(tag.name));
                    return Err(refuse(Kind::UnknownElement { element: quote(inner.name).into_owned() }, message));
                }
                Token::Close | Token::End => break,
            }
        }
        Ok(text.trim().to_owned())
    }

    pub(super) fn one_of<T: Copy>(&mut self, tag: &Tag<'m>, values: &[(&str, T)]) -> Parsed<T> {
        let text = self.text(tag)?;
        let found = values.iter().find(|(name, _)| *name == text).map(|&(_, value)| value);
        found.ok_or_else(|| {
            let names: Vec<&str> = values.iter().map(|&(name, _)| name).collect();
            self.invalid(tag, &text, &format!("write one of {}", names.join(", ")))
        })
    }

    pub(super) fn once<T>(&self, slot: &mut Option<T>, value: T, tag: &Tag<'m>) -> Parsed<()> {
        if slot.replace(value).is_some() {
            let element = quote(tag.name).into_owned();
            let message = format!("<{element}> leaves more than one choice in `{}`", self.operation);
            return Err(refuse(Kind::BadElement { element }, message));
        }
        Ok(())
    }

    /// The name of a parameter in the base namespace; empty for one of another. A `<config>` of none is taken: widely used
    /// clients wrap what they are given in a prefixed rpc, and nothing else could be meant.
    pub(super) fn base_name(&self, tag: &Tag<'m>) -> &'m str {
        match tag.namespace.as_deref() {
            Some(BASE) => tag.name,
            None | Some("") if tag.name == "config" => tag.name,
            Some(_) | None => "",
        }
    }

    pub(super) fn unknown(&self, tag: &Tag<'m>) -> Box<Refusal> {
        let element = quote(tag.name).into_owned();
        match tag.namespace.as_deref() {
            Some(BASE | MONITORING | NMDA | NOTIFICATION | PARTIAL_LOCK) => {
                let message = format!("<{element}> is not a parameter of `{}`", self.operation);
                refuse(Kind::UnknownElement { element }, message)
            }
            namespace => {
                let namespace = quote(namespace.unwrap_or_default()).into_owned();
                let message =
                    format!("<{element}> of namespace `{namespace}` is not a parameter of `{}`", self.operation);
                refuse(Kind::UnknownNamespace { element, namespace }, message)
            }
        }
    }

    pub(super) fn missing(&self, element: &str) -> Box<Refusal> {
        let message = format!("`{}` lacks <{element}>", self.operation);
        refuse(Kind::MissingElement { element: element.to_owned() }, message)
    }

    pub(super) fn invalid(&self, tag: &Tag<'m>, text: &str, remedy: &str) -> Box<Refusal> {
        let message = format!("`{}` is not a value of <{}>", quote(text), quote(tag.name));
        let refusal = refuse(Kind::InvalidValue, message).mend(remedy);
        Box::new(refusal.at(format!("/ietf-netconf:rpc/{}/{}", self.operation, tag.name)))
    }
}

pub(super) fn text_in(element: &str) -> Box<Refusal> {
    let element = quote(element).into_owned();
    let message = format!("text stands inside <{element}> where only elements may");
    refuse(Kind::BadElement { element }, message)
}
