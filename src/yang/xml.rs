//! XML as a plain tree with namespaces resolved: what edits, rpc inputs and configurations are read from.
//!
//! libyang's own parser tells neither which attribute stood where nor every mistake with its path; a tree of our own
//! does. Knows no schema.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::northbound::{Kind, Refusal};

/// No YANG module nests this deep; a message that does is an attack on the stack.
pub const XML_DEPTH_MAX: usize = 256;

const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

/// Namespace declarations in force; inner ones first.
#[derive(Debug, Clone, Default)]
pub struct Scope(Option<Rc<Binding>>);

#[derive(Debug)]
struct Binding {
    /// Empty for the default namespace.
    prefix: Box<str>,
    namespace: Rc<str>,
    outer: Scope,
}

#[derive(Debug, Clone)]
pub struct XmlElement {
    pub namespace: Option<Rc<str>>,
    pub name: Box<str>,
    pub attributes: Vec<XmlAttribute>,
    /// All character data directly inside, joined.
    pub text: String,
    pub children: Vec<XmlElement>,
    pub scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XmlAttribute {
    pub namespace: Option<Rc<str>>,
    pub name: Box<str>,
    pub value: String,
}

impl Scope {
    fn bind(&self, prefix: &str, namespace: &str) -> Self {
        // The same declaration again (one on each of many siblings) costs nothing.
        if self.lookup(prefix).is_some_and(|known| &**known == namespace) {
            return self.clone();
        }
        Self(Some(Rc::new(Binding { prefix: prefix.into(), namespace: namespace.into(), outer: self.clone() })))
    }

    /// What a prefix stands for; the empty prefix is the default namespace.
    pub fn lookup(&self, prefix: &str) -> Option<&Rc<str>> {
        let mut at = self.0.as_ref();
        while let Some(binding) = at {
            if &*binding.prefix == prefix {
                return (!binding.namespace.is_empty()).then_some(&binding.namespace);
            }
            at = binding.outer.0.as_ref();
        }
        None
    }

    /// The bindings that are in force here and were not in `outer`, which this was made from.
    fn added_to(&self, outer: &Scope) -> Vec<(&str, &str)> {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        let mut at = self.0.as_ref();
        while let Some(binding) = at {
            if outer.0.as_ref().is_some_and(|outer| Rc::ptr_eq(outer, binding)) {
                break;
            }
            if !seen.iter().any(|(prefix, _)| *prefix == &*binding.prefix) {
                seen.push((&binding.prefix, &binding.namespace));
            }
            at = binding.outer.0.as_ref();
        }
        seen
    }
}

/// Whether both say the same: names, order, attributes and text, white space around it left out.
pub(super) fn alike(these: &[XmlElement], those: &[XmlElement]) -> bool {
    these.len() == those.len()
        && these.iter().zip(those).all(|(this, that)| {
            this.name == that.name
                && this.namespace == that.namespace
                && this.attributes == that.attributes
                && this.text.trim() == that.text.trim()
                && alike(&this.children, &that.children)
        })
}

impl XmlElement {
    pub fn attribute(&self, namespace: &str, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.namespace.as_deref() == Some(namespace) && &*attribute.name == name)
            .map(|attribute| attribute.value.as_str())
    }

    /// The content as XML that can be parsed alone.
    pub fn inner_xml(&self) -> String {
        let mut text = String::new();
        if self.children.is_empty() {
            text.push_str(&quick_xml::escape::escape(self.text.as_str()));
        }
        text.extend(self.children.iter().map(Self::outer_xml));
        text
    }

    /// The element as XML that can be parsed alone.
    pub fn outer_xml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, None, &Scope::default());
        text
    }

    /// `around` is the namespace of the parent, `outer` what has been declared around this element.
    fn write(&self, out: &mut String, around: Option<&str>, outer: &Scope) {
        let escape = |text: &str| quick_xml::escape::escape(text.to_owned()).into_owned();
        let namespace = self.namespace.as_deref();
        // What is XML's own has its own prefix, and may have no other.
        let name = match namespace {
            Some(XML_NAMESPACE) => format!("xml:{}", self.name),
            _ => self.name.to_string(),
        };
        let _ = write!(out, "<{name}");
        if namespace != Some(XML_NAMESPACE) && (namespace != around || outer.0.is_none()) {
            let _ = write!(out, " xmlns=\"{}\"", escape(namespace.unwrap_or("")));
        }
        // Values inside may use any prefix that is in force.
        for (prefix, namespace) in self.scope.added_to(outer) {
            if !prefix.is_empty() && !namespace.is_empty() {
                let _ = write!(out, " xmlns:{prefix}=\"{}\"", escape(namespace));
            }
        }
        for (index, attribute) in self.attributes.iter().enumerate() {
            match &attribute.namespace {
                Some(namespace) if &**namespace == XML_NAMESPACE => {
                    let _ = write!(out, " xml:{}", attribute.name);
                }
                Some(namespace) => {
                    let namespace = escape(namespace);
                    let _ = write!(out, " xmlns:a{index}=\"{namespace}\" a{index}:{}", attribute.name);
                }
                None => {
                    let _ = write!(out, " {}", attribute.name);
                }
            }
            let _ = write!(out, "=\"{}\"", escape(&attribute.value));
        }
        if self.children.is_empty() && self.text.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        if self.children.is_empty() {
            out.push_str(&escape(&self.text));
        }
        for child in &self.children {
            child.write(out, namespace, &self.scope);
        }
        let _ = write!(out, "</{name}>");
    }
}

