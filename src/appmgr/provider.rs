//! The app manager's face to the northbound: reads registrations and checksums from commits, hands calls to its driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};

use super::dependency;
use super::driver::Message;
use super::manager::Verb;
use super::registration::{AppName, Registration};
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

const REGISTRATIONS: &str = "/Cisco-IOS-XR-um-appmgr-cfg:appmgr";
const CHECKSUMS: &str = "/Cisco-IOS-XR-um-script-cfg:script";
const STATE: &str = "/Cisco-IOS-XR-appmgr-oper:appmgr";

const VERBS: [(&str, Verb); 6] = [
    ("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-activate", Verb::Activate),
    ("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-deactivate", Verb::Deactivate),
    ("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-start", Verb::Start),
    ("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-stop", Verb::Stop),
    ("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-kill", Verb::Kill),
    ("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-restart", Verb::Restart),
];

/// What a commit says to the app manager.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configured {
    pub registrations: Vec<(AppName, Option<Registration>)>,
    pub checksums: Vec<(String, Option<String>)>,
}

/// Where a commit leaves what it says, and the driver finds it. An apply can neither refuse nor wait, so what was not
/// yet fetched is overwritten name by name: never more than the configuration holds.
#[derive(Debug, Default)]
pub struct Commits {
    left: Mutex<Option<Configured>>,
    arrived: Notify,
}

impl Commits {
    fn leave(&self, configured: Configured) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = left.get_or_insert_default();
        for (name, registration) in configured.registrations {
            merged.registrations.retain(|(known, _)| *known != name);
            merged.registrations.push((name, registration));
        }
        for (script, sum) in configured.checksums {
            merged.checksums.retain(|(known, _)| *known != script);
            merged.checksums.push((script, sum));
        }
        self.arrived.notify_one();
    }

    /// What was left since the last time.
    pub fn fetch(&self) -> Option<Configured> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until something may have been left.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// Returns when the script of that name may be started on that user's request: some are fetched anew before.
pub type BeforeRun = Arc<dyn Fn(String, String) -> Later<()> + Send + Sync>;

/// The app manager as the northbound sees it.
pub struct AppManager {
    driver: mpsc::Sender<Message>,
    before_run: BeforeRun,
    /// As of the last apply: the names known, and who waits for whom.
    after: dependency::After,
    executables: BTreeMap<AppName, String>,
    scripts: BTreeSet<String>,
    commits: Arc<Commits>,
}

impl AppManager {
    pub fn new(driver: mpsc::Sender<Message>, commits: Arc<Commits>, before_run: BeforeRun) -> Self {
        let (after, executables) = (BTreeMap::new(), BTreeMap::new());
        Self { driver, before_run, after, executables, scripts: BTreeSet::new(), commits }
    }

    fn read(&self, proposal: &Proposal<'_>) -> Configured {
        let known: BTreeSet<String> = self.after.keys().map(|name| name.as_str().to_owned()).collect();
        let registrations = Touched {
            root: REGISTRATIONS,
            list: "/process-scripts/process-script",
            key: "process-script-name",
            known: &known,
        };
        let checksums =
            Touched { root: CHECKSUMS, list: "/processes/process", key: "process-name", known: &self.scripts };
        Configured {
            registrations: registrations
                .entries(proposal)
                .map(|(name, entry)| (AppName::new(name), entry.as_ref().and_then(Registration::from_element)))
                .collect(),
            checksums: checksums
                .entries(proposal)
                .map(|(name, entry)| {
                    let sum =
                        entry.as_ref().and_then(|entry| entry.child("checksum")?.text_of("sha256").map(canonical));
                    (name, sum)
                })
                .collect(),
        }
    }
}

/// As `sha256sum` prints it, whatever was pasted: the first word, in lower case.
fn canonical(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase()
}

