use super::*;
use crate::northbound::provider::{Change, Configuration, Edit};

/// A configuration of whole subtrees by their paths.
struct Tree(Vec<(String, Element)>);

impl Configuration for Tree {
    fn subtree(&self, path: &str) -> Option<Element> {
        self.0.iter().find(|(at, _)| at == path).map(|(_, element)| element.clone())
    }
}

fn fleet() -> (Fleet, Arc<Commits>) {
    let commits = Arc::new(Commits::default());
    let places = Places::anywhere();
    (Fleet::new(mpsc::channel(1).0, places, Arc::clone(&commits)), commits)
}

fn container(name: &str, leaves: &[(&'static str, &str)]) -> (String, Element) {
    let mut children = vec![Element::leaf("name", name)];
    children.extend(leaves.iter().map(|(leaf, value)| Element::leaf(*leaf, value)));
    (path_of(name), Element::node("container", children))
}

fn template(name: &str, command: &str) -> (String, Element) {
    let children = vec![Element::leaf("name", name), Element::leaf("command", command)];
    (format!("{ROOT}/template[name='{name}']"), Element::node("template", children))
}

fn changed(paths: &[&str]) -> Vec<Change> {
    let modified = |path: &&str| Change { path: (*path).to_owned(), edit: Edit::Modify { value: "x".into() } };
    paths.iter().map(modified).collect()
}

fn effects(fleet: &Fleet) -> Vec<String> {
    let check = fleet.checked.lock().unwrap();
    let said =
        check.touched.iter().map(|(name, effect, because)| format!("{name} {} {}", effect.yang(), because.join(",")));
    said.chain([format!("{} untouched", check.untouched)]).collect()
}

#[test]
fn a_change_of_a_template_concerns_those_who_use_it_and_nobody_else() {
    let (mut fleet, commits) = fleet();
    let users = [container("a@1", &[("template", "ioc")]), container("b", &[("command", "run")])];
    let mut tree = Tree([vec![template("ioc", "ioc %i")], users.to_vec()].concat());
    let changes = changed(&[&tree.0[0].0, &tree.0[1].0, &tree.0[2].0]);
    fleet.validate(&Proposal { changes: &changes, config: &tree }).unwrap();
    fleet.apply(&Proposal { changes: &changes, config: &tree });
    assert_eq!(commits.fetch().len(), 2);
    tree.0[0] = template("ioc", "ioc --fast %i");
    let changes = changed(&[&format!("{}/command", tree.0[0].0)]);
    fleet.validate(&Proposal { changes: &changes, config: &tree }).unwrap();
    assert_eq!(effects(&fleet), ["a@1 restart command", "1 untouched"]);
    fleet.apply(&Proposal { changes: &changes, config: &tree });
    let configured = commits.fetch();
    assert_eq!(configured.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a@1"]);
}

#[test]
fn deleting_everything_deletes_every_container() {
    let (mut fleet, commits) = fleet();
    let tree = Tree(vec![container("a", &[("command", "run")]), container("b", &[("command", "run")])]);
    let changes = changed(&[&tree.0[0].0, &tree.0[1].0]);
    fleet.apply(&Proposal { changes: &changes, config: &tree });
    commits.fetch();
    let gone = [Change { path: ROOT.to_owned(), edit: Edit::Delete }];
    fleet.validate(&Proposal { changes: &gone, config: &Tree(vec![]) }).unwrap();
    assert_eq!(effects(&fleet), ["a remove ", "b remove ", "0 untouched"]);
    fleet.apply(&Proposal { changes: &gone, config: &Tree(vec![]) });
    assert!(commits.fetch().iter().all(|(_, resolved)| resolved.is_none()));
}

#[test]
fn containers_that_would_wait_for_each_other_are_refused_by_name() {
    let (fleet, _) = fleet();
    let tree = Tree(vec![
        container("a", &[("command", "run"), ("after", "b")]),
        container("b", &[("command", "run"), ("before", "c")]),
        container("c", &[("command", "run"), ("before", "b")]),
    ]);
    let changes = changed(&[&tree.0[0].0, &tree.0[1].0, &tree.0[2].0]);
    let refusals = fleet.validate(&Proposal { changes: &changes, config: &tree }).unwrap_err();
    assert_eq!(
        refusals[0].to_string(),
        "containers would wait for each other for ever: b after c after b; remove one `after` or `before`"
    );
    assert_eq!(refusals[0].path, Some(format!("{}/after", path_of("b"))));
}

#[test]
fn a_filter_for_one_container_asks_for_that_one() {
    let selection = |name: &str, content| Selection { namespace: None, name: name.into(), attributes: vec![], content };
    let named = |rest: Vec<Selection>| {
        let only = selection("name", Content::Match("a".into()));
        let entry = selection("container", Content::Within([vec![only], rest].concat()));
        asked(Some(&selection("containers-state", Content::Within(vec![entry]))))
    };
    let whole = named(vec![]);
    assert_eq!((whole.only.as_deref(), whole.processes, whole.exits, whole.host), (Some("a"), true, true, false));
    let little = named(vec![selection("state", Content::Selected)]);
    assert_eq!((little.processes, little.exits), (false, false));
    assert_eq!(asked(None), Ask::everything());
}
