//! The methods: what each takes, what it asks of the northbound, and what its answer is.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use quick_xml::escape::escape;

use super::fault::Fault;
use super::value::{Called, Value};
use crate::northbound::filter::{Content, Filter, Selection};
use crate::northbound::{Fragment, Refusal, Request, WithDefaults};
use crate::yang::xml;

const NAMESPACE: &str = "urn:procyon:process";
const ALARMS: &str = "urn:procyon:alarms";
/// What is read of a file at once; less says that it was the end.
pub const PART_BYTES: usize = 1024 * 1024;
/// The least permissions of a replaced file are above this.
const PERMISSIONS_BELOW: i32 = 0o100;
const PERMISSIONS_MAX: i32 = 0o777;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    States,
    Start,
    Stop,
    Restart,
    Resync,
    StatusMessages,
    RunTest,
    TestMessages,
    Version,
    SetVersion,
    Replace,
    RaiseAlarm,
}

impl Method {
    const ALL: [Self; 12] = [
        Self::States,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Resync,
        Self::StatusMessages,
        Self::RunTest,
        Self::TestMessages,
        Self::Version,
        Self::SetVersion,
        Self::Replace,
        Self::RaiseAlarm,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::States => "ProcMgmtRpc.getStateAll",
            Self::Start => "ProcMgmtRpc.start",
            Self::Stop => "ProcMgmtRpc.stop",
            Self::Restart => "ProcMgmtRpc.restart",
            Self::Resync => "ProcMgmtRpc.resync",
            Self::StatusMessages => "ProcMgmtRpc.getStatusMessages",
            Self::RunTest => "ProcMgmtRpc.runConfigtest",
            Self::TestMessages => "ProcMgmtRpc.getConfigtestMessages",
            Self::Version => "ProcMgmtRpc.getConfigVersion",
            Self::SetVersion => "ProcMgmtRpc.setConfigVersion",
            Self::Replace => "File.replace",
            Self::RaiseAlarm => "Alarm.raiseAlarm",
        }
    }

    /// Besides the calling host.
    fn parameters(self) -> &'static [(&'static str, Kind)] {
        const ALIAS: (&str, Kind) = ("alias", Kind::Text);
        const SERVICE: (&str, Kind) = ("service", Kind::Text);
        match self {
            Self::States => &[],
            Self::Start | Self::Stop | Self::Restart | Self::Resync => {
                &[("alias", Kind::Texts), ("blockForStateChange", Kind::Boolean)]
            }
            Self::StatusMessages | Self::RunTest | Self::TestMessages => &[ALIAS],
            Self::Version => &[SERVICE],
            Self::SetVersion => &[SERVICE, ("serviceVersion", Kind::Text)],
            Self::RaiseAlarm => &[("AlarmId", Kind::Text), ("AlarmParams", Kind::Texts)],
            Self::Replace => &[("fileName", Kind::Text), ("filePermissions", Kind::Integer), ("filedata", Kind::Text)],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Integer,
    Boolean,
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::Text(_)) | (Self::Integer, Value::Integer(_)) | (Self::Boolean, Value::Boolean(_)) => {
                true
            }
            (Self::Texts, Value::List(values)) => values.iter().all(|value| matches!(value, Value::Text(_))),
            _ => false,
        }
    }
}

/// A call whose parameters are what its method takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    /// Who the caller says it is.
    pub host: String,
    parameters: Vec<Value>,
}

impl Call {
    /// # Errors
    /// An unknown method, or parameters that it does not take.
    pub fn read(called: Called) -> Result<Self, Fault> {
        let Called { method, parameters } = called;
        let method = Method::ALL.into_iter().find(|known| known.name() == method).ok_or_else(Fault::unregistered)?;
        let expected = method.parameters();
        // These count before they look.
        let counts_first = matches!(method, Method::Version | Method::SetVersion | Method::Replace);
        let is_over = method == Method::RaiseAlarm && parameters.len() > expected.len() + 1;
        if is_over || counts_first && parameters.len() != expected.len() + 1 {
            return Err(Fault::count(method));
        }
        let mut values = parameters.into_iter();
        let Some(Value::Text(host)) = values.next() else { return Err(Fault::parameter(method, "callingHostname")) };
        let values: Vec<Value> = values.collect();
        for (index, (name, kind)) in expected.iter().enumerate() {
            if !values.get(index).is_some_and(|value| kind.fits(value)) {
                return Err(Fault::parameter(method, name));
            }
        }
        if values.len() > expected.len() {
            return Err(Fault::count(method));
        }
        Ok(Self { method, host, parameters: values })
    }

