//! Between the lifecycle's words and the keeper's: a command is a container of the floor of processes.
//!
//! ```text
//!  process:NAME              the start command and what comes of it
//!  process:NAME:configtest   process:NAME:stop
//!  process:NAME:trial        the configuration test alone, because somebody has asked for it
//! ```

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::Places;
use crate::container::machine::ExitStatus;
use crate::container::permit::{Daemon, Helper, LIMIT_MAX, Permit};
use crate::container::provision::{REQUIRED_PATHS_MAX, RequiredPath, WhenMissing};
use crate::container::rules::DELAYS_MAX;
use crate::container::spec::{ContainerName, ContainerSpec, Floor, LogSpec, Program, RestartPolicy};
use crate::keeper::client::Keeper;
use crate::keeper::launch;
use crate::keeper::protocol::{ContainerState, Phase, Reason};
use crate::keeper::refusal::KeeperRefusal;
use crate::lifecycle::definition::{Command, Definition, Kind, ProcessName};
use crate::lifecycle::machine::Job;
use crate::lifecycle::manager::{Ended, Input, Run, Said, Seen, Settings, Stream};
use crate::sys::{process, tree};

/// Between two tries of an order that the keeper could not take just now.
const AGAIN: Duration = Duration::from_millis(50);
/// Lines of a command's output that are kept, and bytes that they are taken from.
const OUTPUT_LINES_MAX: usize = 100;
const OUTPUT_BYTES_MAX: u64 = 16 * 1024;
const LINE_CHARS_MAX: usize = 400;
const TRIAL: &str = ":trial";
/// Of the commands that the keeper holds for a process; a definition of its protocol has more room than that.
const PERMIT_BYTES_MAX: usize = 12 * 1024;

fn suffix(job: Job) -> &'static str {
    match job {
        Job::Main => "",
        Job::Test => ":configtest",
        Job::Stop => ":stop",
    }
}

pub(super) fn container(name: &ProcessName, job: Job) -> ContainerName {
    ContainerName::on(Floor::Process, &format!("{name}{}", suffix(job)))
        .expect("the name of a process is one of a container")
}

fn trial(name: &ProcessName) -> ContainerName {
    ContainerName::on(Floor::Process, &format!("{name}{TRIAL}")).expect("the name of a process is one of a container")
}

/// Whose configuration test the container runs, if it runs one alone.
pub(super) fn trial_of(container: &ContainerName) -> Option<ProcessName> {
    (container.floor() == Floor::Process).then_some(())?;
    ProcessName::parse(container.local().strip_suffix(TRIAL)?).ok()
}

/// Whose command the container is.
pub(super) fn job_of(container: &ContainerName) -> Option<(ProcessName, Job)> {
    if container.floor() != Floor::Process {
        return None;
    }
    let local = container.local();
    let job = [Job::Test, Job::Stop].into_iter().find(|job| local.ends_with(suffix(*job))).unwrap_or(Job::Main);
    let name = ProcessName::parse(local.strip_suffix(suffix(job))?).ok()?;
    Some((name, job))
}

pub(super) fn seen(state: &ContainerState) -> Seen {
    let errors = || state.error_lines.clone();
    match state.phase {
        Phase::NotStarted | Phase::Starting | Phase::Backoff | Phase::Mismatch => Seen::Pending,
        Phase::Running | Phase::StopRequested | Phase::KillRequested => match state.pid {
            Some(pid) => Seen::Running { pid },
            None => Seen::Pending,
        },
        Phase::Stopped | Phase::Killed | Phase::ExitSuccess | Phase::ExitFailure => match &state.reason {
            Reason::StartFailed { why } => Seen::NotStarted { why: why.to_string() },
            Reason::None
            | Reason::PolicyHolds
            | Reason::RetriesSpent { .. }
            | Reason::ChecksumMismatch { .. }
            | Reason::StartLimit { .. } => {
                let (succeeded, how) = ending(state.last_exit);
                Seen::Ended(Ended { succeeded, how, errors: errors() })
            }
        },
    }
}

/// What a command returned, if it came to that.
pub(super) fn code_of(state: &ContainerState) -> Option<i32> {
    match state.last_exit {
        Some(ExitStatus::Code(code)) => Some(code),
        _ => None,
    }
}