impl Provider for AppManager {
    fn name(&self) -> &'static str {
        "appmgr"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[REGISTRATIONS]
    }

    fn watched_roots(&self) -> &'static [&'static str] {
        &[CHECKSUMS]
    }

    fn augmented_by(&self) -> &'static [&'static str] {
        &["procyon-appmgr"]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[STATE]
    }

    fn calls(&self) -> &'static [&'static str] {
        const PATHS: [&str; 6] = [VERBS[0].0, VERBS[1].0, VERBS[2].0, VERBS[3].0, VERBS[4].0, VERBS[5].0];
        &PATHS
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let configured = self.read(proposal);
        let mut refusals: Vec<Refusal> = configured
            .registrations
            .iter()
            .filter_map(|(_, registration)| registration.as_ref()?.check().err())
            .collect();
        let mut after = self.after.clone();
        for (name, registration) in &configured.registrations {
            match registration {
                Some(registration) => after.insert(name.clone(), registration.after.clone()),
                None => after.remove(name),
            };
        }
        if let Some(cycle) = dependency::cycle(&after) {
            refusals.push(start_cycle(&cycle, &configured));
        }
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let configured = self.read(proposal);
        for (name, registration) in &configured.registrations {
            match registration {
                Some(registration) => self.after.insert(name.clone(), registration.after.clone()),
                None => self.after.remove(name),
            };
            match registration.as_ref().and_then(|registration| registration.executable.clone()) {
                Some(executable) => self.executables.insert(name.clone(), executable),
                None => self.executables.remove(name),
            };
        }
        for (script, sum) in &configured.checksums {
            match sum {
                Some(_) => self.scripts.insert(script.clone()),
                None => self.scripts.remove(script),
            };
        }
        self.commits.leave(configured);
    }

    fn state(&self, _: &'static str, query: StateQuery) -> Later<Vec<Element>> {
        let driver = self.driver.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            driver.send(Message::View { only: only_app(&query), reply }).await.map_err(|_| gone())?;
            Ok(vec![answer.await.map_err(|_| gone())?])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let driver = self.driver.clone();
        let verb = VERBS.iter().find(|(path, _)| *path == call.path).map(|(_, verb)| *verb);
        let name = call.input.text_of("name").map(AppName::new);
        let begins = matches!(verb, Some(Verb::Activate | Verb::Start | Verb::Restart));
        let executable = name.as_ref().and_then(|app| self.executables.get(app)).filter(|_| begins).cloned();
        let before_run = Arc::clone(&self.before_run);
        Box::pin(async move {
            let (Some(verb), Some(app)) = (verb, name) else {
                return Err(Refusal::new(Kind::MissingElement { element: "name".into() }, "which app is not said"));
            };
            if let Some(executable) = executable {
                before_run(executable, call.caller.user.clone()).await?;
            }
            let (reply, answer) = oneshot::channel();
            let message = Message::Call { verb, app, by: call.caller.user, reply };
            driver.send(message).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?.map(|()| Vec::new())
        })
    }
}

fn gone() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the app manager is shutting down")
}

fn start_cycle(cycle: &[AppName], configured: &Configured) -> Refusal {
    let mut names: Vec<&str> = cycle.iter().map(AppName::as_str).collect();
    names.extend(names.first().copied());
    let culprit = configured
        .registrations
        .iter()
        .filter_map(|(name, registration)| registration.as_ref().filter(|_| cycle.contains(name)))
        .next();
    let refusal = Refusal::new(
        Kind::OperationFailed,
        format!("apps would wait for each other for ever: {}", names.join(" after ")),
    )
    .mend("remove one `after`")
    .tagged("start-cycle");
    match culprit {
        Some(registration) => refusal.at(registration.path("procyon-appmgr:after")),
        None => refusal,
    }
}

/// The one app that a filter asks for, if it asks for one by name.
fn only_app(query: &StateQuery) -> Option<String> {
    use crate::northbound::filter::{Content, Selection};
    fn within<'s>(selection: &'s Selection, name: &str) -> Option<&'s Selection> {
        match &selection.content {
            Content::Within(children) => match children.as_slice() {
                [only] if only.name == name => Some(only),
                _ => None,
            },
            Content::Selected | Content::Match(_) => None,
        }
    }
    let entry = within(within(query.selection.as_ref()?, "process-scripts")?, "process-script")?;
    let Content::Within(children) = &entry.content else { return None };
    children.iter().find(|child| child.name == "name").and_then(|child| match &child.content {
        Content::Match(name) => Some(name.clone()),
        Content::Selected | Content::Within(_) => None,
    })
}

/// The entries of one list that a commit touched.
struct Touched<'a> {
    root: &'static str,
    list: &'static str,
    key: &'static str,
    /// Entries that were there before: when something above the list went, all of them are touched.
    known: &'a BTreeSet<String>,
}