    fn text(&self, index: usize) -> &str {
        match self.parameters.get(index) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The processes that it orders something for.
    pub fn names(&self) -> Vec<&str> {
        let Some(Value::List(values)) = self.parameters.first() else { return Vec::new() };
        values.iter().filter_map(text_of).collect()
    }

    /// The file that it is about, where it is about one.
    pub fn path(&self) -> &str {
        if self.method == Method::Replace { self.text(0) } else { "" }
    }

    /// What is asked of the northbound where one question is enough. Orders need to know the processes first:
    /// [`Call::order`].
    ///
    /// # Errors
    /// A parameter that no northbound would take.
    pub fn question(&self) -> Result<Request, Fault> {
        let name = self.text(0);
        Ok(match self.method {
            Method::States | Method::Start | Method::Stop | Method::Restart | Method::Resync => state(None, &["state"]),
            Method::StatusMessages => state(Some(name), &["message"]),
            Method::TestMessages => state(Some(name), &["trial-message"]),
            Method::Version | Method::SetVersion => state(Some(name), &["config-version"]),
            Method::RaiseAlarm => self.alarm(),
            Method::RunTest => rpc("process-configtest", &[("name", name), ("wait", "false")]),
            Method::Replace => self.replace()?,
        })
    }

    fn alarm(&self) -> Request {
        let words = match self.parameters.get(1) {
            Some(Value::List(values)) => values.iter().filter_map(text_of).collect::<Vec<_>>().join(" "),
            _ => String::new(),
        };
        let text = if words.trim().is_empty() { self.text(0) } else { words.trim() };
        let host = format!("host {}", self.host);
        invoke(ALARMS, "raise-alarm", &[("resource", &host), ("name", self.text(0)), ("text", text)])
    }

    fn replace(&self) -> Result<Request, Fault> {
        let Some(Value::Integer(mode)) = self.parameters.get(1) else { return Err(Fault::permissions(0)) };
        if *mode <= PERMISSIONS_BELOW || *mode > PERMISSIONS_MAX {
            return Err(Fault::permissions(*mode));
        }
        // Clients break the lines.
        let compact: String = self.text(2).split_ascii_whitespace().collect();
        let content = BASE64.decode(&compact).map_err(|_| Fault::not_base64(self.text(0)))?;
        Ok(rpc(
            "file-replace",
            &[("path", self.text(0)), ("mode", &format!("{mode:03o}")), ("content", &BASE64.encode(content))],
        ))
    }

    /// The order that follows from what is known of the processes; none where there is nothing to order.
    pub fn order(&self, known: &States) -> Option<Request> {
        let names: Vec<&str> = self.names().into_iter().filter(|name| known.contains_key(*name)).collect();
        let verb = match self.method {
            Method::Start => "process-start",
            Method::Stop => "process-stop",
            Method::Restart => "process-restart",
            Method::Resync => "process-resync",
            Method::SetVersion => {
                return Some(rpc("process-set-version", &[("name", self.text(0)), ("version", self.text(1))]));
            }
            _ => return None,
        };
        let names: Vec<(&str, &str)> = names.into_iter().map(|name| ("name", name)).collect();
        (!names.is_empty()).then(|| rpc(verb, &names))
    }

    /// The answer, from what was found; orders have been carried out by now.
    ///
    /// # Errors
    /// A process that is not there.
    pub fn answer(&self, found: &States) -> Result<Value, Fault> {
        let one = || found.get(self.text(0)).ok_or_else(|| Fault::unknown_process(self.method, self.text(0)));
        let texts = |texts: &[String]| Value::List(texts.iter().cloned().map(Value::Text).collect());
        Ok(match self.method {
            Method::States => Value::Members(
                found.iter().map(|(name, leaves)| (name.clone(), Value::Text(leaves.concat()))).collect(),
            ),
            Method::Start | Method::Stop | Method::Restart | Method::Resync => {
                let told = |name: &str| (name.to_owned(), Value::Boolean(found.contains_key(name)));
                Value::Members(self.names().into_iter().map(told).collect())
            }
            Method::StatusMessages | Method::TestMessages => texts(one()?),
            Method::Version => Value::Text(one()?.concat()),
            Method::SetVersion => one().map(|_| Value::Boolean(true))?,
            Method::RunTest | Method::Replace | Method::RaiseAlarm => Value::Boolean(true),
        })
    }

    /// What the northbound's refusal is called here.
    pub fn fault(&self, refusal: &Refusal) -> Result<Value, Fault> {
        let path = self.path();
        match (self.method, refusal.app_tag.as_deref()) {
            (Method::RunTest, Some("test-runs-already")) => Ok(Value::Boolean(false)),
            (Method::RunTest, Some("no-such-process")) => Err(Fault::unknown_process(self.method, self.text(0))),
            (Method::Replace, Some("file-undeclared")) => Err(Fault::undeclared(path)),
            (Method::Replace, Some(tag)) if tag.starts_with("file-") => {
                Err(Fault::not_writable(path, tag.trim_start_matches("file-")))
            }
            _ => Err(Fault::other(refusal.to_string())),
        }
    }
}

/// The values of the leaves that were asked for, by process.
pub type States = BTreeMap<String, Vec<String>>;

/// Reads what [`Call::question`] found.
pub fn states(data: &Bytes) -> States {
    let tops = xml::parse(data).unwrap_or_default();
    let processes = tops.iter().flat_map(|top| &top.children).filter(|it| &*it.name == "process");
    let read = processes.filter_map(|process| {
        let name = process.children.iter().find(|leaf| &*leaf.name == "name")?;
        let leaves = process.children.iter().filter(|leaf| &*leaf.name != "name");
        Some((name.text.clone(), leaves.map(|leaf| leaf.text.clone()).collect()))
    });
    read.collect()
}

/// Reads the content that `file-read` returned.
pub fn content(output: &Bytes) -> Option<Vec<u8>> {
    let tops = xml::parse(output).ok()?;
    let leaf = tops.iter().find(|top| &*top.name == "content")?;
    BASE64.decode(leaf.text.trim()).ok()
}

/// Of a file, as much as is read at once.
pub fn read_file(path: &str, offset: usize) -> Request {
    let (offset, length) = (offset.to_string(), PART_BYTES.to_string());
    rpc("file-read", &[("path", path), ("offset", &offset), ("length", &length)])
}

pub fn delete_file(path: &str) -> Request {
    rpc("file-delete", &[("path", path)])
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn rpc(name: &str, leaves: &[(&str, &str)]) -> Request {
    invoke(NAMESPACE, name, leaves)
}

fn invoke(namespace: &str, name: &str, leaves: &[(&str, &str)]) -> Request {
    let inside: String = leaves.iter().map(|(leaf, value)| format!("<{leaf}>{}</{leaf}>", escape(*value))).collect();
    Request::Invoke { operation: Fragment(format!("<{name} xmlns=\"{namespace}\">{inside}</{name}>").into()) }
}

fn state(name: Option<&str>, leaves: &[&str]) -> Request {
    let node = |name: &str, content: Content| Selection {
        namespace: Some(NAMESPACE.to_owned()),
        name: name.to_owned(),
        attributes: Vec::new(),
        content,
    };
    let key = node("name", name.map_or(Content::Selected, |name| Content::Match(name.to_owned())));
    let leaves = leaves.iter().map(|leaf| node(leaf, Content::Selected));
    let process = node("process", Content::Within(std::iter::once(key).chain(leaves).collect()));
    let filter = Filter::Subtree(vec![node("processes-state", Content::Within(vec![process]))]);
    Request::Get { filter: Some(filter), with_defaults: WithDefaults::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn call(method: &str, parameters: Vec<Value>) -> Result<Call, Fault> {
        Call::read(Called { method: method.to_owned(), parameters })
    }

    fn fault(method: &str, parameters: Vec<Value>) -> (i32, String) {
        let Fault { code, text } = call(method, parameters).unwrap_err();
        (code, text)
    }

    #[test]
    fn parameters_are_judged_as_the_original_does() {
        let missing =
            |method: &str, name: &str| (301, format!("{method} '{name}' parameter is missing or invalid type"));
        let start = "ProcMgmtRpc.start";
        assert_eq!(fault(start, vec![]), missing(start, "callingHostname"));
        assert_eq!(fault(start, vec![text("h"), text("a")]), missing(start, "alias"));
        let list = Value::List(vec![text("a")]);
        assert_eq!(fault(start, vec![text("h"), list.clone()]), missing(start, "blockForStateChange"));
        let long = vec![text("h"), list, Value::Boolean(true), text("x")];
        assert_eq!(fault(start, long), (301, format!("{start} has too many parameters")));
        let replace = "File.replace";
        assert_eq!(fault(replace, vec![]), (301, format!("{replace} has incorrect number of parameters")));
        assert_eq!(fault("ProcMgmtRpc.noSuch", vec![]).0, -3);
    }

    #[test]
    fn only_known_processes_are_ordered_about_and_all_are_answered_for() {
        let list = Value::List(vec![text("a"), text("nobody")]);
        let call = call("ProcMgmtRpc.stop", vec![text("h"), list, Value::Boolean(false)]).unwrap();
        let known = States::from([("a".to_owned(), vec!["Running".to_owned()])]);
        let Some(Request::Invoke { operation }) = call.order(&known) else { panic!("an rpc is expected") };
        assert_eq!(operation.0, "<process-stop xmlns=\"urn:procyon:process\"><name>a</name></process-stop>");
        let told = vec![("a".to_owned(), Value::Boolean(true)), ("nobody".to_owned(), Value::Boolean(false))];
        assert_eq!(call.answer(&known), Ok(Value::Members(told)));
    }

    #[test]
    fn permissions_and_content_of_a_file_are_checked() {
        let replace = |mode, data: &str| {
            let call = call("File.replace", vec![text("h"), text("/x"), Value::Integer(mode), text(data)]).unwrap();
            call.question()
        };
        assert!(replace(0o644, "aGVs\nbG8=\n").is_ok());
        let range = "File permissions 0100 not within valid range (0100 - 0777)";
        assert_eq!(replace(0o100, "").unwrap_err().text, range);
        assert_eq!(replace(0o1777, "").unwrap_err().code, 301);
        assert_eq!(replace(0o644, "~").unwrap_err().text, "Failed to decode file data from base64 for '/x'");
    }
}
