//! A process definition as XML, read and written: `NAME-process.xml` as installers know it.
//!
//! What is wrong is told with its line. The order of elements is fixed, as the schema of the format has it; an unknown
//! element or attribute is an error and not overlooked.

use std::fmt::Write as _;

use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use thiserror::Error;

use super::definition::{
    Command, ConfigAccess, Definition, FilePattern, Invalid, Kind, ProcessName, Resource, Sqldb, Status,
    TEXT_BYTES_MAX, VERSION_BYTES_MAX, full_path, text,
};
use super::pattern::{InvalidPattern, Pattern};

pub const NAMESPACE: &str = "http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00";
pub const ROOT: &str = "sipXecs-process";
/// A definition is a page or two; what is much larger is something else.
pub const BYTES_MAX: usize = 1024 * 1024;
const DEPTH_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {reason}")]
pub struct Unreadable {
    pub line: usize,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reason {
    #[error("the file has more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("the file is not UTF-8")]
    NotUtf8,
    #[error("this is not XML: {0}")]
    NotXml(String),
    #[error("a document type declaration has no place in a definition")]
    DocType,
    #[error("elements are nested deeper than any definition is")]
    TooDeep,
    #[error("the top element is <{found}>, expected is <{ROOT} xmlns=\"{NAMESPACE}\">")]
    NotADefinition { found: String },
    #[error("<{element}> is not of the namespace {NAMESPACE}")]
    ForeignElement { element: String },
    #[error("<{parent}> has no element <{element}> here{}", in_place_of(expected))]
    Unexpected { parent: String, element: String, expected: Vec<&'static str> },
    #[error("<{parent}> lacks its element <{element}>")]
    Missing { parent: String, element: &'static str },
    #[error("<{element}> has no attribute `{attribute}`")]
    UnknownAttribute { element: String, attribute: String },
    #[error("`{value}` is no value of the attribute `{attribute}`: {expected}")]
    BadAttribute { attribute: &'static str, value: String, expected: &'static str },
    #[error("text stands in <{element}> outside of its elements")]
    StrayText { element: String },
    #[error("{0}")]
    Value(#[from] Invalid),
    #[error("{0}")]
    Pattern(#[from] InvalidPattern),
}

fn in_place_of(expected: &[&str]) -> String {
    if expected.is_empty() {
        return String::new();
    }
    let named: Vec<String> = expected.iter().map(|name| format!("<{name}>")).collect();
    format!(": expected is {}", named.join(" or "))
}

/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(bytes: &str) -> Result<Definition, Unreadable> {
    let root = read_tree(bytes)?;
    if root.name != ROOT {
        return Err(root.because(Reason::NotADefinition { found: root.name.clone() }));
    }
    root.attributes(&[])?;
    let mut children = Children::of(&root);
    let name = children.one("name")?;
    let name = name.value(ProcessName::parse)?;
    let version = children.one("version")?.value(|value| text("the version", value, VERSION_BYTES_MAX))?;
    let commands = children.one("commands")?;
    let status = read_status(children.one("status")?)?;
    let resources = children.optional("resources").map(read_resources).transpose()?.unwrap_or_default();
    children.end()?;
    commands.attributes(&[])?;
    let mut each = Children::of(commands);
    let configtest = read_command(each.one("configtest")?)?;
    let start = read_command(each.one("start")?)?;
    let stop = read_command(each.one("stop")?)?;
    let reconfigure = each.optional("reconfigure").map(read_command).transpose()?;
    each.end()?;
    let definition = Definition { name, version, configtest, start, stop, reconfigure, status, resources };
    definition.check().map_err(|invalid| root.because(invalid.into()))?;
    Ok(definition)
}

fn read_command(node: &Node) -> Result<Command, Unreadable> {
    node.attributes(&[])?;
    let mut children = Children::of(node);
    let defaultdir =
        children.optional("defaultdir").map(|it| it.value(|path| full_path("defaultdir", path))).transpose()?;
    let user = children.optional("user").map(|it| it.value(|user| text("user", user, 255))).transpose()?;
    let execute = children.one("execute")?.value(|path| full_path("execute", path))?;
    let mut parameters = Vec::new();
    while let Some(parameter) = children.optional("parameter") {
        parameters.push(parameter.value(|value| text("parameter", value, TEXT_BYTES_MAX))?);
    }
    children.end()?;
    Ok(Command { defaultdir, user, execute, parameters })
}

fn read_status(node: &Node) -> Result<Status, Unreadable> {
    node.attributes(&[])?;
    let mut children = Children::of(node);
    let pid = children.optional("pid").map(|it| it.value(|path| full_path("pid", path))).transpose()?;
    let mut logs = Vec::new();
    while let Some(log) = children.optional("log") {
        logs.push(log.value(|path| full_path("log", path))?);
    }
    children.end()?;
    Ok(Status { pid, logs })
}

const RESOURCES: [&str; 6] = ["file", "osconfig", "imdb", "process", "sqldb", "directory"];

fn read_resources(node: &Node) -> Result<Vec<Resource>, Unreadable> {
    node.attributes(&[])?;
    node.no_text()?;
    node.children.iter().map(|child| read_resource(node, child)).collect()
}

fn read_resource(parent: &Node, node: &Node) -> Result<Resource, Unreadable> {
    let kind = match node.name.as_str() {
        "file" => Kind::File { path: node.text_with(|path| full_path("file", path))? },
        "osconfig" => Kind::OsConfig { path: node.text_with(|path| full_path("osconfig", path))? },
        "imdb" => Kind::Imdb { table: node.text_with(|table| text("imdb", table, 255))? },
        "process" => Kind::Process { name: node.text_with(ProcessName::parse)? },
        "sqldb" => Kind::Sqldb(read_sqldb(node)?),
        "directory" => read_directory(node)?,
        _ => {
            let (parent, element) = (parent.name.clone(), node.name.clone());
            return Err(node.because(Reason::Unexpected { parent, element, expected: RESOURCES.to_vec() }));
        }
    };
    node.attributes(&["required", "configAccess"])?;
    let required = match node.attribute("required").map(str::trim) {
        None | Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(other) => {
            let expected = "true or false";
            return Err(node.because(Reason::BadAttribute { attribute: "required", value: other.into(), expected }));
        }
    };
    Ok(Resource { kind, required, access: read_access(node)?.unwrap_or_default() })
}

fn read_access(node: &Node) -> Result<Option<ConfigAccess>, Unreadable> {
    let Some(value) = node.attribute("configAccess").map(str::trim) else { return Ok(None) };
    let expected = "read-write, read-only, write-only or no-access";
    let bad = || node.because(Reason::BadAttribute { attribute: "configAccess", value: value.into(), expected });
    ConfigAccess::parse(value).map(Some).ok_or_else(bad)
}

fn read_sqldb(node: &Node) -> Result<Sqldb, Unreadable> {
    let mut children = Children::of(node);
    let some = |node: Option<&Node>, what: &'static str| {
        node.map(|node| node.value(|value| text(what, value, TEXT_BYTES_MAX))).transpose()
    };
    let server = some(children.optional("server"), "server")?;
    let dbname = children.one("dbname")?.value(|name| text("dbname", name, TEXT_BYTES_MAX))?;
    let username = some(children.optional("username"), "username")?;
    let dbdriver = some(children.optional("dbdriver"), "dbdriver")?;
    // An empty password is one.
    let userpassword = children.optional("userpassword").map(|node| node.text.clone());
    children.end()?;
    Ok(Sqldb { server, dbname, username, dbdriver, userpassword })
}

fn read_directory(node: &Node) -> Result<Kind, Unreadable> {
    let mut children = Children::of(node);
    let path = children.one("path")?.value(|path| full_path("path", path))?;
    let mut patterns = Vec::new();
    while let Some(pattern) = children.optional("filePattern") {
        pattern.attributes(&["configAccess"])?;
        patterns.push(FilePattern { pattern: pattern.text_with(Pattern::parse)?, access: read_access(pattern)? });
    }
    children.end()?;
    Ok(Kind::Directory { path, patterns })
}

/// As an installer would write it; what is the default is left out.
pub fn print(definition: &Definition) -> String {
    let mut text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{ROOT} xmlns=\"{NAMESPACE}\">\n");
    let mut out = Writer { text: &mut text, depth: 1 };
    out.leaf("name", "", definition.name.as_str());
    out.leaf("version", "", &definition.version);
    out.within("commands", "", |out| {
        for (name, command) in [
            ("configtest", Some(&definition.configtest)),
            ("start", Some(&definition.start)),
            ("stop", Some(&definition.stop)),
            ("reconfigure", definition.reconfigure.as_ref()),
        ] {
            if let Some(command) = command {
                out.within(name, "", |out| print_command(out, command));
            }
        }
    });
    out.within("status", "", |out| {
        if let Some(pid) = &definition.status.pid {
            out.leaf("pid", "", &pid.to_string_lossy());
        }
        for log in &definition.status.logs {
            out.leaf("log", "", &log.to_string_lossy());
        }
    });
    if !definition.resources.is_empty() {
        out.within("resources", "", |out| definition.resources.iter().for_each(|it| print_resource(out, it)));
    }
    let _ = writeln!(text, "</{ROOT}>");
    text
}

fn print_command(out: &mut Writer<'_>, command: &Command) {
    if let Some(path) = &command.defaultdir {
        out.leaf("defaultdir", "", &path.to_string_lossy());
    }
    if let Some(user) = &command.user {
        out.leaf("user", "", user);
    }
    out.leaf("execute", "", &command.execute.to_string_lossy());
    for parameter in &command.parameters {
        out.leaf("parameter", "", parameter);
    }
}

fn print_resource(out: &mut Writer<'_>, resource: &Resource) {
    let mut attributes = String::new();
    if !resource.required {
        attributes.push_str(" required=\"false\"");
    }
    attributes.push_str(&access_attribute((resource.access != ConfigAccess::default()).then_some(resource.access)));
    match &resource.kind {
        Kind::File { path } => out.leaf("file", &attributes, &path.to_string_lossy()),
        Kind::OsConfig { path } => out.leaf("osconfig", &attributes, &path.to_string_lossy()),
        Kind::Imdb { table } => out.leaf("imdb", &attributes, table),
        Kind::Process { name } => out.leaf("process", &attributes, name.as_str()),
        Kind::Sqldb(sqldb) => out.within("sqldb", &attributes, |out| {
            let parts = [
                ("server", sqldb.server.as_ref()),
                ("dbname", Some(&sqldb.dbname)),
                ("username", sqldb.username.as_ref()),
                ("dbdriver", sqldb.dbdriver.as_ref()),
                ("userpassword", sqldb.userpassword.as_ref()),
            ];
            for (name, value) in parts {
                if let Some(value) = value {
                    out.leaf(name, "", value);
                }
            }
        }),
        Kind::Directory { path, patterns } => out.within("directory", &attributes, |out| {
            out.leaf("path", "", &path.to_string_lossy());
            for pattern in patterns {
                out.leaf("filePattern", &access_attribute(pattern.access), pattern.pattern.as_str());
            }
        }),
    }
}

fn access_attribute(access: Option<ConfigAccess>) -> String {
    access.map(|access| format!(" configAccess=\"{access}\"")).unwrap_or_default()
}

struct Writer<'t> {
    text: &'t mut String,
    depth: usize,
}

impl Writer<'_> {
    fn leaf(&mut self, name: &str, attributes: &str, value: &str) {
        let indent = "  ".repeat(self.depth);
        // Line ends and tabs as references: a reader would turn them into others.
        let value = escape(value).replace('\r', "&#13;").replace('\n', "&#10;").replace('\t', "&#9;");
        let _ = writeln!(self.text, "{indent}<{name}{attributes}>{value}</{name}>");
    }

    fn within(&mut self, name: &str, attributes: &str, inside: impl FnOnce(&mut Writer<'_>)) {
        let indent = "  ".repeat(self.depth);
        let _ = writeln!(self.text, "{indent}<{name}{attributes}>");
        inside(&mut Writer { text: self.text, depth: self.depth + 1 });
        let _ = writeln!(self.text, "{indent}</{name}>");
    }
}

/// An element with the line it begins in.
#[derive(Debug)]
struct Node {
    name: String,
    line: usize,
    attributes: Vec<(String, String)>,
    /// What stands directly in it, without white space around.
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn because(&self, reason: Reason) -> Unreadable {
        Unreadable { line: self.line, reason }
    }

    /// Only these attributes may be there.
    fn attributes(&self, known: &[&str]) -> Result<(), Unreadable> {
        match self.attributes.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((attribute, _)) => {
                let (element, attribute) = (self.name.clone(), attribute.clone());
                Err(self.because(Reason::UnknownAttribute { element, attribute }))
            }
            None => Ok(()),
        }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn no_text(&self) -> Result<(), Unreadable> {
        if self.text.is_empty() {
            return Ok(());
        }
        Err(self.because(Reason::StrayText { element: self.name.clone() }))
    }

    /// Its text; no elements.
    fn text_with<T, E: Into<Reason>>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Unreadable> {
        if let Some(child) = self.children.first() {
            let (parent, element) = (self.name.clone(), child.name.clone());
            return Err(child.because(Reason::Unexpected { parent, element, expected: Vec::new() }));
        }
        read(&self.text).map_err(|error| self.because(error.into()))
    }

    /// Its text; neither elements nor attributes.
    fn value<T, E: Into<Reason>>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Unreadable> {
        self.attributes(&[])?;
        self.text_with(read)
    }
}

/// The children of an element, taken in the order in which they must stand.
struct Children<'n> {
    of: &'n Node,
    at: usize,
    /// What could have stood where we are.
    passed: Vec<&'static str>,
}

impl<'n> Children<'n> {
    fn of(node: &'n Node) -> Self {
        Self { of: node, at: 0, passed: Vec::new() }
    }

