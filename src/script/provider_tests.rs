//! The northbound face, asked as the northbound asks.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::northbound::filter::{Content, Selection};
use crate::northbound::provider::Configuration;
use crate::northbound::{Caller, Client, SessionId};
use crate::script::driver::{Settings, open};
use crate::script::fetch::FetchLimits;
use crate::script::history::{HistoryLog, HistoryRow, to_line};
use crate::script::history_file::HistoryFile;
use crate::script::name::ScriptKey;
use crate::script::plan::InUse;

struct Nobody;

impl InUse for Nobody {
    fn apps_using(&self, _script_type: ScriptType, _name: &ScriptName) -> Vec<String> {
        Vec::new()
    }
}

struct Tree(Option<Element>);

impl Configuration for Tree {
    fn subtree(&self, path: &str) -> Option<Element> {
        assert_eq!(path, config::ROOT);
        self.0.clone()
    }
}

fn tree(name: &str, sum: &str) -> Tree {
    let checksum = Element::node("checksum", vec![Element::leaf("sha256", sum)]);
    let process = Element::node("process", vec![Element::leaf("process-name", name.to_owned()), checksum]);
    Tree(Some(Element::node("script", vec![Element::node("processes", vec![process])])))
}

struct Bench {
    root: TempDir,
    provider: ScriptProvider,
    _stop: tokio_util::sync::DropGuard,
}

impl Bench {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let shelf = root.path().join("harddisk/mirror/script-mgmt/process");
        std::fs::create_dir_all(&shelf).unwrap();
        let body = "'''Says hello.\n\nArguments:\n  --name NAME  whom\n'''\n";
        std::fs::write(shelf.join("process-script.py"), body).unwrap();
        let mut history = HistoryFile::new(root.path().join("history"));
        let row = HistoryRow {
            action: crate::script::history::Action::New,
            time: "2021-08-24T10:44:53Z".parse::<Timestamp>().unwrap(),
            checksum: Some(Sha256::of(body.as_bytes())),
            description: "User action IN_CLOSE_WRITE".to_owned(),
        };
        let key = ScriptKey::new(ScriptType::Process, ScriptName::parse("process-script.py").unwrap());
        history.append(&[to_line(&key, &row)]).unwrap();
        let settings = Settings {
            harddisk: root.path().join("harddisk"),
            limits: FetchLimits::default(),
            extra_certificates: None,
        };
        let (handle, driver, _events) = open(settings, Box::new(history)).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(driver.run(Arc::new(Nobody), stop.clone()));
        Self { root, provider: ScriptProvider::new(handle, TimeZone::UTC, no_runs()), _stop: stop.drop_guard() }
    }

    fn shelf(&self) -> PathBuf {
        self.root.path().join("harddisk/mirror/script-mgmt/process")
    }

    async fn state(&self, selection: Option<Selection>) -> String {
        let elements = self.provider.state(views::ROOT, StateQuery { selection }).await.unwrap();
        elements.iter().map(|element| drawn(element, 0)).collect()
    }

    async fn call(&self, path: &'static str, input: Vec<Element>) -> Result<String, Refusal> {
        let caller = Caller {
            session: SessionId(1),
            user: "admin".to_owned(),
            groups: Vec::new(),
            client: Client::Netconf,
            origin: "local".to_owned(),
        };
        let call = Call { caller, path: path.to_owned(), input: Element::node("rpc", input) };
        let output = self.provider.call(call).await?;
        Ok(output.iter().map(|element| drawn(element, 0)).collect())
    }
}

fn drawn(element: &Element, depth: usize) -> String {
    let text = element.text.as_ref().map(|text| format!(" = {text:?}")).unwrap_or_default();
    let children: String = element.children.iter().map(|child| drawn(child, depth + 1)).collect();
    format!("{}{}{text}\n{children}", "  ".repeat(depth), element.name)
}

