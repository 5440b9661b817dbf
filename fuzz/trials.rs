//! What must hold whatever a stranger sends: one function a part of the way that his bytes take, from the stream to the
//! datastore. Each takes arbitrary bytes and panics when a law is broken.
//!
//! Played by `tests/fuzz.rs` (the kept corpus and seeded mutations of it, with every test run) and by the targets in
//! `fuzz_targets/` (guided by coverage, for hours: `scripts/fuzz`). Who includes this file says in `ROOT` where the
//! sources are.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use procyon::datastore::edit::Edit;
use procyon::datastore::{CandidateId, Datastores};
use procyon::netconf::counters::Counters;
use procyon::netconf::error::BaseNamespaces;
use procyon::netconf::framing::{Decoder, Framing, encode};
use procyon::netconf::hello::{self, HelloFault};
use procyon::netconf::outbox::Outbox;
use procyon::netconf::rpc::{self, Operation};
use procyon::netconf::session::{Action, Input, Session, Setup};
use procyon::netconf::{Layout, capability};
use procyon::northbound::filter::Filter;
use procyon::northbound::{
    DefaultOperation, ErrorOption, Fragment, Kind, Refusal, Request, Response, SessionId, Source, WithDefaults,
};
use procyon::yang::schema::{ModuleSpec, Schema};
use procyon::yang::segments::Segments;
use procyon::yang::select::{self, Seen, View};
use procyon::yang::tree::{Node, Tree};
use procyon::yang::{named, prefix, xml};

use quick_xml::events::attributes::{AttrError, Attribute};
use quick_xml::name::ResolveResult::Unknown;

use super::ROOT;

/// Small, so that the bounds are met.
const MESSAGE_BYTES_MAX: usize = 2_000;

const HELLO: &str = "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities>\
    <capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>";

/// What is configured: something of every kind that the sample has.
const CONFIG: &str = "<top xmlns='urn:sample'><name>open</name><mtu>1400</mtu><pet xmlns:m='urn:more'>m:dog</pet>\
    <where xmlns:s='urn:sample'>/s:top/s:item[s:name=\"a\"]</where><tag>x</tag><tag>y</tag><step>z</step><step>a</step>\
    <on><level>1</level></on><inner><a>in</a></inner><item><name>a</name><port>1</port><deep><x>1</x></deep></item>\
    <item><name>b</name><peer>a</peer><note/><colour xmlns='urn:more'>blue</colour></item><rule><id>2</id></rule>\
    <rule><id>1</id><text>t</text></rule><pair><left>l</left><right>r</right></pair><number>7</number>\
    <gated>g</gated><plus xmlns='urn:more'><size>3</size></plus></top>\
    <root-list xmlns='urn:sample'><k>1</k><v>v</v></root-list><top-leaf xmlns='urn:sample'>t</top-leaf>";

/// However a stream is cut into pieces, the same messages come out of it; and what is written is read again.
pub(crate) fn framing(data: &[u8]) {
    let Some((&kind, stream)) = data.split_first() else { return };
    let framing = if kind & 1 == 0 { Framing::EndOfMessage } else { Framing::Chunked };
    let whole = decoded(framing, stream, |left| left);
    for step in [1, 2, 3, usize::from(kind >> 1) + 1] {
        assert_eq!(decoded(framing, stream, |left| left.min(step)), whole, "in pieces of {step}");
    }
    let (messages, _) = whole;
    let mut written = Vec::new();
    for message in &messages {
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        encode(framing, [message.clone()], |piece| written.extend_from_slice(&piece));
    }
    assert_eq!(decoded(framing, &written, |left| left), (messages, false));
}