fn ending(exit: Option<ExitStatus>) -> (bool, String) {
    match exit {
        Some(ExitStatus::Code(code)) => (code == 0, format!("code {code}")),
        Some(ExitStatus::Signal { number, core }) => {
            let name =
                nix::sys::signal::Signal::try_from(number).map_or_else(|_| number.to_string(), |it| it.to_string());
            (false, format!("signal {name}{}", if core { " and a core file" } else { "" }))
        }
        Some(ExitStatus::Unknown) => (false, "an unknown status".to_owned()),
        Some(ExitStatus::NotSpawned) | None => (false, "no process".to_owned()),
    }
}

fn log_dir(places: &Places, name: &ProcessName, job: Job) -> PathBuf {
    let folder = match job {
        Job::Main => "start",
        Job::Test => "configtest",
        Job::Stop => "stop",
    };
    places.logs.join(name.as_str()).join(folder)
}

pub(super) fn spec(places: &Places, name: &ProcessName, job: Job, run: &Run, settings: &Settings) -> ContainerSpec {
    let mut spec = spec_of(places, name, container(name, job), log_dir(places, name, job), &run.command);
    if let Some(definition) = &run.definition {
        leave_a_permit(&mut spec, places, definition, settings);
    }
    spec.after = run.after.iter().map(|other| container(other, Job::Main)).collect();
    spec
}

/// What the keeper goes by while the lifecycle is away, and when the whole house ends.
fn leave_a_permit(spec: &mut ContainerSpec, places: &Places, definition: &Definition, settings: &Settings) {
    let bytes = |command: &Command| command.argv().iter().map(String::len).sum::<usize>();
    let all = [&definition.start, &definition.configtest, &definition.stop];
    if all.map(bytes).iter().sum::<usize>() > PERMIT_BYTES_MAX {
        return warn!(process = %definition.name, "its commands are too long for the keeper to run them by itself");
    }
    let limits = settings.limits;
    let helper = |command: &Command, limit: Duration| Helper {
        argv: command.argv(),
        cwd: folder_of(places, &definition.name, command),
        user: command.user.clone(),
        limit: limit.min(LIMIT_MAX),
    };
    let pid_file = definition.status.pid.clone();
    spec.permit = Some(Permit {
        test: Some(helper(&definition.configtest, limits.configtest)),
        stop: Some(helper(&definition.stop, limits.stop)),
        kill_after: limits.kill.min(LIMIT_MAX),
        daemon: pid_file.map(|pid_file| Daemon { pid_file, within: limits.start.min(LIMIT_MAX) }),
    });
    spec.strict = settings.is_strict;
    spec.rules.delays = settings.retry_delays.iter().copied().take(DELAYS_MAX).collect();
    let required = definition.resources.iter().filter(|resource| resource.required);
    let paths = required.filter_map(|resource| match &resource.kind {
        Kind::File { path } | Kind::OsConfig { path } | Kind::Directory { path, .. } => Some(path.clone()),
        Kind::Imdb { .. } | Kind::Process { .. } | Kind::Sqldb(_) => None,
    });
    let awaited = paths.map(|path| RequiredPath { path, when_missing: WhenMissing::Await });
    spec.provision.required = awaited.take(REQUIRED_PATHS_MAX).collect();
}

fn folder_of(places: &Places, name: &ProcessName, command: &Command) -> PathBuf {
    command.defaultdir.clone().unwrap_or_else(|| places.logs.join(name.as_str()))
}

fn spec_of(
    places: &Places,
    name: &ProcessName,
    container: ContainerName,
    log_dir: PathBuf,
    command: &Command,
) -> ContainerSpec {
    let cwd = folder_of(places, name, command);
    let logs = LogSpec { bytes_max: places.log_bytes_max, files_max: places.log_files_max, ..LogSpec::in_dir(log_dir) };
    let program = Program::Command { argv: command.argv() };
    let mut spec = ContainerSpec::new(container, program, cwd, logs);
    spec.user = command.user.clone();
    // Each start is permitted by the lifecycle.
    spec.restart = RestartPolicy::Never;
    spec
}

fn trial_logs(places: &Places, name: &ProcessName) -> PathBuf {
    places.logs.join(name.as_str()).join("trial")
}

