//! What is kept of running is what would be printed anew, whoever reads it and whatever was committed between.

use proptest::prelude::*;

use super::super::filter::Content;
use super::super::testing::Rig;
use super::super::{Client, CommitOptions, Request, SessionId};
use super::*;
use crate::datastore::confirmed;
use crate::northbound::handle::Opening;
use crate::yang::segments::Segments;
use crate::yang::testing::selection;

const NAMESPACES: &str = "xmlns='urn:sample' xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0' \
    xmlns:yang='urn:ietf:params:xml:ns:yang:1'";

/// Two groups of one user each, and what they may not read.
const RULES: &[&str] = &[
    "",
    "<path>/sample:top/item/note</path>|<path>/sample:top/item/deep/x</path>",
    "<path>/sample:top/item[name='b']</path>|<path>/sample:root-list/v</path>",
    "<path>/sample:top/item/note</path>|<path>/sample:top/item/note</path>",
    "<path>/sample:top/rule</path>|<path>/sample:top/item</path>",
];

const EDITS: &[&str] = &[
    "<top {NS}><item><name>{K}</name><note>{V}</note></item></top>",
    "<top {NS}><item><name>{K}</name><deep><x>{V}</x><y>{K}</y></deep></item></top>",
    "<top {NS}><item><name>{K}</name><deep><x nc:operation='remove'/></deep></item></top>",
    "<top {NS}><item nc:operation='replace'><name>{K}</name></item></top>",
    "<top {NS}><item nc:operation='remove'><name>{K}</name></item></top>",
    "<top {NS}><item><name>{K}</name></item><item><name>x{V}</name></item><name>{V}</name></top>",
    "<top {NS}><rule yang:insert='first'><id>{V}</id></rule></top>",
    "<top {NS}><rule yang:insert='last'><id>{V}</id><text>{K}</text></rule></top>",
    "<top {NS}><rule nc:operation='remove'><id>{V}</id></rule></top>",
    "<root-list {NS}><k>{K}</k><v>{V}</v></root-list>",
    "<root-list {NS} nc:operation='remove'><k>{K}</k></root-list>",
    "<top {NS} nc:operation='replace'><item><name>{K}</name><note>{V}</note></item></top>",
    "<top {NS}><inner><b>{V}</b></inner></top>",
];

#[derive(Debug, Clone)]
enum Step {
    Edit {
        which: usize,
        key: char,
        value: u8,
    },
    Commit,
    /// Which is then taken back.
    ConfirmedCommit,
    Discard,
    RollBack(u8),
    Rules(usize),
    Read {
        reader: usize,
        filter: usize,
        mode: WithDefaults,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop::sample::select(
        &[WithDefaults::Explicit, WithDefaults::ReportAll, WithDefaults::Trim, WithDefaults::ReportAllTagged][..],
    );
    prop_oneof![
        5 => (0..EDITS.len(), prop::char::range('a', 'e'), 0..5_u8)
            .prop_map(|(which, key, value)| Step::Edit { which, key, value }),
        4 => Just(Step::Commit),
        1 => Just(Step::ConfirmedCommit),
        1 => Just(Step::Discard),
        1 => (1..3_u8).prop_map(Step::RollBack),
        1 => (0..RULES.len()).prop_map(Step::Rules),
        8 => (0..3_usize, 0..filters().len(), mode).prop_map(|(reader, filter, mode)| Step::Read { reader, filter, mode }),
    ]
}

fn filters() -> Vec<Option<Filter>> {
    let all = |name: &str| selection(name, Content::Selected);
    let top = |inner| selection("top", Content::Within(inner));
    let named = |name: &str| selection("name", Content::Match(name.to_owned()));
    let xpath = |expression: &str| Filter::XPath {
        expression: expression.to_owned(),
        namespaces: vec![("s".to_owned(), "urn:sample".to_owned())],
    };
    let subtree = |selections| Some(Filter::Subtree(selections));
    vec![
        None,
        subtree(vec![all("top")]),
        subtree(vec![top(vec![all("item")])]),
        subtree(vec![top(vec![all("rule"), all("item")])]),
        subtree(vec![top(vec![selection("item", Content::Within(vec![named("b")]))]), all("root-list")]),
        subtree(vec![top(vec![selection("item", Content::Within(vec![all("note"), all("deep")]))])]),
        subtree(vec![all("root-list")]),
        Some(xpath("/s:top/s:item[s:note]")),
        Some(xpath("/s:top | /s:root-list")),
    ]
}

/// A device with the agent's own caller, who may do everything, and two users.
struct Bench {
    rig: Rig,
    agent: Caller,
    readers: Vec<Caller>,
}

impl Bench {
    fn new(segments: Segments) -> Self {
        let mut rig = Rig::new(Vec::new());
        rig.northbound.segments = segments;
        let agent = rig.open(Client::Agent);
        let mut user = |name: &str| {
            let (user, origin) = (name.to_owned(), "test".to_owned());
            let opening = Opening { user, groups: Vec::new(), client: Client::Netconf, origin };
            rig.northbound.open(opening).unwrap().caller
        };
        let readers = vec![user("ann"), user("bob"), agent.clone()];
        Self { rig, agent, readers }
    }