fn select(names: &[&str], content: Content) -> Selection {
    let content = match names {
        [_] => content,
        [_, rest @ ..] => Content::Within(vec![select(rest, content)]),
        [] => unreachable!("a selection has a name"),
    };
    Selection { namespace: None, name: names[0].to_owned(), attributes: Vec::new(), content }
}

/// Runs are somebody else's.
fn no_runs() -> Executions {
    Arc::new(|_| Box::pin(async { Ok(Element::node("execution", Vec::new())) }))
}

#[tokio::test]
async fn the_detail_view_shows_what_the_guide_shows() {
    let bench = Bench::start().await;
    let filter = select(&["script", "status", "type", "process-script", "detail"], Content::Selected);
    insta::assert_snapshot!(bench.state(Some(filter)).await, @r#"
    script
      status
        type
          process-script
            detail
              status-detail
                status-summary
                  last-action = "NEW"
                  last-action-time = "Tue Aug 24 10:44:53 2021"
                  script-name = "process-script.py"
                  script-type = "process"
                  status = "Config Checksum"
                checksum = "401a5010a10cb12429c1b02a1462321e1738036782b7d09af1251b0a379539f7"
                script-description = "Says hello."
                script-arguments = "--name NAME  whom"
                status-history
                  action = "NEW"
                  checksum = "401a5010a10cb12429c1b02a1462321e1738036782b7d09af1251b0a379539f7"
                  description = "User action IN_CLOSE_WRITE"
                  time-stamp = "Tue Aug 24 10:44:53 2021"
    "#);
}

#[tokio::test]
async fn every_view_is_there_and_only_what_is_asked_for_is_made() {
    let bench = Bench::start().await;
    let all = bench.state(None).await;
    for view in ["summary", "detail", "reverse", "status-names", "type"] {
        assert!(all.contains(&format!("    {view}\n")), "{view} is missing: {all}");
    }
    assert_eq!(bench.state(Some(select(&["script", "execution"], Content::Selected))).await, "script\n  execution\n");
    let summary = bench.state(Some(select(&["script", "status", "summary"], Content::Selected))).await;
    assert!(!summary.contains("detail"), "{summary}");
    let last = select(&["script", "status", "lasts", "last", "last-num"], Content::Match("1".to_owned()));
    let last = bench.state(Some(last)).await;
    assert!(last.contains("last-num = \"1\"") && last.contains("process-script.py"), "{last}");
}

#[tokio::test]
async fn a_commit_turns_the_status_at_once() {
    let mut bench = Bench::start().await;
    let sum = Sha256::of(&std::fs::read(bench.shelf().join("process-script.py")).unwrap());
    let summary = || Some(select(&["script", "status", "summary"], Content::Selected));
    assert!(bench.state(summary()).await.contains("status = \"Config Checksum\""));
    for (sum, status) in [(sum, "Ready"), (Sha256::of(b"other"), "Checksum Mismatch")] {
        let config = tree("process-script.py", &sum.to_string().to_uppercase());
        let proposal = Proposal { changes: &[], config: &config };
        assert_eq!(bench.provider.validate(&proposal), Ok(()));
        bench.provider.prepare(&proposal).unwrap();
        bench.provider.apply(&proposal);
        let shown = bench.state(summary()).await;
        assert!(shown.contains(&format!("status = {status:?}")), "{shown}");
    }
    bench.provider.apply(&Proposal { changes: &[], config: &Tree(None) });
    assert!(bench.state(summary()).await.contains("status = \"Config Checksum\""));
}

#[tokio::test]
async fn a_checksum_of_a_script_that_is_not_there_is_accepted_and_a_wrong_one_is_not() {
    let bench = Bench::start().await;
    let verdict = |config: &Tree| bench.provider.validate(&Proposal { changes: &[], config });
    assert_eq!(verdict(&tree("absent.py", &Sha256::of(b"x").to_string())), Ok(()));
    let refusals = verdict(&tree("absent.py", "123")).unwrap_err();
    assert_eq!(refusals[0].kind, Kind::InvalidValue);
    assert!(refusals[0].path.as_deref().unwrap().ends_with("process[process-name='absent.py']/checksum/sha256"));
}

#[tokio::test]
async fn add_and_remove_answer_as_the_router_does() {
    let bench = Bench::start().await;
    std::fs::write(bench.root.path().join("harddisk/a.py"), "").unwrap();
    let source = || vec![Element::leaf("script-type", "process"), Element::leaf("source", "/harddisk:/")];
    let mut input = source();
    input.push(Element::leaf("script-name", "a.py"));
    insta::assert_snapshot!(bench.call(ADD, input).await.unwrap(), @r#"
    script-add-response
      responses
        script-name = "a.py"
        response = "a.py has been added to the script repository"
        status = "True"
    "#);
    let checked = |sum: Sha256| {
        let entry = vec![
            Element::leaf("script-name", "a.py"),
            Element::leaf("checksum-type", "SHA256"),
            Element::leaf("checksum", sum),
        ];
        let mut input = source();
        input.push(Element::node("script-checksums", entry));
        input
    };
    let answer = bench.call(ADD_CHECKSUM, checked(Sha256::of(b""))).await.unwrap();
    assert!(answer.starts_with("script-add-checksum-response\n"), "{answer}");
    let refusal = bench.call(ADD_CHECKSUM, checked(Sha256::of(b"x"))).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::InvalidValue);
    insta::assert_snapshot!(refusal, @"nothing was added: checksum of `a.py` is wrong: expected 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, found e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let gone = || vec![Element::leaf("script-type", "process"), Element::leaf("script-name", "a.py")];
    insta::assert_snapshot!(bench.call(REMOVE, gone()).await.unwrap(), @r#"
    script-remove-response
      responses
        script-name = "a.py"
        response = "a.py has been deleted from the script repository"
        status = "True"
    "#);
    assert_eq!(bench.call(REMOVE, gone()).await.unwrap_err().kind, Kind::DataMissing);
}

#[tokio::test]
async fn a_call_that_cannot_be_meant_is_told_why() {
    let bench = Bench::start().await;
    let with = |script_type: &str, source: &str, names: &[&str], extra: Option<(&'static str, &str)>| {
        let mut input = vec![Element::leaf("script-type", script_type), Element::leaf("source", source)];
        input.extend(names.iter().map(|name| Element::leaf("script-name", name)));
        input.extend(extra.map(|(leaf, value)| Element::leaf(leaf, value)));
        input
    };
    let eleven = ["a.py"; 11];
    let cases = [
        with("snmp", "harddisk:/", &["a.py"], None),
        with("process", "ftp://192.0.2.0/x", &["a.py"], None),
        with("process", "harddisk:/", &["a/b.py", "c"], None),
        with("process", "harddisk:/", &eleven, None),
        with("process", "harddisk:/", &["a.py"], Some(("vrf", "blue"))),
        with("process", "harddisk:/", &["a.py"], Some(("location", "0/1/CPU0"))),
        with("process", "harddisk:/", &["absent.py"], None),
    ];
    let mut told = Vec::new();
    for input in cases {
        told.push(bench.call(ADD, input).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    snmp scripts are not supported; use exec, process, eem, config or precommit
    scheme `ftp` is not supported; give a folder like http://192.0.2.0/scripts, https://192.0.2.0/scripts or harddisk:/scripts
    script name `a/b.py` holds a path; name the file alone, like `process-script.py`; script name `c` does not end in `.py`; scripts are Python files, like `process-script.py`
    11 scripts are named; at most 10 are allowed in one call, so split it
    vrf `blue` does not exist on this device; leave vrf out or use default
    location `0/1/CPU0` is not a node of this device; use 0/RP0/CPU0 or leave it out
    nothing was added: `absent.py` cannot be fetched: harddisk:/absent.py: no such file on the harddisk; copy it there first
    "#);
}