/// Runs the configuration test alone, and kills it when its time is over. How it ends the keeper tells; the error is
/// why it does not run.
pub(super) async fn try_out(
    keeper: Keeper,
    places: Arc<Places>,
    name: ProcessName,
    command: Command,
    limit: Duration,
) -> Result<(), String> {
    let logs = trial_logs(&places, &name);
    forget_output(&logs).await;
    define_and_start(&keeper, spec_of(&places, &name, trial(&name), logs, &command))
        .await
        .map_err(|refusal| refusal.to_string())?;
    tokio::time::sleep(limit).await;
    // That it is killed the keeper tells, as any other end; that it is gone nobody does.
    keeper.kill(trial(&name)).await.map_err(|refusal| refusal.to_string())
}

/// Forgets the container of a test that has ended; what it printed.
pub(super) async fn finish_trial(keeper: Keeper, places: Arc<Places>, name: ProcessName) -> Vec<Said> {
    release(&keeper, &trial(&name)).await;
    output(&trial_logs(&places, &name)).await
}

async fn forget_output(folder: &Path) {
    for file in ["stdout.log", "stderr.log"] {
        // What is not there need not go.
        let _ = tokio::fs::remove_file(folder.join(file)).await;
    }
}

/// Defines and starts the command in a task of its own. What comes of it the keeper tells by itself; an input comes
/// only if it does not run.
pub(super) fn begin(
    keeper: &Keeper,
    spec: ContainerSpec,
    name: ProcessName,
    job: Job,
    inputs: mpsc::Sender<Input>,
    places: &Arc<Places>,
) {
    let keeper = keeper.clone();
    let old_output = (job != Job::Main).then(|| log_dir(places, &name, job));
    tokio::spawn(async move {
        if let Some(folder) = old_output {
            // What is read afterwards is of this run alone.
            forget_output(&folder).await;
        }
        if let Err(why) = define_and_start(&keeper, spec).await {
            // A lifecycle that is gone waits for nothing.
            let _ = inputs.send(Input::NotRun { name, job, why: why.to_string() }).await;
        }
    });
}