/// Zero or more sibling elements; comments and processing instructions are passed over, a DTD is refused.
pub fn parse(bytes: &[u8]) -> Result<Vec<XmlElement>, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("the XML is not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<XmlElement> = Vec::new();
    let mut tops = Vec::new();
    loop {
        let event = reader.read_event().map_err(|error| {
            malformed(format!("the XML is not well-formed at byte {}: {error}", reader.buffer_position()))
        })?;
        match event {
            Event::Start(start) => {
                if open.len() >= XML_DEPTH_MAX {
                    return Err(Refusal::new(Kind::TooBig, format!("the XML is nested deeper than {XML_DEPTH_MAX}")));
                }
                let element = begin(&start, open.last())?;
                open.push(element);
            }
            Event::Empty(start) => {
                let element = begin(&start, open.last())?;
                finish(element, &mut open, &mut tops);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| malformed("an element ends that was not begun"))?;
                finish(element, &mut open, &mut tops);
            }
            Event::Text(text) => add_text(&text.xml10_content(), &mut open)?,
            Event::CData(text) => add_text(&text.xml10_content(), &mut open)?,
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(character)) => Some(character.to_string()),
                    Ok(None) => quick_xml::escape::resolve_xml_entity(&reference.xml10_content()).map(str::to_owned),
                    Err(_) => None,
                };
                let resolved = resolved.ok_or_else(|| malformed("the XML refers to an entity that is not known"))?;
                add_text(&resolved, &mut open)?;
            }
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::DocType(_) => return Err(malformed("the XML has a document type declaration")),
            Event::Eof => break,
        }
    }
    if open.is_empty() { Ok(tops) } else { Err(malformed("the XML ends inside of an element")) }
}

/// Whether this is one name, or two with a colon between (Namespaces in XML, production 7). What is no name must not be
/// kept: whoever reads it again could not.
pub fn is_qualified_name(text: &str) -> bool {
    match text.split_once(':') {
        Some((prefix, local)) => is_name(prefix) && is_name(local),
        None => is_name(text),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(begins_name) && text.chars().all(|c| begins_name(c) || goes_on_with_name(c))
}

/// XML 1.0 production 4, without the colon.
fn begins_name(c: char) -> bool {
    matches!(c,
        'a'..='z' | 'A'..='Z' | '_' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn goes_on_with_name(c: char) -> bool {
    matches!(c, '0'..='9' | '-' | '.' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// What forbids this declaration (Namespaces in XML, sections 2.2 and 3).
pub fn fault_of_declaration(prefix: &str, namespace: &str) -> Option<&'static str> {
    match (prefix, namespace) {
        ("xmlns", _) => Some("the prefix xmlns cannot be declared"),
        ("xml", XML_NAMESPACE) => None,
        ("xml", _) => Some("the prefix xml has a namespace of its own"),
        (_, XML_NAMESPACE | XMLNS_NAMESPACE) => Some("a namespace of XML itself has no other prefix"),
        ("", _) => None,
        (_, "") => Some("a prefix cannot stand for no namespace"),
        (prefix, _) if !is_name(prefix) => Some("what is declared is no prefix"),
        _ => None,
    }
}

fn begin(start: &BytesStart<'_>, parent: Option<&XmlElement>) -> Result<XmlElement, Refusal> {
    let mut scope = parent.map(|parent| parent.scope.clone()).unwrap_or_default();
    let mut raw = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| malformed(format!("the XML has a bad attribute: {error}")))?;
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|error| malformed(format!("the XML has a bad attribute value: {error}")))?;
        let name: &str = attribute.key.0;
        let declared = match name.split_once(':') {
            Some(("xmlns", prefix)) if !prefix.is_empty() => prefix,
            None if name == "xmlns" => "",
            _ if !is_qualified_name(name) => return Err(malformed("an attribute has what is no name")),
            _ => {
                raw.push((name.to_owned(), value.into_owned()));
                continue;
            }
        };
        if let Some(fault) = fault_of_declaration(declared, &value) {
            return Err(malformed(fault));
        }
        // libyang prints the namespaces of what it has no schema for as they are: what it kept could not be read again.
        if value.contains(['&', '<', '>', '"']) {
            let message = format!("the namespace {value} has markup in it, and cannot be kept");
            return Err(Refusal::new(Kind::InvalidValue, message).mend("name a namespace without & < > and quotes"));
        }
        scope = scope.bind(declared, &value);
    }
    let mut attributes = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let (namespace, name) = match name.split_once(':') {
            Some((prefix, local)) => (Some(bound(&scope, prefix)?), local),
            None => (None, name.as_str()),
        };
        attributes.push(XmlAttribute { namespace, name: name.into(), value });
    }
    let name = start.name();
    if !is_qualified_name(name.0) {
        return Err(malformed("an element has what is no name"));
    }
    let (namespace, name) = match name.0.split_once(':') {
        Some((prefix, local)) => (Some(bound(&scope, prefix)?), local),
        None => (scope.lookup("").cloned(), name.0),
    };
    Ok(XmlElement { namespace, name: name.into(), attributes, text: String::new(), children: Vec::new(), scope })
}

