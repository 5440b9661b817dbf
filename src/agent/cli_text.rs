//! Configuration as text, for clients that would rather have lines than XML: `<cli>` of Cisco-IOS-XR-cli-cfg in edit-config,
//! copy-config and get-config, and the rpc `get-cli-config-diff`. Lines become edits before the northbound sees them, so
//! that rights, validation and history are those of the nodes that they mean.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use quick_xml::escape::escape;

use crate::netconf::driver::Edge;
use crate::northbound::filter::{Content, Filter};
use crate::northbound::handle::Handle;
use crate::northbound::{
    Answer, Caller, Datastore, DefaultOperation, Fragment, Kind, Refusal, Request, Response, Source, WithDefaults,
};
use crate::shell::data::{self, Item};
use crate::shell::edit::messages;
use crate::shell::grammar::Grammar;
use crate::shell::line::{Edit, Operation};
use crate::shell::load;
use crate::shell::show::commits::HEAD;
use crate::shell::text::{self, Style};
use crate::yang::xml::{self, XmlElement};

const CLI: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-cli-cfg";
const DIFFERENCE: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-cli-diff-act";
const CLI_PATH: &str = "/Cisco-IOS-XR-cli-cfg:cli";
/// The namespace stands in the first tag, or it is not this.
const HEAD_BYTES: usize = 512;

/// Wrong lines that are told at once.
const FAULTS_MAX: usize = 20;

pub(super) struct CliText {
    pub grammar: Arc<Grammar>,
}

impl Edge for CliText {
    fn concerns(&self, request: &Request) -> bool {
        match request {
            Request::EditConfig { config, .. } | Request::CopyConfig { source: Source::Inline(config), .. } => {
                begins_with(config, CLI)
            }
            Request::GetConfig { filter: Some(Filter::Subtree(selections)), .. } => {
                matches!(selections.as_slice(), [only] if only.name == "cli"
                    && only.namespace.as_deref() == Some(CLI)
                    && matches!(only.content, Content::Selected))
            }
            Request::Invoke { operation } => begins_with(operation, DIFFERENCE),
            _ => false,
        }
    }

    fn ask(
        &self,
        northbound: Handle,
        caller: Caller,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let grammar = Arc::clone(&self.grammar);
        Box::pin(async move {
            let asked = Asked { grammar, northbound, caller };
            match request {
                Request::EditConfig { target, default_operation, test_option, error_option, config } => {
                    let Some(parts) = parts_of(&config)? else {
                        let config =
                            Request::EditConfig { target, default_operation, test_option, error_option, config };
                        return asked.northbound.ask(&asked.caller, config).await;
                    };
                    if default_operation == DefaultOperation::None {
                        let said = "default-operation none leaves lines nothing to do; leave it out";
                        return Err(vec![Refusal::new(Kind::InvalidValue, said).at(CLI_PATH)]);
                    }
                    let messages = asked.messages(&parts)?;
                    let edit =
                        |config| Request::EditConfig { target, default_operation, test_option, error_option, config };
                    asked.carry_out(target, messages, edit).await
                }
                Request::CopyConfig { target, source: Source::Inline(config) } => match parts_of(&config)? {
                    Some(parts) => asked.replace(target, &parts).await,
                    None => {
                        let copy = Request::CopyConfig { target, source: Source::Inline(config) };
                        asked.northbound.ask(&asked.caller, copy).await
                    }
                },
                Request::GetConfig { source, .. } => {
                    let lines = text::print(&asked.grammar, &asked.read(source).await?, Style::Nested);
                    let content = format!("{HEAD}\n{lines}end\n");
                    Ok(Response::Data(format!("<cli xmlns=\"{CLI}\">{}</cli>", escape(content)).into()))
                }
                Request::Invoke { operation } => {
                    let is_ours = xml::parse(&operation.0).is_ok_and(
                        |parsed| matches!(parsed.as_slice(), [only] if &*only.name == "get-cli-config-diff"),
                    );
                    if !is_ours {
                        return asked.northbound.ask(&asked.caller, Request::Invoke { operation }).await;
                    }
                    let (running, target) =
                        (asked.read(Datastore::Running).await?, asked.read(Datastore::Candidate).await?);
                    let lines = text::print_side_by_side(&asked.grammar, &running, &target);
                    let content = format!("Building configuration...\n{HEAD}\n{lines}end\n");
                    let output = format!("<response xmlns=\"{DIFFERENCE}\">{}</response>", escape(content));
                    Ok(Response::Output(output.into()))
                }
                other => asked.northbound.ask(&asked.caller, other).await,
            }
        })
    }
}

