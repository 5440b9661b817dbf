//! The composition root: it builds every driver, joins their channels and orders the shutdown. It alone knows everyone,
//! and decides nothing.
//!
//! ```text
//!  schema -> providers (script, appmgr, system, accounts) -> northbound: recover, apply all -> listen -> ready
//!  SIGTERM: stop listening, end sessions, stop the northbound; children stay with the keeper
//! ```

mod accounts;
mod alarms;
mod aside;
mod cli_text;
mod clock;
mod conserver;
mod console;
mod consoles;
mod credentials;
mod custody;
mod doors;
mod event_log;
mod events;
mod exec_shelf;
mod fleet;
mod hosts;
mod library;
mod lifecycle;
mod lines;
mod linux;
mod local;
mod logs;
mod monitoring;
mod news;
mod outside;
mod python;
mod recovery;
mod secrets;
mod services;
mod sftp_client;
mod shell_socket;
mod shells;
mod updates;
mod urls;
mod validation;
mod vitals;
mod xmlrpc;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::aside::Aside;
use self::custody::Custody;
use self::vitals::Vitals;

use crate::alarms::provider::AlarmProvider;
use crate::appmgr;
use crate::clock::Clock;
use crate::container::scripts;
use crate::container::spec::Floor;
use crate::datastore::history::Limits as HistoryLimits;
use crate::eem;
use crate::keeper::client::Keeper;
use crate::keeper::keeping::Deposit;
use crate::keeper::listeners::SSH;
use crate::netconf::counters::Counters;
use crate::netconf::driver::ServeOptions;
use crate::northbound::driver::{Committed, Northbound, Parts};
use crate::northbound::handle::Handle;
use crate::northbound::judging::Judge;
use crate::northbound::notifications::log::EventLog;
use crate::northbound::notifications::scribe::Scribe;
use crate::northbound::provider::Provider;
use crate::northbound::startup::StartupStore;
use crate::northbound::urls::Places;
use crate::northbound::{Candidates, Conceal};
use crate::request;
use crate::script;
pub use crate::settings::ModuleSpec;
use crate::settings::{Candidate, Layout, Settings};
use crate::ssh::{self, SharedAccounts};
use crate::store::driver::HostDisk;
use crate::store::journal::Journal;
use crate::store::note::Note;
use crate::sys::memory;
use crate::system::{self, System};
use crate::systemd;
use crate::transport;
use crate::yang::schema::Schema;

/// How long sessions have to end at a shutdown.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(5);
/// Doors and changes that wait to be looked at.
const HEARD_WAITING_MAX: usize = 256;
/// How long the ready line waits for the keeper; without it all but the apps is served.
const KEEPER_TIME_MAX: Duration = Duration::from_secs(2);

/// Another text after each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the command line and the settings file say.
#[derive(Debug)]
pub struct Options {
    pub layout: Layout,
    pub settings: Settings,
    /// From the command line if given there, else from the settings.
    pub listen_ssh: Vec<SocketAddr>,
    pub yang_dirs: Vec<PathBuf>,
    pub modules: Vec<ModuleSpec>,
    /// Absent when no custodian has started this process.
    pub deposit: Option<Box<dyn Deposit>>,
}

