//! One message of a client, from bytes to an operation (RFC 6241 section 4).
//!
//! Knows the envelope; the operations are in `operation.rs`. Never fails: what cannot be understood is an envelope
//! with a refusal in it, which is answered like any other.

use bytes::Bytes;

use super::hello::BASE;
use super::operation;
use super::text::quote;
use super::xml::{Parsed, Scanner, Tag, Token, malformed};
use crate::northbound::refusal::Layer;
use crate::northbound::{Kind, Refusal, Request};

/// Attributes of an rpc, all of which come back in its reply.
pub const ECHO_BYTES_MAX: usize = 16 * 1024;

/// An rpc as far as it could be understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    pub echo: Echo,
    pub operation: Result<Operation, Box<Refusal>>,
}

/// What a reply has of its rpc (RFC 6241 section 4.2): the attributes, declarations included, unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// They begin with the declaration of the base namespace, in which the reply itself is, but for what has a prefix.
    pub(super) attributes: String,
    /// That of the rpc, where the default namespace is another one.
    pub(super) prefix: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    Ask(Request),
    /// Ends the session; answered here, after everything asked before.
    CloseSession,
}

impl Echo {
    /// For a message whose rpc element could not be read.
    pub fn unknown() -> Self {
        Self { attributes: format!(" xmlns=\"{BASE}\""), prefix: None }
    }

    fn of<'m>(scanner: &Scanner<'m>, tag: &Tag<'m>) -> Parsed<(Self, bool)> {
        // Finds prefixes that nobody has declared, which a reply must not repeat.
        scanner.attributes_of(tag)?;
        let written = Scanner::written_attributes(tag)?;
        let has = |wanted: &str, value: &str| written.iter().any(|(name, raw)| *name == wanted && *raw == value);
        let is_declared = |prefix: &str| !prefix.is_empty() && has(&format!("xmlns:{prefix}"), BASE);
        let has_other_default = written.iter().any(|(name, raw)| *name == "xmlns" && *raw != BASE);
        let prefix = Some(tag.prefix()).filter(|prefix| has_other_default && is_declared(prefix)).map(str::to_owned);
        let mut echo = if prefix.is_some() { String::new() } else { Self::unknown().attributes };
        let mut has_message_id = false;
        for (name, raw) in written {
            if name == "xmlns" && prefix.is_none() {
                continue;
            }
            has_message_id |= name == "message-id";
            let quote = if raw.contains('"') { '\'' } else { '"' };
            echo.push(' ');
            echo.push_str(name);
            echo.push('=');
            echo.push(quote);
            echo.push_str(raw);
            echo.push(quote);
            if echo.len() > ECHO_BYTES_MAX {
                let message = format!("the attributes of the rpc are larger than {ECHO_BYTES_MAX} bytes");
                return Err(Box::new(Refusal::new(Kind::TooBig, message).at_layer(Layer::Rpc)));
            }
        }
        Ok((Self { attributes: echo, prefix }, has_message_id))
    }
}

/// Reads one message.
pub fn parse(message: &Bytes) -> Envelope {
    let mut echo = Echo::unknown();
    let operation = read(message, &mut echo);
    Envelope { echo, operation }
}

fn read(message: &Bytes, echo: &mut Echo) -> Parsed<Operation> {
    let mut scanner = Scanner::new(message)?;
    let Token::Open(root) = scanner.next()? else { return Err(malformed("the message holds no element")) };
    if root.name != "rpc" {
        let kind = Kind::UnknownElement { element: quote(root.name).into_owned() };
        let message = format!("<{}> is not a message that a client may send here; <rpc> is", quote(root.name));
        return Err(Box::new(Refusal::new(kind, message).at_layer(Layer::Rpc)));
    }
    let (attributes, has_message_id) = Echo::of(&scanner, &root)?;
    *echo = attributes;
    if root.namespace.as_deref() != Some(BASE) {
        let namespace = quote(root.namespace.as_deref().unwrap_or_default()).into_owned();
        let refusal = Refusal::new(
            Kind::UnknownNamespace { element: "rpc".to_owned(), namespace },
            "<rpc> is not in the NETCONF base namespace",
        );
        return Err(Box::new(
            refusal.at_layer(Layer::Rpc).mend(format!("write <rpc xmlns=\"{BASE}\" message-id=\"…\">")),
        ));
    }
    if !has_message_id {
        let kind = Kind::MissingAttribute { element: "rpc".to_owned(), attribute: "message-id".to_owned() };
        return Err(Box::new(Refusal::new(kind, "<rpc> has no attribute message-id").at_layer(Layer::Rpc)));
    }
    let mut operation = None;
    loop {
        match scanner.next()? {
            Token::Open(tag) => {
                if operation.is_some() {
                    let kind = Kind::UnknownElement { element: quote(tag.name).into_owned() };
                    let message = format!("an rpc carries one operation; <{}> is a second one", quote(tag.name));
                    return Err(Box::new(Refusal::new(kind, message).at_layer(Layer::Rpc)));
                }
                operation = Some(operation::parse(&mut scanner, message, &tag)?);
            }
            Token::Text(text) if text.trim().is_empty() => {}
            Token::Text(_) => {
                let kind = Kind::BadElement { element: "rpc".to_owned() };
                return Err(Box::new(
                    Refusal::new(kind, "text stands where the operation is due").at_layer(Layer::Rpc),
                ));
            }
            Token::Close => {}
            Token::End => break,
        }
    }
    operation.ok_or_else(|| {
        let kind = Kind::MissingElement { element: "operation".to_owned() };
        Box::new(Refusal::new(kind, "the rpc carries no operation").at_layer(Layer::Rpc))
    })
}

#[cfg(test)]
mod tests;
