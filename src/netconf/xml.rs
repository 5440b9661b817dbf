//! A namespace-aware walk over one XML message, and the cutting of fragments out of it by offset.
//!
//! One linear pass. Refuses what a NETCONF message has no business to hold (document types, entities of its own,
//! bottomless nesting). Only elements that are looked at have their namespaces resolved: what is cut out for somebody
//! else is checked for well-formedness alone.
//!
//! Must not know: which elements NETCONF has.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesDecl, BytesRef, Event};
use quick_xml::reader::Reader;

use super::cut::{Cut, Cutter};
use super::hello::BASE;
use super::text::{clip, is_xml_char, quote};
use crate::northbound::refusal::Layer;
use crate::northbound::{Kind, Refusal};
use crate::yang::xml::{fault_of_declaration, is_qualified_name};

/// Nesting beyond this is refused: no YANG data is that deep, and those who parse after us recurse.
pub(super) const DEPTH_MAX: usize = 512;

/// Taken for [`BASE`].
const BASE_1_1_ALIAS: &str = "urn:ietf:params:xml:ns:netconf:base:1.1";

/// Attributes of one element, namespace declarations included.
pub(super) const ATTRIBUTES_MAX: usize = 256;

/// Namespace declarations in scope at once, outside of what is cut out.
const BINDINGS_MAX: usize = 256;

/// What is said of a malformed message is cut to this many characters.
const MESSAGE_CHARS_MAX: usize = 256;

/// Boxed: a refusal is large, and almost nothing is refused.
pub(super) type Parsed<T> = Result<T, Box<Refusal>>;

/// One step of the walk. Empty elements come as `Open` and `Close`.
pub(super) enum Token<'m> {
    Open(Tag<'m>),
    Close,
    /// Character data with entities resolved; neighbours are not joined.
    Text(Cow<'m, str>),
    End,
}

/// A start tag whose namespace has been resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag<'m> {
    pub(super) namespace: Option<Cow<'m, str>>,
    /// The local name.
    pub(super) name: &'m str,
    /// Where the tag stands, `<` and `>` included.
    pub(super) span: Range<usize>,
    /// The tag between `<` and `>` or `/>`.
    inside: &'m str,
    qualified_bytes: usize,
}

impl<'m> Tag<'m> {
    /// As written; empty where there is none.
    pub(super) fn prefix(&self) -> &'m str {
        split(&self.inside[..self.qualified_bytes]).0
    }
}

/// An attribute that is not a namespace declaration.
pub(super) struct Attribute<'m> {
    pub(super) namespace: Option<Cow<'m, str>>,
    pub(super) name: &'m str,
    pub(super) value: Cow<'m, str>,
}

struct Binding<'m> {
    depth: usize,
    /// Empty for the default namespace.
    prefix: &'m str,
    /// As written, between its quotes.
    raw: &'m str,
    namespace: Cow<'m, str>,
}

pub(super) struct Scanner<'m> {
    text: &'m str,
    reader: Reader<&'m [u8]>,
    bindings: Vec<Binding<'m>>,
    depth: usize,
    seen_root: bool,
}