async fn define_and_start(keeper: &Keeper, spec: ContainerSpec) -> Result<(), KeeperRefusal> {
    let name = spec.name.clone();
    loop {
        match keeper.define(spec.clone()).await {
            Ok(()) => {}
            // Of an agent that died between two steps.
            Err(KeeperRefusal::AlreadyDefined { .. }) => {
                release(keeper, &name).await;
                continue;
            }
            Err(refusal) if is_passing(&refusal) => {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(refusal) => return Err(refusal),
        }
        match keeper.start(name.clone()).await {
            Ok(()) => return Ok(()),
            Err(refusal) if is_passing(&refusal) => tokio::time::sleep(AGAIN).await,
            Err(refusal) => return Err(refusal),
        }
    }
}

fn is_passing(refusal: &KeeperRefusal) -> bool {
    matches!(
        refusal,
        KeeperRefusal::Lost
            | KeeperRefusal::NoAnswer { .. }
            | KeeperRefusal::Busy { .. }
            | KeeperRefusal::BeingReleased { .. }
            | KeeperRefusal::NotDefined { .. }
    )
}

async fn release(keeper: &Keeper, name: &ContainerName) {
    loop {
        match keeper.release(name.clone(), Duration::ZERO).await {
            // What is not there any more is released.
            Ok(()) | Err(KeeperRefusal::NotDefined { .. }) => return,
            Err(KeeperRefusal::ShuttingDown) => return,
            Err(refusal) => {
                debug!(%name, %refusal, "not released yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Kills what is left and forgets the container; then tells it finished, with what it printed.
pub(super) fn finish(
    keeper: &Keeper,
    places: &Arc<Places>,
    name: ProcessName,
    job: Job,
    daemon: Option<i32>,
    inputs: mpsc::Sender<Input>,
) {
    let (keeper, places) = (keeper.clone(), Arc::clone(places));
    tokio::spawn(async move {
        let container = container(&name, job);
        if let Some(pid) = daemon {
            let mark = launch::mark(&places.root, &container);
            let _ = tokio::task::spawn_blocking(move || end_daemon(pid, mark)).await;
        }
        release(&keeper, &container).await;
        let output = if job == Job::Main { Vec::new() } else { output(&log_dir(&places, &name, job)).await };
        let _ = inputs.send(Input::Finished { name, job, output }).await;
    });
}

/// A daemon that has made its environment its own is found by its session, and so is what it has left.
fn end_daemon(pid: i32, mark: String) {
    let leads = tree::facts(pid).is_none_or(|facts| facts.session == pid);
    let found = tree::kill(&[&tree::Tree { mark, leader: leads.then_some(pid), group: None, known: None }]);
    if !leads
        && found == [0]
        && let Ok(pidfd) = process::pidfd_open(pid)
        && let Err(error) = process::pidfd_signal(&pidfd, libc::SIGKILL)
    {
        warn!(pid, %error, "a daemon cannot be killed");
    }
}

/// SIGTERM to the process.
pub(super) fn terminate(keeper: &Keeper, name: &ProcessName, daemon: Option<i32>) {
    if let Some(pid) = daemon
        && let Ok(pidfd) = process::pidfd_open(pid)
    {
        // It may have ended meanwhile, which is what we want.
        let _ = process::pidfd_signal(&pidfd, libc::SIGTERM);
    }
    let (keeper, container) = (keeper.clone(), container(name, Job::Main));
    tokio::spawn(async move {
        // Of what has ended already nothing is to be stopped.
        if let Err(refusal) = keeper.stop(container).await {
            debug!(%refusal, "not stopped");
        }
    });
}

/// The last lines of both streams, without what the keeper writes between runs.
async fn output(folder: &Path) -> Vec<Said> {
    let folder = folder.to_owned();
    let read = move || {
        let mut lines: Vec<Said> = Vec::new();
        for (file, stream) in [("stdout.log", Stream::Stdout), ("stderr.log", Stream::Stderr)] {
            let (before, text) = tail(&folder.join(file)).unwrap_or_default();
            let of_run = text.lines().filter(|line| !line.starts_with("-----Run ID:") && !line.trim().is_empty());
            lines.extend(of_run.enumerate().map(|(at, line)| Said {
                stream,
                number: before + at + 1,
                text: line.chars().take(LINE_CHARS_MAX).collect(),
            }));
        }
        let surplus = lines.len().saturating_sub(OUTPUT_LINES_MAX);
        lines.drain(..surplus);
        lines
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// The end of a file, and how many lines stand before it.
fn tail(path: &Path) -> std::io::Result<(usize, String)> {
    let file = BufReader::new(File::open(path)?);
    let length = fs::metadata(path)?.len();
    let mut file = file.take(length.saturating_sub(OUTPUT_BYTES_MAX));
    let before = lines_of(&mut file)?;
    let mut bytes = Vec::new();
    file.into_inner().take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    // YANG strings hold no control characters.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((before, text.chars().map(|letter| if letter.is_control() && letter != '\n' { ' ' } else { letter }).collect()))
}

fn lines_of(reader: &mut impl BufRead) -> std::io::Result<usize> {
    let mut lines = 0;
    loop {
        let bytes = reader.fill_buf()?;
        let read = bytes.len();
        if read == 0 {
            return Ok(lines);
        }
        lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        reader.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_command_has_printed_is_numbered_by_stream_and_its_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let long: String = (1..=5000).map(|number| format!("line {number}\n")).collect();
        fs::write(folder.path().join("stdout.log"), long).unwrap();
        fs::write(folder.path().join("stderr.log"), "-----Run ID:1\n\nport \u{7}70000\nis none\n").unwrap();
        let output = output(folder.path()).await;
        let said: Vec<String> = output.iter().map(Said::to_string).collect();
        assert_eq!(said.len(), OUTPUT_LINES_MAX);
        assert_eq!(said[0], "stdout.msg-4903: line 4903");
        assert_eq!(said[98..], ["stderr.msg-1: port  70000", "stderr.msg-2: is none"]);
    }

    #[test]
    fn a_container_says_whose_command_it_is() {
        let name = ProcessName::parse("web-1.x").unwrap();
        for (job, text) in [
            (Job::Main, "process:web-1.x"),
            (Job::Test, "process:web-1.x:configtest"),
            (Job::Stop, "process:web-1.x:stop"),
        ] {
            let container = container(&name, job);
            assert_eq!(container.as_str(), text);
            assert_eq!(job_of(&container), Some((name.clone(), job)));
        }
        assert_eq!((job_of(&trial(&name)), trial_of(&trial(&name))), (None, Some(name.clone())));
        assert_eq!(trial_of(&container(&name, Job::Test)), None);
        assert_eq!(job_of(&ContainerName::parse("poll").unwrap()), None);
        assert_eq!(job_of(&ContainerName::parse("process:a:other").unwrap()), None);
    }
}
