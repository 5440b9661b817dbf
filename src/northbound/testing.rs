//! A whole northbound on a simulated disk, for the tests of this folder: requests are carried out on the test's thread.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{mpsc, oneshot};

use super::driver::{Northbound, Parts};
use super::grouping::Waiting;
use super::handle::{Handle, Input, Opening};
use super::notifications::log::EventLog;
use super::notifications::scribe::Scribe;
use super::own_state::{Facts, Monitoring, State};
use super::provider::{Later, Proposal, Provider};
use super::router::Gap;
use super::startup::StartupStore;
use super::url::Url;
use super::urls::Places;
use super::{
    Answer, Caller, Client, CommitOptions, Datastore, DefaultOperation, ErrorOption, Fragment, Kind, Refusal, Request,
    Response, TestOption,
};
use crate::datastore::history::Limits as HistoryLimits;
use crate::store::commits::{CommitStore, Limits};
use crate::store::disk::Disk;
use crate::store::disk::simulated::Simulated;
use crate::store::note::Note;
use crate::yang::schema::{ModuleSpec, Schema};
use crate::yang::tree::Tree;

/// Our modules that the northbound itself speaks, and the sample of the tests.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<&'static Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let module = |name: &str| ModuleSpec { name: name.to_owned(), revision: None, features: Vec::new() };
        let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let names = [
            "ietf-netconf",
            "ietf-netconf-acm",
            "ietf-netconf-notifications",
            "notifications",
            "nc-notifications",
            "procyon-notifications",
            "Cisco-IOS-XR-config-cfgmgr-exec-oper",
            "Cisco-IOS-XR-cfgmgr-rollback-act",
            "procyon-history",
            "ietf-netconf-private-candidate",
            "sample",
        ];
        let mut modules = names.map(module);
        modules.iter_mut().for_each(|module| module.features.push("*".to_owned()));
        Schema::load(&[top.join("yang"), top.join("tests/yang")], &modules).unwrap()
    })
}

struct Silent;

impl Monitoring for Silent {
    fn capabilities(&self, _: &'static Schema) -> Vec<String> {
        Vec::new()
    }

    fn roots(&self) -> &'static [&'static str] {
        &[]
    }

    fn state(&self, _: &str, _: &Facts<'_>) -> State {
        State::Made(Vec::new())
    }
}

/// What providers were told, in order: `name:prepare`, `name:apply`, `name:abort`.
pub(super) type Told = Arc<Mutex<Vec<String>>>;

/// A provider that tells what it hears; it refuses to prepare for an entry `no` of its list.
pub(super) struct Witness {
    pub(super) name: &'static str,
    pub(super) roots: &'static [&'static str],
    pub(super) takes_each_alone: bool,
    pub(super) told: Told,
}

impl Witness {
    fn tell(&self, what: &str) {
        self.told.lock().unwrap().push(format!("{}:{what}", self.name));
    }
}

impl Provider for Witness {
    fn name(&self) -> &'static str {
        self.name
    }

    fn config_roots(&self) -> &'static [&'static str] {
        self.roots
    }

    fn takes_each_proposal_alone(&self) -> bool {
        self.takes_each_alone
    }

    fn prepare(&mut self, proposal: &Proposal<'_>) -> Result<(), Refusal> {
        self.tell("prepare");
        let refuses = proposal.changes.iter().any(|change| change.path.contains("[k='no']"));
        if refuses { Err(Refusal::new(Kind::OperationFailed, "there is no room")) } else { Ok(()) }
    }

    fn abort(&mut self) {
        self.tell("abort");
    }

    fn apply(&mut self, _: &Proposal<'_>) {
        self.tell("apply");
    }
}

pub(super) struct Rig {
    pub(super) northbound: Northbound,
    pub(super) disk: Arc<Simulated>,
    inputs: mpsc::Receiver<Input>,
    runtime: tokio::runtime::Runtime,
}

/// No URL leads anywhere.
struct Nowhere;

impl Places for Nowhere {
    fn read(&self, url: &Url) -> Later<bytes::Bytes> {
        let refusal = Refusal::new(Kind::DataMissing, format!("there is nothing at {url:?}"));
        Box::pin(async move { Err(refusal) })
    }

    fn write(&self, url: &Url, _: bytes::Bytes) -> Later<()> {
        let refusal = Refusal::new(Kind::AccessDenied, format!("nothing is written to {url:?}"));
        Box::pin(async move { Err(refusal) })
    }

    fn delete(&self, url: &Url) -> Later<()> {
        let refusal = Refusal::new(Kind::DataMissing, format!("there is nothing at {url:?}"));
        Box::pin(async move { Err(refusal) })
    }
}

impl Rig {
    pub(super) fn new(providers: Vec<Box<dyn Provider>>) -> Self {
        Self::with_plain_modules(providers, &["sample"]).unwrap_or_else(|gaps| panic!("{gaps:?}"))
    }