    fn optional(&mut self, name: &'static str) -> Option<&'n Node> {
        match self.of.children.get(self.at) {
            Some(child) if child.name == name => {
                self.at += 1;
                self.passed.clear();
                Some(child)
            }
            _ => {
                self.passed.push(name);
                None
            }
        }
    }

    fn one(&mut self, name: &'static str) -> Result<&'n Node, Unreadable> {
        if let Some(child) = self.optional(name) {
            return Ok(child);
        }
        match self.of.children.get(self.at) {
            Some(_) => self.end().map(|()| self.of),
            None => Err(self.of.because(Reason::Missing { parent: self.of.name.clone(), element: name })),
        }
    }

    fn end(&self) -> Result<(), Unreadable> {
        self.of.no_text()?;
        let Some(child) = self.of.children.get(self.at) else { return Ok(()) };
        let (parent, element) = (self.of.name.clone(), child.name.clone());
        Err(child.because(Reason::Unexpected { parent, element, expected: self.passed.clone() }))
    }
}

fn read_tree(text: &str) -> Result<Node, Unreadable> {
    if text.len() > BYTES_MAX {
        return Err(Unreadable { line: 1, reason: Reason::TooLarge });
    }
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let line = line_of(text, at);
        let here = |reason: Reason| Unreadable { line, reason };
        let not_xml = |what: &dyn std::fmt::Display| here(Reason::NotXml(what.to_string()));
        match reader.read_resolved_event() {
            Err(error) => {
                let at = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
                return Err(Unreadable { line: line_of(text, at), reason: Reason::NotXml(error.to_string()) });
            }
            Ok((namespace, event)) => match event {
                Event::Start(ref start) | Event::Empty(ref start) => {
                    if open.len() >= DEPTH_MAX {
                        return Err(here(Reason::TooDeep));
                    }
                    if root.is_some() {
                        return Err(not_xml(&"a second top element begins"));
                    }
                    let node = begin(&namespace, start, line, open.is_empty())?;
                    if matches!(event, Event::Start(_)) {
                        open.push(node);
                    } else {
                        close(node, &mut open, &mut root);
                    }
                }
                Event::End(_) => {
                    let Some(node) = open.pop() else { return Err(not_xml(&"an element ends that was not begun")) };
                    close(node, &mut open, &mut root);
                }
                Event::Text(text) => add_text(&text.xml10_content(), &mut open).map_err(here)?,
                Event::CData(text) => add_text(&text.xml10_content(), &mut open).map_err(here)?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().ok().flatten().map(String::from);
                    let name = reference.xml10_content();
                    let text = character.or_else(|| quick_xml::escape::resolve_xml_entity(&name).map(str::to_owned));
                    let text = text.ok_or_else(|| not_xml(&format!("the entity `{name}` is not known")))?;
                    if let Some(node) = open.last_mut() {
                        node.text.push_str(&text);
                    }
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::DocType(_) => return Err(here(Reason::DocType)),
                Event::Eof => {
                    return match (root, open.last()) {
                        (Some(root), None) => Ok(root),
                        (_, Some(node)) => Err(here(Reason::NotXml(format!("<{}> is not closed", node.name)))),
                        (None, None) => Err(not_xml(&"there is no element")),
                    };
                }
            },
        }
    }
}

fn begin(namespace: &ResolveResult<'_>, start: &BytesStart<'_>, line: usize, is_top: bool) -> Result<Node, Unreadable> {
    let here = |reason: Reason| Unreadable { line, reason };
    let name = start.local_name().as_ref().to_owned();
    if !matches!(namespace, ResolveResult::Bound(namespace) if namespace.as_ref() == NAMESPACE) {
        return Err(here(if is_top {
            Reason::NotADefinition { found: name }
        } else {
            Reason::ForeignElement { element: name }
        }));
    }
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| here(Reason::NotXml(error.to_string())))?;
        let key: &str = attribute.key.0;
        // Where a schema is found is no part of the definition.
        if key == "xmlns" || key.starts_with("xmlns:") || key.starts_with("xsi:") {
            continue;
        }
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|error| here(Reason::NotXml(error.to_string())))?;
        attributes.push((key.to_owned(), value.into_owned()));
    }
    Ok(Node { name, line, attributes, text: String::new(), children: Vec::new() })
}

fn close(mut node: Node, open: &mut [Node], root: &mut Option<Node>) {
    let inside = node.text.trim();
    if inside.len() != node.text.len() {
        node.text = inside.to_owned();
    }
    match open.last_mut() {
        Some(parent) => parent.children.push(node),
        None => *root = Some(node),
    }
}

fn add_text(text: &str, open: &mut [Node]) -> Result<(), Reason> {
    match open.last_mut() {
        Some(node) => node.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(Reason::NotXml("text stands outside of the top element".to_owned())),
    }
    Ok(())
}

fn line_of(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    // White space in front of an element belongs to what was read before it.
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
pub(super) mod tests {
    /// A definition with the least there is, and these resources.
    pub(crate) fn sample(name: &str, resources: &str) -> String {
        format!(
            "<sipXecs-process xmlns='{}'><name>{name}</name><version>1</version><commands>\
             <configtest><execute>/bin/true</execute></configtest><start><execute>/bin/cat</execute></start>\
             <stop><execute>/bin/true</execute></stop></commands>\
             <status><log>/var/log/{name}.log</log></status>{resources}</sipXecs-process>",
            super::NAMESPACE
        )
    }
}