fn begins_with(fragment: &Fragment, namespace: &str) -> bool {
    let head = &fragment.0[..fragment.0.len().min(HEAD_BYTES)];
    head.windows(namespace.len()).any(|window| window == namespace.as_bytes())
}

/// What stands side by side in a configuration.
enum Part {
    Lines(String),
    Xml(String),
}

/// The parts of a configuration in which there is a `<cli>`; `None` where there is none.
fn parts_of(config: &Fragment) -> Result<Option<Vec<Part>>, Vec<Refusal>> {
    let elements = xml::parse(&config.0).map_err(|refusal| vec![refusal])?;
    let is_lines = |element: &XmlElement| {
        &*element.name == "cli" && element.namespace.as_deref() == Some(CLI) && element.children.is_empty()
    };
    if !elements.iter().any(is_lines) {
        return Ok(None);
    }
    let part = |element: &XmlElement| match is_lines(element) {
        true => Part::Lines(element.text.clone()),
        false => Part::Xml(element.outer_xml()),
    };
    Ok(Some(elements.iter().map(part).collect()))
}

struct Asked {
    grammar: Arc<Grammar>,
    northbound: Handle,
    caller: Caller,
}

impl Asked {
    /// All lines or none.
    fn edits(&self, lines: &str) -> Result<Vec<Edit>, Vec<Refusal>> {
        let read = load::read(&self.grammar, lines);
        if read.faults.is_empty() {
            return Ok(read.lines.into_iter().flat_map(|(_, edits)| edits).collect());
        }
        let refusals = read.faults.into_iter().take(FAULTS_MAX).map(|(number, line, fault)| {
            let said = fault.to_string().replace("% ", "").replace('\n', " ");
            let message = format!("line {number}, column {}: {said} in `{}`", fault.at + 1, line.trim());
            Refusal::new(Kind::InvalidValue, message).at(CLI_PATH)
        });
        Err(refusals.collect())
    }

    /// What is to be edited in, one after the other.
    fn messages(&self, parts: &[Part]) -> Result<Vec<String>, Vec<Refusal>> {
        let mut found = Vec::new();
        for part in parts {
            match part {
                Part::Lines(lines) => {
                    let edits = self.edits(lines)?;
                    found.extend(messages(&self.grammar, &edits).into_iter().map(|(message, _)| message));
                }
                Part::Xml(xml) => found.push(xml.clone()),
            }
        }
        Ok(found)
    }

    /// Where a later message is refused the earlier ones are undone.
    async fn carry_out(
        &self,
        target: Datastore,
        messages: Vec<String>,
        edit: impl Fn(Fragment) -> Request + Send,
    ) -> Answer {
        let before = if messages.len() > 1 { Some(self.bytes(target).await?) } else { None };
        for message in messages {
            let answer = self.northbound.ask(&self.caller, edit(Fragment(message.into()))).await;
            if answer.is_err() {
                if let Some(before) = before {
                    let source = Source::Inline(Fragment(before));
                    // What was refused first is what is told.
                    let _ = self.northbound.ask(&self.caller, Request::CopyConfig { target, source }).await;
                }
                return answer;
            }
        }
        Ok(Response::Ok)
    }

    async fn replace(&self, target: Datastore, parts: &[Part]) -> Answer {
        let is_deletion = |part: &Part| -> Result<bool, Vec<Refusal>> {
            let Part::Lines(lines) = part else { return Ok(false) };
            Ok(self.edits(lines)?.iter().any(|edit| edit.operation == Operation::Delete))
        };
        for part in parts {
            if is_deletion(part)? {
                let said = "a whole configuration takes nothing away: a line with `no` has nothing to stand in";
                return Err(vec![Refusal::new(Kind::InvalidValue, said).at(CLI_PATH)]);
            }
        }
        let source = Source::Inline(Fragment(self.messages(parts)?.concat().into()));
        self.northbound.ask(&self.caller, Request::CopyConfig { target, source }).await
    }

    async fn bytes(&self, source: Datastore) -> Result<Bytes, Vec<Refusal>> {
        let request = Request::GetConfig { source, filter: None, with_defaults: WithDefaults::Explicit };
        match self.northbound.ask(&self.caller, request).await? {
            Response::Data(bytes) => Ok(bytes),
            other => Err(vec![Refusal::new(Kind::OperationFailed, format!("get-config answers with {other:?}"))]),
        }
    }

    async fn read(&self, source: Datastore) -> Result<Vec<Item>, Vec<Refusal>> {
        let bytes = self.bytes(source).await?;
        data::read(&self.grammar, &bytes).map_err(|error| vec![Refusal::new(Kind::OperationFailed, error.to_string())])
    }
}