/// Serves until told to stop.
///
/// # Errors
/// What keeps it from serving: modules that do not load, a store that does not recover, an address in use.
pub fn serve(options: Options) -> anyhow::Result<()> {
    memory::keep_little();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("procyon")
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let Options { layout, settings, listen_ssh, yang_dirs, modules, deposit } = options;
    let schema = library::load(&settings, &yang_dirs, &modules)?;
    let names = Arc::new(library::Names::of(schema));
    let counters = Arc::new(Counters::default());
    let stop = CancellationToken::new();
    let (vitals, mut missing) = Vitals::new(stop.clone());
    let tasks = vitals.tasks.clone();
    let (northbound, inputs) = Handle::new();

    let (clock, moving) = clock::open(&settings.host_figures, stop.clone())?;
    if let Some(moving) = moving {
        tasks.spawn(moving);
    }

    let system = System::start(system_settings(&layout, &settings, clock.clone()));
    let syslog = system.log.clone();
    vitals.watch("system provider", system.task);

    let history = script::history_file::HistoryFile::new(layout.state().join("script-history.jsonl"));
    let (scripts, script_driver, script_events) =
        script::driver::open(script_settings(&layout, &settings), Box::new(history))
            .await
            .context("the script repository cannot be opened")?;

    let (app_messages, app_inbox) = mpsc::channel(appmgr::driver::MESSAGES_WAITING_MAX);
    let commits = Arc::new(appmgr::provider::Commits::default());
    let usage = Arc::new(appmgr::driver::Usage::default());
    let (heard, hearing) = mpsc::channel(HEARD_WAITING_MAX);
    let (keeper, keeper_events) = Keeper::connect_for(layout.keeper_socket(), Floor::App);
    let keeper_pid = keeper.clone();
    let (journal, recorded) =
        Journal::open(Arc::new(HostDisk), layout.state().join("appmgr.journal"), appmgr::driver::JOURNAL_BYTES_MAX)
            .context("the app manager's journal cannot be opened")?;
    let app_driver = appmgr::driver::Driver {
        places: script_places(&layout, &settings),
        keeper,
        events: keeper_events,
        messages: app_inbox,
        commits: Arc::clone(&commits),
        journal,
        recorded,
        heard,
        usage: Arc::clone(&usage),
    };

    let containers = fleet::build(&layout, &settings)?;

    let logbook = logs::provider(containers.driver.keeper.clone(), &layout, northbound.clone());

    let (request_heard, request_hearing) = mpsc::channel(HEARD_WAITING_MAX);
    let (journal, recorded) =
        Journal::open(Arc::new(HostDisk), layout.state().join("requests.journal"), request::driver::JOURNAL_BYTES_MAX)
            .context("the journal of script runs cannot be opened")?;
    let (request_keeper, request_events) = Keeper::connect_for(layout.keeper_socket(), Floor::Request);
    let (requests, request_driver) = request::driver::open(request::driver::Parts {
        places: script_places(&layout, &settings),
        keeper: request_keeper,
        events: request_events,
        journal,
        recorded,
        heard: request_heard,
        checksums: exec_shelf::checksums(scripts.clone()),
    });

    let grammar = library::grammar(schema, &settings, &yang_dirs)?;
    let (judge_heard, judge_hearing) = mpsc::channel(HEARD_WAITING_MAX);
    let (validation, court, judge_driver) = crate::validation::driver::open(validation::parts(
        &layout,
        &settings,
        script_places(&layout, &settings),
        schema,
        Arc::clone(&grammar),
        scripts.clone(),
        judge_heard,
    ));

    let (teller, happenings) = events::teller();
    let (wants_notifications, wanted) = watch::channel(false);
    tasks.spawn(until(stop.clone(), events::listen_to_lines(system.lines.subscribe(), teller.clone())));
    let (event_manager, event_driver) = eem::driver::open(eem::driver::Parts {
        clock: clock.clone(),
        happenings,
        runner: events::runner(requests.clone(), scripts.clone()),
        status_of: events::status_of(requests.clone()),
        say: events::say(syslog.clone()),
        wants_notifications,
        boot_note: layout.state().join("eem-boot"),
        boot_id: std::fs::read_to_string(BOOT_ID).with_context(|| format!("{BOOT_ID} cannot be read"))?,
    });
    let alarms = alarms::open(&layout)?;
    let bell = alarms::Bell { desk: alarms.desk.clone(), northbound: northbound.clone() };
    let lifecycle = lifecycle::open(&layout, &settings, &alarms.desk)?;

    let seal = Arc::new(secrets::load(&layout.keys())?);
    let (updates, update_provider, update_driver) =
        crate::update::driver::open(updates::parts(clock.clone(), scripts.clone(), Arc::clone(&seal), syslog.clone()));

    let accounts = SharedAccounts::new(ssh::Accounts::default());
    let (custody, mut left) = Custody::new(deposit)?;
    let endpoints = std::mem::take(&mut left.endpoints);
    let (transports, transport_driver) = transport::driver::new(layout.keys(), endpoints, custody.of_endpoints());
    let conserver_ports = consoles::Ports::new(std::mem::take(&mut left.conserver), custody.of_conserver());
    let (console_provider, conserver_wanted) =
        consoles::ConsoleProvider::new(keeper_pid.clone(), conserver_ports.clone(), layout.keys());
    let providers: Vec<Box<dyn Provider>> = vec![
        Box::new(console_provider),
        Box::new(transports),
        Box::new(accounts::AccountsProvider::new(accounts.clone())),
        Box::new(system.provider),
        Box::new(request::provider::RequestProvider::new(
            requests.clone(),
            exec_shelf::shelf(scripts.clone()),
            exec_shelf::fetch(scripts.clone()),
            updates::before_runs(updates.clone()),
            exec_shelf::log_place(layout.clone()),
        )),
        Box::new(script::provider::ScriptProvider::new(
            scripts,
            jiff::tz::TimeZone::system(),
            exec_shelf::executions(requests, layout.harddisk()),
        )),
        // Behind the repository, which knows the checksums of a commit first.
        Box::new(update_provider),
        Box::new(appmgr::provider::AppManager::new(app_messages, commits, updates::before_apps(updates))),
        Box::new(containers.provider),
        Box::new(logbook),
        Box::new(python::PythonProvider::new(&settings.python)),
        Box::new(event_manager),
        Box::new(validation),
        Box::new(lifecycle.provider),
        Box::new(AlarmProvider::new(alarms.desk, news::now)),
    ];
    let commit_log = syslog.clone();
    let events = event_log::open(&event_log::file(&layout.state()))?;
    let recover = recovery::Recovery {
        schema,
        config: layout.config(),
        layout: layout.clone(),
        commits_kept: settings.limits.history_commits,
    };
    let parts = NorthboundParts {
        recover,
        history: HistoryLimits { commits: settings.limits.history_commits, bytes: settings.limits.history_bytes },
        providers,
        judge: Box::new(court),
        sessions_max: settings.limits.sessions,
        candidates: match settings.candidate {
            Candidate::Shared => Candidates::Shared,
            Candidate::Private => Candidates::Private,
        },
        sessions_per_user_max: settings.limits.sessions_per_user,
        answer_time_max: settings.limits.answer_limit(),
        plain_modules: modules.iter().map(|module| module.name.clone()).collect(),
        monitoring: Arc::new(monitoring::Standard { counters: Arc::clone(&counters) }),
        event_log: events.log,
        scribe: events.scribe,
        conceal: secrets::conceal(Arc::clone(&seal)),
        places: Box::new(urls::Urls::new(&layout, &settings)),
        on_commit: Box::new(move |committed| commit_log.log(lines::committed(&committed.user, committed.id))),
    };
    let (northbound_task, northbound_ended) = start_northbound(parts, northbound.clone(), inputs).await?;
    vitals.spawn("northbound", northbound_ended);

    vitals.spawn("script repository", script_driver.run(Arc::new(services::InUse(usage)), stop.clone()));
    tasks.spawn(services::script_events(script_events, northbound.clone(), syslog.clone(), bell.clone()));
    tasks.spawn(alarms.writer.run(stop.clone()));
    tasks.spawn(alarms::tell(alarms.told, northbound.clone()));
    tasks.spawn(alarms::watch_keeper(keeper_pid.clone(), bell.clone(), stop.clone()));
    tasks.spawn(events.writer.run());
    vitals.spawn("app manager", app_driver.run());
    vitals.spawn("lifecycle", lifecycle.driver.run());
    tasks.spawn(lifecycle::hear(lifecycle.heard, northbound.clone(), syslog.clone(), bell.clone()));
    vitals.spawn("containers", containers.driver.run());
    tasks.spawn(fleet::tell(containers.heard, northbound.clone(), syslog.clone()));
    let serve_options = ServeOptions {
        message_bytes_max: settings.limits.message_bytes,
        edge: Some(Arc::new(cli_text::CliText { grammar: Arc::clone(&grammar) })),
        ..ServeOptions::new(names, Arc::clone(&counters))
    };
    vitals.spawn("script runs", request_driver);
    vitals.spawn("script updates", until(stop.clone(), update_driver));
    vitals.spawn("event manager", event_driver);
    vitals.spawn("commit scripts", until(stop.clone(), judge_driver));
    tasks.spawn(events::listen_to_notifications(northbound.clone(), teller.clone(), wanted, stop.clone()));

    let socket = layout.agent_socket();
    let local = local::listen(&socket).with_context(|| format!("{} cannot be opened", socket.display()))?;
    vitals.spawn("local socket", local::serve(local, northbound.clone(), serve_options.clone(), stop.clone()));

    let ssh_config = ssh_config(&layout, &settings)?;
    let node = format!("RP/{}", settings.node);
    let consoles = console::Consoles {
        keeper: keeper_pid.clone(),
        keeper_socket: layout.keeper_socket(),
        northbound: northbound.clone(),
    };
    let lender = outside::Lender {
        consoles: consoles.clone(),
        linux: linux::Linux { harddisk: layout.harddisk(), stage: layout.run().join("linux"), node: node.clone() },
        urls: Arc::new(urls::Urls::new(&layout, &settings)),
        hosts: Arc::new(hosts::Hosts::new(&layout, &settings)),
    };
    let common = shells::Common {
        lender,
        grammar,
        node,
        harddisk: layout.harddisk(),
        northbound: northbound.clone(),
        options: serve_options.clone(),
    };
    let shells = shells::Shells::start(common, stop.clone()).context("the shells' thread cannot be started")?;
    let hearing = doors::Hearing { teller, apps: hearing, requests: request_hearing, judges: judge_hearing };
    let behind = doors::Behind {
        northbound: northbound.clone(),
        options: serve_options.clone(),
        shells: shells.clone(),
        syslog: syslog.clone(),
    };
    vitals.spawn("doors", doors::serve(hearing, behind, stop.clone()));
    let shell_socket = layout.shell_socket();
    let shell_listener =
        local::listen(&shell_socket).with_context(|| format!("{} cannot be opened", shell_socket.display()))?;
    vitals.spawn("shell socket", shell_socket::serve(shell_listener, shells.clone(), stop.clone()));
    let limits = ssh_config.limits.clone();
    let desk = conserver::Desk {
        consoles: consoles.clone(),
        accounts: accounts.clone(),
        host: nix::unistd::gethostname()
            .map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned()),
        checking: Arc::default(),
    };
    vitals.spawn(
        "conserver's listener",
        conserver::serve(desk, conserver_wanted, (conserver_ports, bell.clone()), stop.clone()),
    );
    let services =
        Arc::new(services::Services { consoles, northbound: northbound.clone(), options: serve_options, shells });
    let ssh = ssh::Server::new(ssh_config, accounts, services.clone(), stop.clone())?;
    if let Some(listening) = xmlrpc::open(&layout, &settings.xmlrpc, northbound.clone(), &custody, &mut left)? {
        vitals.spawn("XML-RPC", crate::xmlrpc::driver::serve(listening, stop.clone()));
    }
    let mut addresses = Vec::new();
    for address in listen_ssh {
        let listener =
            custody.listener(&mut left, SSH, address).with_context(|| format!("cannot listen for SSH on {address}"))?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        addresses.push(listener.local_addr()?);
        let ssh = ssh.clone();
        vitals.spawn("SSH", async move { ssh.accept(listener).await });
    }
    tasks.spawn(finish_ssh(ssh.clone(), stop.clone()));
    vitals.spawn("transports", transport_driver.run(ssh, services, limits, stop.clone()));
    custody.drop_listeners(left);

    let keeper = keeper_pid.pid(KEEPER_TIME_MAX).await;
    if let Err(error) = memory::forget_code_of_start() {
        debug!(%error, "the code of the start stays in memory");
    }
    let mut orders = services::Orders::listen()?;
    announce(&addresses, &socket, keeper)?;
    if let Some(socket) = custody.ready() {
        tasks.spawn(services::watch_custodian(custody, socket, syslog.clone(), bell, stop.clone()));
    }
    tokio::select! {
        () = orders.wait() => {}
        Some(part) = missing.recv() => {
            error!(part, "the agent ends, to be started anew as a whole");
            std::process::exit(vitals::CRASHED);
        }
    }

    info!("stopping; what runs stays with the keeper");
    // A manager that does not listen for this has nothing to lose by it.
    let _ = systemd::notify_stopping();
    stop.cancel();
    northbound.stop().await;
    tasks.close();
    if tokio::time::timeout(SHUTDOWN_TIME_MAX, tasks.wait()).await.is_err() {
        warn!("some sessions did not end in time");
    }
    if northbound_task.await.is_err() {
        warn!("the northbound ended by a panic");
    }
    Ok(())
}