    fn commit(&mut self, config: &str) {
        self.rig.edit(&self.agent, &config.replace("{NS}", NAMESPACES));
        self.rig.commit(&self.agent).unwrap();
    }

    fn rules(&mut self, which: usize) {
        let hidden: Vec<&str> = RULES[which].split('|').collect();
        let (mut groups, mut lists) = (String::new(), String::new());
        for (at, user) in ["ann", "bob"].into_iter().enumerate() {
            let path = hidden.get(at).filter(|path| !path.is_empty());
            let deny = path.map(|path| format!("<rule><name>deny</name>{path}<action>deny</action></rule>"));
            groups += &format!("<group><name>{user}</name><user-name>{user}</user-name></group>");
            lists += &format!(
                "<rule-list><name>{user}</name><group>{user}</group>{}\
                 <rule><name>all</name><module-name>*</module-name><action>permit</action></rule></rule-list>",
                deny.unwrap_or_default()
            );
        }
        self.commit(&format!(
            "<nacm xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-acm' \
             xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0' nc:operation='replace'>\
             <enable-nacm>true</enable-nacm><groups>{groups}</groups>{lists}</nacm>"
        ));
    }

    fn read(&mut self, reader: usize, filter: Option<Filter>, mode: WithDefaults) -> String {
        let caller = self.readers[reader].clone();
        let request = Request::GetConfig { source: Datastore::Running, filter, with_defaults: mode };
        match self.rig.ask(&caller, request).unwrap() {
            Response::Data(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The same without a look at what is kept.
    fn anew(&self, reader: usize, filter: Option<&Filter>, mode: WithDefaults) -> String {
        let northbound = &self.rig.northbound;
        let print = |view: &View<'_>| view.to_tree().print_xml(mode);
        let running = northbound.datastores.running();
        let bytes = northbound.with_readable(&self.readers[reader], running, filter, mode, print).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Refused or not: there is something to read all the same.
    fn carry_out(&mut self, step: Step) {
        let agent = self.agent.clone();
        match step {
            Step::Edit { which, key, value } => {
                let config = EDITS[which].replace("{NS}", NAMESPACES);
                let config = config.replace("{K}", &key.to_string()).replace("{V}", &value.to_string());
                drop(self.rig.try_edit(&agent, &config));
            }
            Step::Commit => drop(self.rig.commit(&agent)),
            Step::ConfirmedCommit => {
                let confirmed = Some(confirmed::Confirmation::default());
                let confirm = confirmed::Asked { confirmed, persist_id: None };
                let options = CommitOptions { confirm, ..CommitOptions::default() };
                drop(self.rig.ask(&agent, Request::Commit(options)));
                self.read(0, None, WithDefaults::Explicit);
                drop(self.rig.ask(&agent, Request::CancelCommit { persist_id: None }));
            }
            Step::Discard => drop(self.rig.ask(&agent, Request::DiscardChanges)),
            Step::RollBack(count) => {
                let act = "http://cisco.com/ns/yang/Cisco-IOS-XR-cfgmgr-rollback-act";
                let rpc = format!(
                    "<roll-back-configuration-last xmlns='{act}'><count>{count}</count></roll-back-configuration-last>"
                );
                drop(self.rig.invoke(&agent, &rpc));
            }
            Step::Rules(which) => {
                self.rig.ask(&agent, Request::DiscardChanges).unwrap();
                self.rules(which);
            }
            Step::Read { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_would_be_printed(
        steps in prop::collection::vec(step(), 1..40),
        bytes in prop::sample::select(&[300_usize, 1 << 20][..]),
        long in 1..3_usize,
    ) {
        let mut bench = Bench::new(Segments::new(long, bytes));
        for step in steps {
            if let Step::Read { reader, filter, mode } = step {
                let filter = filters().swap_remove(filter);
                let told = bench.read(reader, filter.clone(), mode);
                prop_assert_eq!(told, bench.anew(reader, filter.as_ref(), mode), "{:?} {:?}", filter, mode);
                prop_assert!(bench.rig.northbound.segments.bytes() <= bytes);
            } else {
                bench.carry_out(step);
            }
        }
    }
}

const ENTRIES: u64 = 100;

fn items(notes: &str) -> String {
    let items: String =
        (0..ENTRIES).map(|id| format!("<item><name>n{id:03}</name><note>{notes}</note></item>")).collect();
    format!("<top {{NS}}>{items}</top>")
}

#[test]
fn who_sees_the_same_is_given_what_was_printed_once_and_a_commit_prints_what_it_changes() {
    let mut bench = Bench::new(Segments::default());
    bench.rules(3);
    bench.commit(&items("a"));
    let (ann, bob, agent) = (0, 1, 2);
    let mut printed = 0;
    for (what, reader, expected) in [
        ("the first of all", agent, ENTRIES),
        ("the same again", agent, 0),
        ("one from whom notes are hidden", ann, ENTRIES),
        ("again", ann, 0),
        ("another rule list that says the same is another mask", bob, ENTRIES),
    ] {
        bench.read(reader, None, WithDefaults::Explicit);
        let before = std::mem::replace(&mut printed, bench.rig.northbound.segments.printed());
        assert_eq!(printed - before, expected, "{what}");
    }
    bench.commit("<top {NS}><item><name>n050</name><note>b</note></item><item><name>n0505</name></item></top>");
    for reader in [agent, ann, bob, agent, ann] {
        bench.read(reader, None, WithDefaults::Explicit);
    }
    assert_eq!(bench.rig.northbound.segments.printed() - printed, 3 * 2, "two entries for each of three");
    let elsewhere = Caller { session: SessionId(99), ..bench.readers[ann].clone() };
    bench.readers.push(elsewhere);
    printed = bench.rig.northbound.segments.printed();
    bench.read(3, None, WithDefaults::Explicit);
    assert_eq!(bench.rig.northbound.segments.printed(), printed, "ann's other session sees the same");
}

#[test]
fn what_nobody_has_read_for_a_while_is_let_go_of() {
    let mut bench = Bench::new(Segments::default());
    bench.commit(&items("a"));
    bench.read(2, None, WithDefaults::Explicit);
    bench.read(2, None, WithDefaults::ReportAll);
    let both = bench.rig.northbound.segments.bytes();
    let seen = bench.rig.northbound.segments.readings();
    bench.read(2, None, WithDefaults::Explicit);
    bench.rig.northbound.let_go_of_segments(seen);
    let one = bench.rig.northbound.segments.bytes();
    assert!(one > 0 && one < both);
    bench.rig.northbound.let_go_of_segments(seen + 1);
    assert_eq!(bench.rig.northbound.segments.bytes(), 0);
}