/// The messages of a stream, and whether it ended in a fault.
fn decoded(framing: Framing, mut stream: &[u8], piece: impl Fn(usize) -> usize) -> (Vec<Bytes>, bool) {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    decoder.switch(framing, MESSAGE_BYTES_MAX);
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let (mut now, later) = stream.split_at(piece(stream.len()).max(1));
        stream = later;
        while !now.is_empty() {
            match decoder.next(&mut now) {
                Ok(message) => messages.extend(message),
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// A hello is read or refused; one that says what was read reads the same, and ours is no client's.
pub(crate) fn hello(data: &[u8]) {
    let Ok(capabilities) = hello::parse(data) else { return };
    // XML has no such letters (section 2.2): where they come in they are kept, and stand for nothing where they go out.
    if capabilities.iter().any(|capability| capability.contains(['\u{fffe}', '\u{ffff}'])) {
        return;
    }
    let ours = hello::compose(SessionId(1), &capabilities);
    assert!(is_well_formed(&ours), "{ours:?}");
    assert_eq!(hello::parse(&ours), Err(HelloFault::SessionIdInside));
    let theirs = String::from_utf8(ours.to_vec()).unwrap().replace("<session-id>1</session-id></hello>", "</hello>");
    assert_eq!(hello::parse(theirs.as_bytes()), Ok(capabilities));
}

/// Whatever a client sends after its hello, each message is answered once with well-formed XML, or the session ends;
/// and configuration that was cut out of a message can be read alone.
pub(crate) fn rpc(data: &[u8]) {
    let counters = Arc::new(Counters::default());
    let mut outbox = Outbox::default();
    let setup = Setup {
        session: SessionId(7),
        capabilities: vec![capability::BASE_1_1.to_owned()],
        layout: Layout::Compact,
        message_bytes_max: 1 << 20,
        names: Arc::new(BaseNamespaces),
        counters: counters.open(SessionId(7)),
    };
    let mut session = Session::new(setup, &mut outbox);
    session.on(Input::Bytes(HELLO.as_bytes()), &mut outbox);
    taken(&mut outbox);
    let mut stream = Vec::new();
    encode(Framing::Chunked, [Bytes::copy_from_slice(data)], |piece| stream.extend_from_slice(&piece));
    let mut action = session.on(Input::Bytes(&stream), &mut outbox);
    while let Some(Action::Deliver(request)) = action {
        if is_well_formed(data) && !has_markup_in_namespaces(data) {
            cut_pieces_are_readable(&request);
        }
        let answer = match request {
            Request::Validate { .. } => Err(vec![Refusal::new(Kind::InvalidValue, "<&>\"'").at("/s:top[s:k='<&>']")]),
            Request::Get { .. } => Ok(Response::Data("<a xmlns=\"urn:a\"/>".into())),
            _ => Ok(Response::Ok),
        };
        action = session.on(Input::Answer(answer), &mut outbox);
    }
    let is_over = matches!(action, Some(Action::End(_)));
    let (replies, is_broken) = decoded_whole(&taken(&mut outbox));
    assert!(!is_broken);
    assert!(replies.len() == 1 || is_over && replies.is_empty(), "{} replies", replies.len());
    for reply in replies {
        assert!(is_well_formed(&reply), "{:?}", String::from_utf8_lossy(&reply));
    }
}

fn cut_pieces_are_readable(request: &Request) {
    let fragment = match request {
        Request::EditConfig { config, .. } | Request::EditData { config, .. } => config,
        Request::CopyConfig { source: Source::Inline(config), .. } => config,
        Request::Validate { source: Source::Inline(config) } => config,
        Request::Invoke { operation } => operation,
        Request::Action { action } => action,
        _ => return,
    };
    if let Err(refusal) = xml::parse(&fragment.0) {
        panic!("{}: {:?}", refusal.message, String::from_utf8_lossy(&fragment.0));
    }
}

/// What a filter selects is a part of the tree; it is printed alike with and without a copy and from what is kept, is the
/// same where nothing is hidden by access rules, and selects itself.
pub(crate) fn filter(data: &[u8]) {
    let head: &[u8] = b"<rpc message-id='1' xmlns='urn:ietf:params:xml:ns:netconf:base:1.0' xmlns:s='urn:sample' \
        xmlns:m='urn:more'><get-config><source><running/></source>";
    let message = Bytes::from([head, data, b"</get-config></rpc>"].concat());
    let Ok(Operation::Ask(Request::GetConfig { filter: Some(filter), with_defaults, .. })) =
        rpc::parse(&message).operation
    else {
        return;
    };
    let tree = running();
    let tagged = with_defaults == WithDefaults::ReportAllTagged;
    let Ok(view) = select::view(&tree, &filter, tagged) else { return };
    let selected = view.to_tree();
    assert_eq!(view.print_xml(with_defaults), selected.print_xml(with_defaults));
    let mut both = tree.duplicate();
    both.merge(&selected);
    assert_eq!(text(&both), text(&tree));
    let all = |view: &View<'_>| view.to_tree().print_xml(WithDefaults::ReportAll);
    let segments = Segments::new(1, 1 << 16);
    for _ in 0..2 {
        assert_eq!(view.print_kept(with_defaults, &segments), view.print_xml(with_defaults));
    }
    let sees = |_: Node<'_>| Seen::Itself;
    let permitted = select::with_view(&tree, Some(&filter), Some(&sees), tagged, all);
    assert_eq!(permitted, Ok(selected.print_xml(WithDefaults::ReportAll)));
    match &filter {
        Filter::Subtree(_) => {
            let again = select::view(&selected, &filter, tagged).expect("it was selected before").to_tree();
            assert_eq!(text(&again), text(&selected));
        }
        Filter::XPath { expression, namespaces } => {
            // Where only what the expression names is made, it selects the same from that.
            let Some(named) = named::selections(&prefix::expression(schema(), expression, namespaces)) else { return };
            let asked = Filter::Subtree(named.into_iter().map(|(_, selection)| selection).collect());
            let made = select::select(&tree, &asked).expect("a subtree filter is never refused");
            let from_made = select::with_view(&made, Some(&filter), None, tagged, all);
            assert_eq!(from_made, Ok(selected.print_xml(WithDefaults::ReportAll)), "{asked:?}");
        }
    }
}

/// An edit is done whole or not at all, unless it is told to go on; what comes out of a fragment comes out of the whole;
/// what can be committed is what is valid, and can be stored and read.
pub(crate) fn edit_config(data: &[u8]) {
    let Some((&options, config)) = data.split_first() else { return };
    let default_operation =
        [DefaultOperation::Merge, DefaultOperation::Replace, DefaultOperation::None][usize::from(options) % 3];
    let error_option = [ErrorOption::StopOnError, ErrorOption::ContinueOnError, ErrorOption::RollbackOnError]
        [usize::from(options) / 3 % 3];
    let Ok(edit) = Edit::parse(&Fragment(Bytes::copy_from_slice(config))) else { return };
    let id = CandidateId::Shared;
    let mut stores = Datastores::new(schema(), running().duplicate());
    let before = text(&stores.candidate(id));
    let mut whole = stores.running().duplicate();
    let on_whole = edit.apply(&mut whole, default_operation, error_option, None);
    let on_candidate = stores.edit_candidate(id, &edit, default_operation, error_option, None);
    let candidate = stores.candidate(id);
    match &on_candidate {
        Ok(()) => assert_eq!(text(&candidate), text(&whole)),
        Err(refusals) => {
            assert!(refusals.iter().all(|refusal| !refusal.message.is_empty()) && !refusals.is_empty());
            if error_option != ErrorOption::ContinueOnError {
                assert_eq!(text(&candidate), before);
            }
        }
    }
    assert_eq!(on_candidate.is_ok(), on_whole.is_ok());
    let valid = stores.validated(&candidate);
    match (stores.propose(id), valid) {
        (Ok(proposal), Ok(valid)) => {
            stores.accept(&proposal);
            let stored = text(stores.running());
            assert_eq!(stored, text(&valid));
            let mut again = Tree::parse_stored(schema(), stored.as_bytes()).expect("what was committed can be read");
            again.validate_config().expect("what was committed is valid");
            assert_eq!(text(&again), stored);
        }
        (Err(refusals), Err(_)) => assert!(!refusals.is_empty()),
        (proposal, valid) => panic!("{proposal:?} {valid:?}"),
    }
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<&'static Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let module = |name: &str, features: &[&str]| ModuleSpec {
            name: name.to_owned(),
            revision: None,
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let dir = PathBuf::from(ROOT).join("tests/yang");
        Schema::load(&[dir], &[module("sample", &["*"]), module("more", &[])]).unwrap()
    })
}

fn running() -> Rc<Tree> {
    thread_local!(static RUNNING: RefCell<Option<Rc<Tree>>> = const { RefCell::new(None) });
    RUNNING.with_borrow_mut(|running| {
        Rc::clone(running.get_or_insert_with(|| {
            let mut tree = Tree::parse_config(schema(), CONFIG.as_bytes()).unwrap();
            tree.validate_config().unwrap();
            Rc::new(tree)
        }))
    })
}

fn text(tree: &Tree) -> String {
    String::from_utf8(tree.print_xml(WithDefaults::Explicit).to_vec()).unwrap()
}

fn taken(outbox: &mut Outbox) -> Vec<u8> {
    let mut out = Vec::new();
    while !outbox.is_empty() {
        out.extend_from_slice(outbox.front());
        let taken = outbox.front().len();
        outbox.advance(taken);
    }
    out
}

fn decoded_whole(mut stream: &[u8]) -> (Vec<Bytes>, bool) {
    let mut decoder = Decoder::new(usize::MAX);
    decoder.switch(Framing::Chunked, usize::MAX);
    let mut messages = Vec::new();
    while !stream.is_empty() {
        match decoder.next(&mut stream) {
            Ok(message) => messages.extend(message),
            Err(_) => return (messages, true),
        }
    }
    (messages, decoder.is_amid_message())
}

/// Such a namespace cannot be kept.
fn has_markup_in_namespaces(message: &[u8]) -> bool {
    let mut reader = quick_xml::Reader::from_reader(message);
    reader.config_mut().expand_empty_elements = true;
    let is_one =
        |attribute: Attribute<'_>| is_declaration(&attribute) && attribute.value.contains(['&', '<', '>', '"']);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Start(start)) if start.attributes().flatten().any(is_one) => return true,
            Ok(quick_xml::events::Event::Eof) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

fn is_declaration(attribute: &Attribute<'_>) -> bool {
    let name: &str = attribute.key.as_ref();
    name == "xmlns" || name.starts_with("xmlns:")
}

/// By another parser than ours.
fn is_well_formed(message: &[u8]) -> bool {
    let mut reader = quick_xml::NsReader::from_reader(message);
    reader.config_mut().expand_empty_elements = true;
    let mut depth = 0_usize;
    loop {
        match reader.read_resolved_event() {
            Ok((Unknown(_), _)) | Err(_) => return false,
            Ok((_, quick_xml::events::Event::Start(start))) => {
                depth += 1;
                let name = start.name().into_inner();
                // The reader knows what the prefix of declarations stands for; no element may have it.
                if !xml::is_qualified_name(name) || name.starts_with("xmlns:") {
                    return false;
                }
                let is_bad = |attribute: Result<Attribute<'_>, AttrError>| match attribute {
                    Ok(attribute) => {
                        let is_unbound = matches!(reader.resolver().resolve_attribute(attribute.key).0, Unknown(_));
                        let prefix = attribute.key.as_ref().strip_prefix("xmlns").unwrap_or_default();
                        let is_faulty = is_declaration(&attribute)
                            && xml::fault_of_declaration(prefix.trim_start_matches(':'), &attribute.value).is_some();
                        is_faulty
                            || !xml::is_qualified_name(attribute.key.as_ref())
                            || is_unbound && !is_declaration(&attribute)
                    }
                    Err(_) => true,
                };
                if start.attributes().any(is_bad) {
                    return false;
                }
            }
            Ok((_, quick_xml::events::Event::End(_))) => depth -= 1,
            Ok((_, quick_xml::events::Event::Eof)) => return depth == 0,
            Ok(_) => {}
        }
    }
}