/// For what has no end of its own.
async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// Keeps the agent until the connections have ended.
async fn finish_ssh(ssh: ssh::Server, stop: CancellationToken) {
    stop.cancelled().await;
    ssh.finish().await;
}

struct NorthboundParts {
    recover: recovery::Recovery,
    history: HistoryLimits,
    providers: Vec<Box<dyn Provider>>,
    judge: Box<dyn Judge>,
    sessions_max: usize,
    candidates: Candidates,
    sessions_per_user_max: usize,
    answer_time_max: Duration,
    plain_modules: Vec<String>,
    monitoring: Arc<dyn crate::northbound::own_state::Monitoring>,
    event_log: EventLog,
    scribe: Scribe,
    conceal: Conceal,
    places: Box<dyn Places>,
    on_commit: Box<dyn Fn(&Committed) + Send>,
}

/// Starts the task that owns the trees; returns when running is recovered and applied.
async fn start_northbound(
    parts: NorthboundParts,
    handle: Handle,
    inputs: mpsc::Receiver<crate::northbound::handle::Input>,
) -> anyhow::Result<(tokio::task::JoinHandle<()>, oneshot::Receiver<()>)> {
    // Dropped with the task, whatever ends it.
    let (alive, ended) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Handle::current();
    let (threads, aside) = Aside::start()?;
    let building = tokio::task::spawn_blocking(move || build_northbound(parts, &handle, runtime, aside));
    let northbound = building.await.context("the northbound ended before it served")??;
    let task = tokio::spawn(async move {
        let (_alive, _threads) = (alive, threads);
        northbound.run(inputs).await;
    });
    Ok((task, ended))
}