impl<'m> Scanner<'m> {
    pub(super) fn new(message: &'m [u8]) -> Parsed<Self> {
        let text = std::str::from_utf8(message)
            .map_err(|error| malformed(format!("the message is not UTF-8 after byte {}", error.valid_up_to())))?;
        if let Some(at) = text.bytes().position(|byte| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) {
            return Err(malformed(format!("byte {at} of the message is a control character, which XML does not have")));
        }
        // End-of-message framing leaves the line feeds that people put between messages. A byte order mark is legal.
        let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}');
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        reader.config_mut().check_comments = true;
        Ok(Self { text, reader, bindings: Vec::new(), depth: 0, seen_root: false })
    }

    /// Nesting of the element that the walk is in; 0 outside of the root.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn next(&mut self) -> Parsed<Token<'m>> {
        loop {
            let start = self.at();
            let Some(event) = self.event()? else { continue };
            return Ok(match event {
                Event::Start(tag) => {
                    let qualified_bytes = tag.name().into_inner().len();
                    Token::Open(self.open(start, qualified_bytes)?)
                }
                Event::End(_) => {
                    while self.bindings.pop_if(|binding| binding.depth > self.depth).is_some() {}
                    Token::Close
                }
                Event::Text(text) => match text.into_inner() {
                    text if self.depth == 0 && text.trim_ascii().is_empty() => continue,
                    _ if self.depth == 0 => return Err(malformed("text stands outside of the root element")),
                    text => Token::Text(text),
                },
                Event::CData(_) if self.depth == 0 => {
                    return Err(malformed("text stands outside of the root element"));
                }
                Event::CData(text) => Token::Text(text.into_inner()),
                Event::GeneralRef(reference) => Token::Text(self.resolve(&reference)?),
                _ => Token::End,
            });
        }
    }

    /// Reads one event and checks what holds everywhere. `None` for what carries nothing (comments and the like).
    fn event(&mut self) -> Parsed<Option<Event<'m>>> {
        let event = self.reader.read_event().map_err(|error| malformed(error.to_string()))?;
        match &event {
            Event::Start(_) => {
                if self.depth == 0 && std::mem::replace(&mut self.seen_root, true) {
                    return Err(malformed("the message has a second root element"));
                }
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(too_big(format!("elements are nested deeper than {DEPTH_MAX}")));
                }
            }
            Event::End(_) => self.depth -= 1,
            Event::Decl(_) if self.seen_root => return Err(malformed("an XML declaration stands inside the message")),
            Event::Decl(declaration) => {
                check_declaration(declaration)?;
                return Ok(None);
            }
            Event::DocType(_) => return Err(malformed("a document type declaration is not allowed")),
            Event::Comment(_) | Event::PI(_) => return Ok(None),
            Event::Eof if self.depth > 0 => return Err(malformed("the message ends inside an element")),
            Event::Eof if !self.seen_root => return Err(malformed("the message holds no element")),
            Event::GeneralRef(_) if self.depth == 0 => {
                return Err(malformed("text stands outside of the root element"));
            }
            _ => {}
        }
        Ok(Some(event))
    }

    fn at(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).expect("the message is in memory")
    }

    /// The tag that was just read, from its offsets: what it lends lives as long as the message.
    fn raw_tag(&self, start: usize) -> &'m str {
        let inside = &self.text[start + 1..self.at() - 1];
        inside.strip_suffix('/').unwrap_or(inside)
    }

    fn open(&mut self, start: usize, qualified_bytes: usize) -> Parsed<Tag<'m>> {
        let inside = self.raw_tag(start);
        let qualified = &inside[..qualified_bytes];
        if !is_qualified_name(qualified) {
            return Err(malformed(format!("`{}` is no name of an element", quote(qualified))));
        }
        if inside.len() > qualified_bytes {
            for (key, raw) in attributes(inside, qualified_bytes)? {
                let Some(prefix) = declared_prefix(key) else { continue };
                if self.bindings.len() >= BINDINGS_MAX {
                    return Err(too_big(format!("more than {BINDINGS_MAX} namespace declarations are in scope")));
                }
                let namespace = match resolve_text(raw)? {
                    // Some clients name the base namespace after the version of the capability.
                    alias if alias == BASE_1_1_ALIAS => Cow::Borrowed(BASE),
                    namespace => namespace,
                };
                if let Some(fault) = fault_of_declaration(prefix, &namespace) {
                    return Err(malformed(fault));
                }
                self.bindings.push(Binding { depth: self.depth, prefix, raw, namespace });
            }
        }
        let (prefix, name) = split(qualified);
        let namespace = self.namespace(prefix)?;
        Ok(Tag { namespace, name, span: start..self.at(), inside, qualified_bytes })
    }

    /// The namespace of a prefix; `""` is the default one, which may be none.
    fn namespace(&self, prefix: &str) -> Parsed<Option<Cow<'m, str>>> {
        match self.bindings.iter().rev().find(|binding| binding.prefix == prefix) {
            Some(binding) if !binding.namespace.is_empty() => Ok(Some(binding.namespace.clone())),
            _ if prefix.is_empty() => Ok(None),
            _ if prefix == "xml" => Ok(Some(Cow::Borrowed("http://www.w3.org/XML/1998/namespace"))),
            _ => Err(malformed(format!("the prefix `{}` is not declared", quote(prefix)))),
        }
    }

    /// The attributes of the tag read last, namespace declarations left out.
    pub(super) fn attributes_of(&self, tag: &Tag<'m>) -> Parsed<Vec<Attribute<'m>>> {
        if tag.inside.len() == tag.qualified_bytes {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (key, raw) in attributes(tag.inside, tag.qualified_bytes)? {
            if declared_prefix(key).is_some() {
                continue;
            }
            let (prefix, name) = split(key);
            let namespace = if prefix.is_empty() { None } else { self.namespace(prefix)? };
            found.push(Attribute { namespace, name, value: resolve_text(raw)? });
        }
        Ok(found)
    }

    /// All attributes of the tag as written, name and raw value: fit to be written again.
    pub(super) fn written_attributes(tag: &Tag<'m>) -> Parsed<Vec<(&'m str, &'m str)>> {
        let found = attributes(tag.inside, tag.qualified_bytes)?;
        if found.iter().any(|(key, raw)| !raw.chars().all(is_xml_char) || !is_qualified_name(key)) {
            return Err(malformed("an attribute holds what XML does not allow there"));
        }
        Ok(found)
    }

    /// The declarations in scope: prefix (empty for the default) and namespace, the innermost of each.
    pub(super) fn in_scope(&self) -> Vec<(String, String)> {
        self.visible().map(|binding| (binding.prefix.to_owned(), binding.namespace.clone().into_owned())).collect()
    }

    fn visible(&self) -> impl Iterator<Item = &Binding<'m>> {
        self.bindings.iter().enumerate().filter_map(|(at, binding)| {
            let hidden = self.bindings[at + 1..].iter().any(|later| later.prefix == binding.prefix);
            (!hidden && !binding.namespace.is_empty()).then_some(binding)
        })
    }

    fn resolve(&self, reference: &BytesRef<'_>) -> Parsed<Cow<'m, str>> {
        if let Some(character) = reference.resolve_char_ref().map_err(|error| malformed(error.to_string()))? {
            return if is_xml_char(character) {
                Ok(Cow::Owned(character.to_string()))
            } else {
                Err(malformed("a character reference names what is no XML character"))
            };
        }
        resolve_predefined_entity(reference)
            .map(Cow::Borrowed)
            .ok_or_else(|| malformed(format!("the entity `{}` is not defined", quote(reference))))
    }

    /// Reads to the end of the element that the walk is in, and gives its content with the declarations that were in
    /// scope added to each of its top elements. `message` is what this scanner was made of.
    pub(super) fn cut_content(&mut self, message: &Bytes) -> Parsed<Cut> {
        let from = self.at();
        self.cut(message, from, self.depth)
    }

    /// The same for the element that `tag` has opened, itself included.
    pub(super) fn cut_element(&mut self, message: &Bytes, tag: &Tag<'m>) -> Parsed<Cut> {
        // What the element declares itself is there already.
        let depth = self.depth;
        while self.bindings.pop_if(|binding| binding.depth >= depth).is_some() {}
        let declarations = self.declarations();
        let mut cut = Cutter::new(message, self.text, tag.span.start, &declarations);
        cut.top(tag.span.start, tag.inside, tag.qualified_bytes)?;
        self.read_inside(depth, None)?;
        cut.finish(self.at())
    }

    fn cut(&mut self, message: &Bytes, from: usize, depth: usize) -> Parsed<Cut> {
        let declarations = self.declarations();
        let mut cut = Cutter::new(message, self.text, from, &declarations);
        let end = self.read_inside(depth, Some(&mut cut))?;
        while self.bindings.pop_if(|binding| binding.depth >= depth).is_some() {}
        cut.finish(end)
    }

    /// Reads until the element at `depth` is closed; where its end tag begins.
    fn read_inside(&mut self, depth: usize, mut cut: Option<&mut Cutter<'_, 'm>>) -> Parsed<usize> {
        loop {
            let start = self.at();
            match self.event()? {
                Some(Event::Start(tag)) => {
                    let qualified_bytes = tag.name().into_inner().len();
                    let inside = self.raw_tag(start);
                    if let Some(cut) = cut.as_mut().filter(|_| self.depth == depth + 1) {
                        cut.top(start, inside, qualified_bytes)?;
                    } else if inside.len() > qualified_bytes {
                        attributes(inside, qualified_bytes)?;
                    }
                }
                Some(Event::End(_)) if self.depth < depth => return Ok(start),
                Some(Event::GeneralRef(reference)) => {
                    self.resolve(&reference)?;
                    if let Some(cut) = cut.as_mut().filter(|_| self.depth == depth) {
                        cut.has_text = true;
                    }
                }
                Some(Event::Text(text)) => {
                    if let Some(cut) = cut.as_mut().filter(|_| self.depth == depth) {
                        cut.has_text |= !text.trim_ascii().is_empty();
                    }
                }
                Some(Event::CData(_)) => {
                    if let Some(cut) = cut.as_mut().filter(|_| self.depth == depth) {
                        cut.has_text = true;
                    }
                }
                _ => {}
            }
        }
    }

    fn declarations(&self) -> Vec<(&'m str, &'m str)> {
        self.visible().map(|binding| (binding.prefix, binding.raw)).collect()
    }
}

/// Names and raw values of a tag's attributes, which have been checked: their syntax, that each is there once, and that their
/// references can be resolved.
pub(super) fn attributes(inside: &str, qualified_bytes: usize) -> Parsed<Vec<(&str, &str)>> {
    let mut found = Vec::new();
    for attribute in Attributes::new(inside, qualified_bytes) {
        let attribute = attribute.map_err(|error| malformed(error.to_string()))?;
        if found.len() >= ATTRIBUTES_MAX {
            return Err(too_big(format!("an element has more than {ATTRIBUTES_MAX} attributes")));
        }
        let key = attribute.key.into_inner();
        if key == "xmlns:" {
            return Err(malformed("a prefix of no letters is declared"));
        }
        let Cow::Borrowed(raw) = attribute.value else { unreachable!("values are not unescaped on the way") };
        if raw.contains('<') {
            return Err(malformed("an attribute has a `<` in its value"));
        }
        if raw.contains('&') && !resolve_text(raw)?.chars().all(is_xml_char) {
            return Err(malformed("a character reference names what is no XML character"));
        }
        found.push((key, raw));
    }
    Ok(found)
}

pub(super) fn declared_prefix(key: &str) -> Option<&str> {
    match key.strip_prefix("xmlns")? {
        "" => Some(""),
        rest => rest.strip_prefix(':'),
    }
}

fn split(qualified: &str) -> (&str, &str) {
    qualified.split_once(':').unwrap_or(("", qualified))
}

fn resolve_text(raw: &str) -> Parsed<Cow<'_, str>> {
    if raw.contains('&') { unescape(raw).map_err(|error| malformed(error.to_string())) } else { Ok(Cow::Borrowed(raw)) }
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Parsed<()> {
    match declaration.encoding() {
        Some(Ok(encoding)) if !encoding.eq_ignore_ascii_case("utf-8") && !encoding.eq_ignore_ascii_case("us-ascii") => {
            Err(malformed(format!("the encoding is `{}`, but NETCONF is UTF-8", quote(&encoding))))
        }
        Some(Err(error)) => Err(malformed(error.to_string())),
        _ => Ok(()),
    }
}

/// The parser's own messages repeat names of any length, so they are cut too.
pub(super) fn malformed(message: impl AsRef<str>) -> Box<Refusal> {
    let message = clip(message.as_ref(), MESSAGE_CHARS_MAX).into_owned();
    Box::new(Refusal::new(Kind::MalformedMessage, message).at_layer(Layer::Rpc))
}

pub(super) fn too_big(message: impl Into<String>) -> Box<Refusal> {
    Box::new(Refusal::new(Kind::TooBig, message).at_layer(Layer::Rpc))
}
