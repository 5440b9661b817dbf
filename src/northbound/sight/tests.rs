//! Random rules on random trees: what a mask lets through is what RFC 8341 section 3.4.5 says of each node by itself.

use proptest::prelude::*;

use super::*;
use crate::northbound::filter::{Content, Filter};
use crate::northbound::nacm::DefaultDeny;
use crate::yang::select;
use crate::yang::testing::{selection, text, tree};
use crate::yang::tree::{At, Tree};
use crate::yang::value::Element;

const PATHS: &[&str] = &[
    "/",
    "/sample:top",
    "/sample:top/name",
    "/sample:top/item",
    "/sample:top/item[name='a']",
    "/sample:top/item[name=$USER]",
    "/sample:top/item[name='a']/deep",
    "/sample:top/item/note",
    "/sample:top/item[name='b']/note",
    "/sample:top/item/name",
    "/sample:top/item/more:colour",
    "/sample:top/tag[.='x']",
    "/sample:top/pair[left='l'][right='r']",
    "/sample:top/pair[right='q']",
    "/sample:top/host",
    "/sample:top/inner",
    "/sample:top/on/level",
    "/sample:root-list[k='1']/v",
    "/sample:top-leaf",
    "/sample:top[",
];

const PIECES: &[&str] = &[
    "<name>n</name>",
    "<item><name>a</name><note>n</note><deep><x>1</x><y>2</y></deep></item>",
    "<item><name>b</name><note>n</note><colour xmlns='urn:more'>blue</colour></item>",
    "<item><name>ann</name><port>1</port></item>",
    "<tag>x</tag>",
    "<tag>y</tag>",
    "<pair><left>l</left><right>r</right></pair>",
    "<pair><left>l</left><right>q</right></pair>",
    "<host>h</host>",
    "<inner><a>in</a></inner>",
    "<on><level>1</level></on>",
    "<plus xmlns='urn:more'><size>3</size></plus>",
];

prop_compose! {
    fn rule()(
        name in 0..1_000_000_u32,
        path in prop::option::weighted(0.85, prop::sample::select(PATHS)),
        module in prop::sample::select(&["*", "*", "sample", "more"][..]),
        access in prop::sample::select(&["*", "read", "read update", "create update"][..]),
        permits in any::<bool>(),
    ) -> Element {
        let mut children = vec![
            Element::leaf("name", name),
            Element::leaf("module-name", module),
            Element::leaf("access-operations", access),
            Element::leaf("action", if permits { "permit" } else { "deny" }),
        ];
        children.extend(path.map(|path| Element::leaf("path", path)));
        Element::node("rule", children)
    }
}

prop_compose! {
    /// Rules of a group that ann is in.
    fn rules()(rules in prop::collection::vec(rule(), 0..6), reads in any::<bool>()) -> Nacm {
        let list = [Element::leaf("name", "l"), Element::leaf("group", "g")].into_iter().chain(rules).collect();
        let group = vec![Element::leaf("name", "g"), Element::leaf("user-name", "ann")];
        Nacm::from_element(Some(&Element::node(
            "nacm",
            vec![
                Element::leaf("read-default", if reads { "permit" } else { "deny" }),
                Element::node("groups", vec![Element::node("group", group)]),
                Element::node("rule-list", list),
            ],
        )))
    }
}

prop_compose! {
    fn data()(pieces in prop::sample::subsequence(PIECES, 0..PIECES.len())) -> Tree {
        let mut tree = tree(&format!(
            "<top xmlns='urn:sample'>{}</top><root-list xmlns='urn:sample'><k>1</k><v>v</v></root-list>\
             <root-list xmlns='urn:sample'><k>2</k><v>v</v></root-list><top-leaf xmlns='urn:sample'>t</top-leaf>",
            pieces.concat()
        ));
        tree.validate_config().unwrap();
        tree
    }
}