fn build_northbound(
    parts: NorthboundParts,
    handle: &Handle,
    runtime: tokio::runtime::Handle,
    aside: tokio::runtime::Handle,
) -> anyhow::Result<Northbound> {
    let NorthboundParts {
        recover,
        history,
        providers,
        judge,
        sessions_max,
        candidates,
        sessions_per_user_max,
        answer_time_max,
        plain_modules,
        monitoring,
        event_log,
        scribe,
        conceal,
        places,
        on_commit,
    } = parts;
    let confirmed_note = recover.layout.confirmed_commit();
    let note = |path| Note::at(Arc::new(HostDisk), path);
    let (startup, startup_boot) = (note(recover.layout.startup()), note(recover.layout.startup_boot()));
    let boot_id = std::fs::read_to_string(BOOT_ID).with_context(|| format!("{BOOT_ID} cannot be read"))?;
    let schema: &'static Schema = recover.schema;
    let recovered = recover.run()?;
    let parts = Parts {
        schema,
        running: recovered.running,
        commits: recovered.commits,
        left_out: recovered.not_placed,
        history,
        confirmed_note: Note::at(Arc::new(HostDisk), confirmed_note),
        startup: StartupStore { content: startup, boot: startup_boot, boot_id: boot_id.clone() },
        places,
        boot_id,
        providers,
        judge: Some(judge),
        sessions_max,
        candidates,
        sessions_per_user_max,
        answer_time_max,
        runtime,
        aside,
        plain_modules,
        monitoring,
        event_log,
        scribe,
        conceal,
        on_commit,
    };
    let mut northbound = Northbound::new(parts, handle).map_err(|gaps| {
        let said: Vec<String> = gaps.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the modules and the code do not fit: {}", said.join("; "))
    })?;
    northbound.settle_confirmed()?;
    northbound.boot()?;
    northbound.apply_all();
    if let Some(initial) = recovered.initial {
        northbound.commit_initial(initial)?;
    }
    Ok(northbound)
}