fn bound(scope: &Scope, prefix: &str) -> Result<Rc<str>, Refusal> {
    if prefix == "xml" {
        return Ok(Rc::from(XML_NAMESPACE));
    }
    scope.lookup(prefix).cloned().ok_or_else(|| malformed(format!("the XML prefix {prefix} is not declared")))
}

fn finish(element: XmlElement, open: &mut [XmlElement], tops: &mut Vec<XmlElement>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => tops.push(element),
    }
}

fn add_text(text: &str, open: &mut [XmlElement]) -> Result<(), Refusal> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() => {}
        None => return Err(malformed("there is text between the elements")),
    }
    Ok(())
}

fn malformed(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Kind::MalformedMessage, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_those_in_force() {
        let tops =
            parse(b"<a xmlns='urn:a' xmlns:b='urn:b'><b:c b:x='1' y='2'>t&lt;&#65;</b:c><d xmlns=''/></a>").unwrap();
        let a = &tops[0];
        assert_eq!(a.namespace.as_deref(), Some("urn:a"));
        let c = &a.children[0];
        assert_eq!((c.namespace.as_deref(), &*c.name, c.text.as_str()), (Some("urn:b"), "c", "t<A"));
        assert_eq!(c.attribute("urn:b", "x"), Some("1"));
        assert_eq!(c.attributes[1].namespace, None);
        assert_eq!(a.children[1].namespace, None);
    }

    #[test]
    fn broken_and_hostile_xml_is_malformed() {
        let deep = "<a>".repeat(XML_DEPTH_MAX + 1);
        for text in [
            "<a>",
            "<a></b>",
            "</a>",
            "text",
            "<p:a/>",
            "<a x='1' x='2'/>",
            "<!DOCTYPE a><a/>",
            "<a>&huge;</a>",
            "<1a/>",
            "<:a/>",
            "<a:b:c xmlns:a='urn:a'/>",
            "<a 1b='x'/>",
            "<a xmlns:b=''/>",
            "<a xmlns:='urn:b'/>",
            "<a xmlns:xml='urn:x'/>",
            "<a xmlns:xmlns='urn:x'/>",
        ] {
            let refusal = parse(text.as_bytes()).unwrap_err();
            assert_eq!(refusal.kind, Kind::MalformedMessage, "{text}");
        }
        for namespace in ["a&amp;b", "a&lt;b", "a<b", "a>b", "a&quot;b"] {
            let refusal = parse(format!("<a><b xmlns:c=\"{namespace}\"/></a>").as_bytes()).unwrap_err();
            assert_eq!(refusal.kind, Kind::InvalidValue, "{namespace}");
        }
        assert_eq!(parse("<é.1-ü xmlns:ö='urn:a' ö:_='1' xml:lang='en'/>".as_bytes()).unwrap().len(), 1);
        assert_eq!(parse(deep.as_bytes()).unwrap_err().kind, Kind::TooBig);
        assert_eq!(parse(b"<a>\xff</a>").unwrap_err().kind, Kind::MalformedMessage);
    }

    #[test]
    fn the_inside_of_an_element_parses_alone() {
        let xml =
            b"<a xmlns='urn:a' xmlns:b='urn:b'><c k='&amp;' xml:lang='en'>b:x<!-- --></c><b:d><e xmlns:f='urn:f'>f:x</e></b:d></a>";
        let tops = parse(xml).unwrap();
        let inner = tops[0].inner_xml();
        let again = parse(inner.as_bytes()).unwrap();
        assert_eq!(again[0].namespace.as_deref(), Some("urn:a"));
        assert_eq!(again[0].scope.lookup("b").map(|namespace| &**namespace), Some("urn:b"));
        assert_eq!(again[1].namespace.as_deref(), Some("urn:b"));
        assert_eq!(again[0].attributes[0].value, "&");
        assert_eq!(again[0].attribute(XML_NAMESPACE, "lang"), Some("en"));
        let deep = &again[1].children[0];
        assert_eq!(deep.scope.lookup("f").map(|namespace| &**namespace), Some("urn:f"));
    }

    #[test]
    fn what_is_of_xml_itself_keeps_its_prefix() {
        let tops = parse(b"<xml:a b='c'>t<d xmlns='urn:d'><xml:e/></d></xml:a>").unwrap();
        assert_eq!(tops[0].namespace.as_deref(), Some(XML_NAMESPACE));
        let written = tops[0].outer_xml();
        assert_eq!(written, "<xml:a b=\"c\"><d xmlns=\"urn:d\"><xml:e/></d></xml:a>");
        assert!(alike(&parse(written.as_bytes()).unwrap()[0].children, &tops[0].children));
    }
}