/// What is left when each node is put to the rules by its path, and goes with all below it when they deny it.
fn pruned_naively(nacm: &Nacm, subject: &Subject, tree: &Tree) -> Tree {
    fn visit(nacm: &Nacm, subject: &Subject, out: &mut Tree, parent: Option<At>, node: Node<'_>) {
        let path = DataPath::parse(&node.path()).unwrap();
        if nacm.data(subject, Access::Read, &path, DefaultDeny::Nothing).is_permit() {
            let at = out.copy(parent, node, false);
            // Keys are as readable as their entry.
            let children = node.children().filter(|child| !child.schema().is_key());
            children.for_each(|child| visit(nacm, subject, out, Some(at), child));
        }
    }
    let mut left = Tree::new(tree.schema());
    tree.roots().for_each(|top| visit(nacm, subject, &mut left, None, top));
    left
}

fn filters() -> Vec<Filter> {
    let all = |name: &str| selection(name, Content::Selected);
    let equal = |name: &str, text: &str| selection(name, Content::Match(text.to_owned()));
    let top = |inner| Filter::Subtree(vec![selection("top", Content::Within(inner))]);
    let item = |inner| selection("item", Content::Within(inner));
    let xpath = |expression: &str| Filter::XPath {
        expression: expression.to_owned(),
        namespaces: vec![("s".to_owned(), "urn:sample".to_owned())],
    };
    vec![
        top(vec![item(vec![equal("note", "n")])]),
        top(vec![item(vec![equal("name", "a"), all("deep")])]),
        top(vec![equal("name", "n"), all("tag"), item(vec![equal("name", "b"), all("note")])]),
        top(vec![equal("tag", "x"), all("inner")]),
        Filter::Subtree(vec![equal("top-leaf", "t"), all("root-list")]),
        xpath("/s:top/s:item[s:note = 'n']"),
        xpath("//s:deep/.."),
        xpath("/s:root-list[s:v] | /s:top[s:name]/s:tag"),
    ]
}

proptest! {
    #[test]
    fn what_is_seen_is_what_the_rules_say_of_each_node(nacm in rules(), data in data()) {
        let subject = nacm.subject("ann", &[], false);
        let naive = pruned_naively(&nacm, &subject, &data);
        let (masks, nacm) = (Masks::default(), Arc::new(nacm));
        match Reader::new(&nacm, subject, &masks) {
            None => prop_assert_eq!(text(&naive), text(&data), "nothing is said to be hidden"),
            Some(reader) => {
                let sees = |node: Node<'_>| reader.sees(node);
                prop_assert_eq!(text(&select::prune(&data, &sees)), text(&naive));
                for filter in filters() {
                    let seen = select::with_view(&data, Some(&filter), Some(&sees), false, |view| view.to_tree()).unwrap();
                    let expected = select::select(&naive, &filter).unwrap();
                    prop_assert_eq!(text(&seen), text(&expected), "{:?}", filter);
                }
            }
        }
    }
}

#[test]
fn the_defaults_of_the_schema_are_in_the_mask() {
    let nacm = Arc::new(Nacm::default());
    let masks = Masks::default();
    let reader = Reader::new(&nacm, nacm.subject("ann", &[], false), &masks).expect("something may be hidden");
    let data = tree("<top xmlns='urn:sample'><name>n</name></top>");
    // Nothing of the sample is marked, so all of it is seen without a look at its nodes.
    assert!(data.roots().all(|root| reader.sees(root) == Seen::Whole));
}

#[test]
fn people_of_the_same_groups_share_a_mask() {
    let masks = Masks::default();
    assert!(Arc::ptr_eq(&masks.of(&[0, 2]), &masks.of(&[0, 2])));
    assert!(!Arc::ptr_eq(&masks.of(&[0]), &masks.of(&[1])));
    for list in 0..3 * MASKS_MAX {
        masks.of(&[list]);
    }
    assert!(masks.known.borrow().len() <= MASKS_MAX);
}