    pub(super) fn with_plain_modules(providers: Vec<Box<dyn Provider>>, plain: &[&str]) -> Result<Self, Vec<Gap>> {
        let disk = Arc::new(Simulated::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (handle, inputs) = Handle::new();
        let on_disk = || Arc::clone(&disk) as Arc<dyn Disk>;
        let (commits, _) = CommitStore::open(on_disk(), PathBuf::from("/config"), Limits::default()).unwrap();
        // Everybody may do everything: what NACM says is tested elsewhere.
        let free =
            b"<nacm xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-acm'><enable-nacm>false</enable-nacm></nacm>";
        let mut running = Tree::parse_config(schema(), free).unwrap();
        running.validate_config().unwrap();
        let parts = Parts {
            schema: schema(),
            running,
            commits,
            left_out: None,
            history: HistoryLimits { commits: 1000, bytes: 1 << 20 },
            confirmed_note: Note::at(on_disk(), PathBuf::from("/state/confirmed-commit")),
            boot_id: "boot".to_owned(),
            startup: StartupStore {
                content: Note::at(on_disk(), PathBuf::from("/state/startup")),
                boot: Note::at(on_disk(), PathBuf::from("/state/startup-boot")),
                boot_id: "boot".to_owned(),
            },
            places: Box::new(Nowhere),
            providers,
            judge: None,
            sessions_max: 64,
            sessions_per_user_max: 64,
            candidates: super::Candidates::Shared,
            answer_time_max: std::time::Duration::from_secs(1),
            runtime: runtime.handle().clone(),
            aside: runtime.handle().clone(),
            plain_modules: plain.iter().map(|module| (*module).to_owned()).collect(),
            monitoring: Arc::new(Silent),
            event_log: EventLog::new(jiff::Timestamp::UNIX_EPOCH),
            scribe: Scribe::new(&[], true).0,
            conceal: Box::new(|_, _| None),
            on_commit: Box::new(|_| {}),
        };
        Ok(Self { northbound: Northbound::new(parts, &handle)?, disk, inputs, runtime })
    }

    pub(super) fn open(&mut self, client: Client) -> Caller {
        let opening = Opening { user: "ann".to_owned(), groups: Vec::new(), client, origin: "test".to_owned() };
        self.northbound.open(opening).unwrap().caller
    }

    pub(super) fn ask(&mut self, caller: &Caller, request: Request) -> Answer {
        let (reply, mut answer) = oneshot::channel();
        self.northbound.ask(caller, request, reply);
        answer.try_recv().expect("this is answered at once")
    }

    /// For what is not answered at once.
    pub(super) fn begin(&mut self, caller: &Caller, request: Request) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        self.northbound.ask(caller, request, reply);
        answer
    }

    /// Takes inputs until the answer is there.
    pub(super) fn wait_for(&mut self, answer: &mut oneshot::Receiver<Answer>) -> Answer {
        loop {
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
            self.hear_one();
        }
    }

    /// Takes one input.
    pub(super) fn hear_one(&mut self) {
        let input = self.runtime.block_on(self.inputs.recv()).expect("somebody has something to say");
        let Input::Resume(continuation) = input else { panic!("{input:?}") };
        (continuation.0)(&mut self.northbound);
    }

    pub(super) fn ask_and_wait(&mut self, caller: &Caller, request: Request) -> Answer {
        let mut answer = self.begin(caller, request);
        self.wait_for(&mut answer)
    }

    pub(super) fn try_edit(&mut self, caller: &Caller, config: &str) -> Answer {
        let request = Request::EditConfig {
            target: Datastore::Candidate,
            default_operation: DefaultOperation::Merge,
            test_option: TestOption::Set,
            error_option: ErrorOption::RollbackOnError,
            config: Fragment(config.to_owned().into()),
        };
        self.ask(caller, request)
    }

    pub(super) fn edit(&mut self, caller: &Caller, config: &str) {
        self.try_edit(caller, config).unwrap();
    }

    pub(super) fn commit(&mut self, caller: &Caller) -> Answer {
        self.ask(caller, Request::Commit(CommitOptions::default()))
    }

    /// Commits of all of these, as if they had been heard at once.
    pub(super) fn commit_together(&mut self, callers: &[(&Caller, CommitOptions)]) -> Vec<Answer> {
        let (waiting, answers): (Vec<Waiting>, Vec<_>) = callers
            .iter()
            .map(|(caller, options)| {
                assert!(self.northbound.may_wait(caller, options));
                let (reply, answer) = oneshot::channel();
                (Waiting { caller: (*caller).clone(), options: options.clone(), reply }, answer)
            })
            .unzip();
        self.northbound.commit_together(waiting);
        answers.into_iter().map(|mut answer| answer.try_recv().expect("all are answered")).collect()
    }

    /// An rpc without namespaces of its own: what it answers, as text.
    pub(super) fn invoke(&mut self, caller: &Caller, operation: &str) -> Result<String, Vec<Refusal>> {
        match self.ask(caller, Request::Invoke { operation: Fragment(operation.to_owned().into()) })? {
            Response::Ok => Ok("ok".to_owned()),
            Response::Output(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn config(&mut self, caller: &Caller, source: Datastore) -> String {
        let request = Request::GetConfig { source, filter: None, with_defaults: super::WithDefaults::Explicit };
        match self.ask(caller, request).unwrap() {
            Response::Data(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit_files(&self) -> Vec<String> {
        self.disk.list(Path::new("/config/commits")).unwrap()
    }
}