#[expect(clippy::print_stdout, reason = "the ready line is the agent's documented output")]
fn announce(addresses: &[SocketAddr], socket: &std::path::Path, keeper: Option<i32>) -> anyhow::Result<()> {
    let ssh: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let pid = std::process::id();
    let keeper = keeper.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    println!("ready ssh={} socket={} pid={pid} keeper={keeper}", ssh.join(","), socket.display());
    std::io::stdout().flush()?;
    systemd::notify_ready(pid).context("systemd cannot be told that we are ready")?;
    info!(ssh = ssh.join(","), pid, %keeper, "serving");
    Ok(())
}

fn script_places(layout: &Layout, settings: &Settings) -> scripts::Places {
    scripts::Places {
        harddisk: layout.harddisk(),
        work: layout.state().join("work"),
        interpreter: settings.python.interpreter.clone(),
        library: settings.python.package.clone(),
        user: settings.python.account(),
        writable: settings.python.writable.clone(),
        node: format!("RP/{}", settings.node),
        log_bytes_max: settings.limits.log_bytes,
        log_files_max: u8::try_from(settings.limits.log_files).unwrap_or(u8::MAX),
        memory_bytes_max: settings.limits.script_memory_bytes,
    }
}

fn script_settings(layout: &Layout, settings: &Settings) -> script::driver::Settings {
    script::driver::Settings {
        harddisk: layout.harddisk(),
        limits: script::fetch::FetchLimits {
            time_max: settings.limits.fetch_limit(),
            bytes_max: settings.limits.script_bytes,
            ..script::fetch::FetchLimits::default()
        },
        extra_certificates: settings.fetch.certificates.clone(),
    }
}

fn system_settings(layout: &Layout, settings: &Settings, clock: Clock) -> system::Settings {
    system::Settings {
        clock,
        node_name: settings.node.clone(),
        log_node_name: format!("RP/{}", settings.node),
        figures: settings.host_figures.clone(),
        ..system::Settings::below(&layout.state())
    }
}

fn ssh_config(layout: &Layout, settings: &Settings) -> anyhow::Result<ssh::SshConfig> {
    let host_keys = ssh::host_key::load(&layout.keys()).context("the SSH host keys cannot be loaded")?;
    let limits = ssh::Limits {
        unauthenticated: settings.limits.unauthenticated_connections,
        authentication_time: settings.limits.authentication_limit(),
        connections: settings.limits.sessions,
        ..ssh::Limits::default()
    };
    Ok(ssh::SshConfig { host_keys, harddisk: layout.harddisk(), limits })
}