impl Touched<'_> {
    fn entries<'p>(&'p self, proposal: &'p Proposal<'_>) -> impl Iterator<Item = (String, Option<Element>)> + 'p {
        let list = format!("{}{}", self.root, self.list);
        let mut names = BTreeSet::new();
        let mut is_all = false;
        for change in proposal.changes.iter().filter(|change| is_below(&change.path, self.root)) {
            match change.path.strip_prefix(list.as_str()).map(|rest| key_of(rest, self.key)) {
                Some(Some(name)) => drop(names.insert(name)),
                // Another list of the same container, or a node above: what went with it is not listed.
                Some(None) | None => is_all |= list.starts_with(change.path.as_str()),
            }
        }
        if is_all {
            names.extend(self.known.iter().cloned());
            let below = proposal.config.subtree(self.root);
            names.extend(below.iter().flat_map(|root| self.names_in(root)));
        }
        names.into_iter().map(move |name| {
            let path = format!("{list}[{}={}]", self.key, quoted(&name));
            let entry = proposal.config.subtree(&path);
            (name, entry)
        })
    }

    fn names_in(&self, root: &Element) -> Vec<String> {
        let mut steps = self.list.trim_start_matches('/').split('/');
        let (Some(container), Some(entry)) = (steps.next(), steps.next()) else { return Vec::new() };
        let entries = root.child(container).map(|container| container.children_named(entry));
        entries.into_iter().flatten().filter_map(|entry| entry.text_of(self.key).map(str::to_owned)).collect()
    }
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The key in `[key='value']...`, the rest of a path behind its list.
fn key_of(rest: &str, key: &str) -> Option<String> {
    let predicate = rest.strip_prefix('[')?.strip_prefix(key)?.strip_prefix('=')?;
    let quote = predicate.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let value = &predicate[1..];
    value.find(quote).map(|end| value[..end].to_owned())
}

fn quoted(name: &str) -> String {
    let quote = if name.contains('\'') { '"' } else { '\'' };
    format!("{quote}{name}{quote}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::provider::{Change, Configuration, Edit};

    struct Tree(Vec<(&'static str, Element)>);

    impl Configuration for Tree {
        fn subtree(&self, path: &str) -> Option<Element> {
            self.0.iter().find(|(at, _)| *at == path).map(|(_, element)| element.clone())
        }
    }

    fn app_entry(name: &str, after: &str) -> Element {
        let mut children = vec![Element::leaf("process-script-name", name), Element::leaf("executable", "x.py")];
        if !after.is_empty() {
            children.push(Element::leaf("after", after));
        }
        Element::node("process-script", children)
    }

    fn created(path: &str) -> Change {
        Change { path: path.to_owned(), edit: Edit::Create { value: None } }
    }

    const A: &str = "/Cisco-IOS-XR-um-appmgr-cfg:appmgr/process-scripts/process-script[process-script-name='aa']";
    const B: &str = "/Cisco-IOS-XR-um-appmgr-cfg:appmgr/process-scripts/process-script[process-script-name='bb']";

    fn app_manager() -> (AppManager, Arc<Commits>) {
        let commits = Arc::new(Commits::default());
        let before_run: BeforeRun = Arc::new(|_, _| Box::pin(async { Ok(()) }));
        (AppManager::new(mpsc::channel(1).0, Arc::clone(&commits), before_run), commits)
    }

    #[test]
    fn a_commit_becomes_registrations_and_checksums() {
        let (mut provider, commits) = app_manager();
        let sum = "/Cisco-IOS-XR-um-script-cfg:script/processes/process[process-name='x.py']";
        let tree = Tree(vec![
            (A, app_entry("aa", "")),
            (
                sum,
                Element::node("process", vec![Element::node("checksum", vec![Element::leaf("sha256", "AB12  x.py")])]),
            ),
        ]);
        let changes = [created(A), created(&format!("{A}/executable")), created(&format!("{sum}/checksum/sha256"))];
        provider.apply(&Proposal { changes: &changes, config: &tree });
        let configured = commits.fetch().unwrap();
        assert_eq!(configured.registrations.len(), 1);
        assert_eq!(configured.checksums, [("x.py".to_owned(), Some("ab12".to_owned()))]);
    }

    #[test]
    fn deleting_the_whole_container_deletes_every_registration() {
        let (mut provider, commits) = app_manager();
        let tree = Tree(vec![(A, app_entry("aa", "")), (B, app_entry("bb", ""))]);
        provider.apply(&Proposal { changes: &[created(A), created(B)], config: &tree });
        let gone = Change { path: REGISTRATIONS.to_owned(), edit: Edit::Delete };
        provider.apply(&Proposal { changes: &[gone], config: &Tree(vec![]) });
        let configured = commits.fetch().unwrap();
        assert_eq!(commits.fetch(), None);
        assert_eq!(configured.registrations, [(AppName::new("aa"), None), (AppName::new("bb"), None)]);
    }

    #[test]
    fn a_start_cycle_is_refused_and_named() {
        let (mut provider, _commits) = app_manager();
        let tree = Tree(vec![(A, app_entry("aa", "bb"))]);
        provider.apply(&Proposal { changes: &[created(A)], config: &tree });
        let tree = Tree(vec![(B, app_entry("bb", "aa"))]);
        let refusals = provider.validate(&Proposal { changes: &[created(B)], config: &tree }).unwrap_err();
        assert_eq!(refusals.len(), 1);
        assert_eq!(
            refusals[0].to_string(),
            "apps would wait for each other for ever: aa after bb after aa; remove one `after`"
        );
        assert_eq!(refusals[0].path.as_deref(), Some(format!("{B}/procyon-appmgr:after").as_str()));
    }
}
