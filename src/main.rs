//! The command `procyon`: arguments and exit status. What it does is in the library.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use procyon::agent::{self, ModuleSpec, Options};
use procyon::deploy;
use procyon::init;
use procyon::keeper::custodian::lock::Lock;
use procyon::keeper::deposit::DepositClient;
use procyon::keeper::keeping::Deposit;
use procyon::keeper::launch::RootId;
use procyon::keeper::store::{self, Store};
use procyon::launcher::{self, Launch};
use procyon::logbook;
use procyon::moving;
use procyon::settings::{Layout, Settings};
use procyon::shell_command;
use procyon::sys::rooted::Rooted;
use procyon::viewer;

/// Longest password line that is read.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Turns this host into a NETCONF/YANG-managed device that runs other people's programs well.
#[derive(Parser)]
#[command(name = "procyon", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a root: folders, host keys, and the first administrator.
    Init(InitArguments),
    /// Serve a root in the foreground; SIGTERM stops the agent and leaves the scripts running.
    Agent(AgentArguments),
    /// Sit at a console: read what a program prints, and type to it; without a name, list the consoles.
    Console(ConsoleArguments),
    /// The device's command line: on a terminal, or lines from -c, a file or standard input; the exit status tells.
    Shell(ShellArguments),
    /// Bring a script onto a device as an app: idempotent, and wholly or not at all.
    Deploy(DeployArguments),
    /// Become a command of the host that sees the harddisk as /harddisk:.
    #[command(hide = true)]
    Rooted(RootedArguments),
    /// Show what programs have printed: by name, time and account, the last lines, and what comes.
    Logs(LogsArguments),
    /// Read files of procServ, conserver or supervisord: print the containers that they describe, and what does not fit.
    Import(ImportArguments),
    /// Write the file by which another program serves the consoles of this device.
    Export(ExportArguments),
    /// Look at a script without running it (lint), or run it on a scratch device and show what it did (try).
    Script(ScriptArguments),
}

#[derive(Args)]
struct ShellArguments {
    /// The root that is served.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// A line to carry out; may be given several times.
    #[arg(short = 'c', value_name = "COMMAND", conflicts_with = "file")]
    commands: Vec<String>,
    /// A file of lines to carry out.
    file: Option<PathBuf>,
}

#[derive(Args)]
struct ScriptArguments {
    /// What to do with it.
    #[arg(value_parser = ["lint", "try"])]
    what: String,
    /// The script, and for `try` the words that it is given; for `lint` more scripts.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "FILE")]
    words: Vec<std::ffi::OsString>,
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("device").required(true).args(["host", "root"])))]
struct DeployArguments {
    /// The script; its file name is its name on the device.
    script: PathBuf,
    /// The app to run it as.
    #[arg(long, value_name = "NAME")]
    app: String,
    /// The device, as `ssh` knows it; with a user: USER@HOST.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// A root on this host, in place of a device.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where NETCONF over SSH listens.
    #[arg(long, default_value_t = 830, conflicts_with = "root")]
    port: u16,
    /// The private key to log in with, where `ssh` would take another.
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    key: Option<PathBuf>,
    /// An option for `ssh`, as behind its -o.
    #[arg(long = "ssh-option", value_name = "OPTION", conflicts_with = "root")]
    ssh_options: Vec<String>,
    /// Arguments for the script.
    #[arg(long, allow_hyphen_values = true, value_name = "LINE")]
    args: Option<String>,
    /// What happens when it ends.
    #[arg(long, value_parser = ["always", "never", "on-failure", "unless-errored", "unless-stopped"])]
    restart: Option<String>,
    /// How often a failed script is started again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    max_retries: Option<u32>,
    /// Seconds for which it has to run before this counts as done.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    healthy: u64,
    /// Say what would change, and change nothing.
    #[arg(long)]
    check: bool,
    /// Say what changes, line by line.
    #[arg(long)]
    diff: bool,
}

#[derive(Args)]
struct RootedArguments {
    #[arg(long)]
    harddisk: PathBuf,
    #[arg(long)]
    stage: PathBuf,
    #[arg(long)]
    terminal: Option<PathBuf>,
    #[arg(long)]
    account: Option<String>,
    #[arg(last = true)]
    command: Option<std::ffi::OsString>,
}

#[derive(Args)]
struct ConsoleArguments {
    /// The root that is served.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    #[command(flatten)]
    asked: viewer::Asked,
}

#[derive(Args)]
struct LogsArguments {
    /// The root that is served.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    #[command(flatten)]
    asked: logbook::command::Asked,
}

#[derive(Args)]
struct ExportArguments {
    #[command(subcommand)]
    what: Exported,
}

#[derive(Subcommand)]
enum Exported {
    /// conserver's procs.cf: a console for each listener, on standard output.
    Conserver {
        /// The root that is served.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
    },
}

#[derive(Args)]
struct ImportArguments {
    /// NAME.service, procServ.conf, conserver.cf, conserver.passwd, supervisord.conf.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Args)]
struct InitArguments {
    /// Folder to make; everything of this device is below it.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The first user, who may do everything.
    #[arg(long, value_name = "NAME")]
    admin: String,
    /// A file with the user's public keys, such as ~/.ssh/id_ed25519.pub.
    #[arg(long = "authorized-key", value_name = "FILE")]
    authorized_keys: Vec<PathBuf>,
    /// Read the user's password from standard input (one line).
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Args)]
struct AgentArguments {
    /// The root to serve, as made by `procyon init`.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Where NETCONF over SSH listens, in place of what the settings say; port 0 picks one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen_ssh: Vec<std::net::SocketAddr>,
    /// A folder with YANG modules of your own.
    #[arg(long = "yang-dir", value_name = "DIR")]
    yang_dirs: Vec<PathBuf>,
    /// A YANG module of your own to load as plain configuration.
    #[arg(long = "module", value_name = "NAME[:feature,...]")]
    modules: Vec<ModuleSpec>,
    /// Settings file, in place of DIR/procyon.toml.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Stop everything on this root in order: agent, scripts, keeper.
    #[arg(long, conflicts_with_all = ["listen_ssh", "yang_dirs", "modules", "settings"])]
    stop: bool,
    /// Have agent, keeper and custodian become the programs that are installed now; what runs is not touched.
    #[arg(long, conflicts_with_all = ["listen_ssh", "yang_dirs", "modules", "settings", "stop"])]
    upgrade: bool,
    /// Be the agent itself, below systemd and beside a keeper of its own unit, instead of having a custodian start both.
    #[arg(long, conflicts_with_all = ["stop", "upgrade"])]
    serve: bool,
    #[arg(long, hide = true, requires = "serve", value_name = "N")]
    deposit_fd: Option<i32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    procyon::logging::start();
    let done = match arguments.command {
        Command::Init(arguments) => make_root(arguments).map(|()| ExitCode::SUCCESS),
        Command::Agent(arguments) => run_agent(arguments),
        Command::Import(arguments) => moving::driver::import(&arguments.files).map(|()| ExitCode::SUCCESS),
        Command::Export(ExportArguments { what: Exported::Conserver { root } }) => Layout::open(&root)
            .map_err(Into::into)
            .and_then(|layout| viewer::export_conserver(&layout))
            .map(|()| ExitCode::SUCCESS),
        Command::Console(arguments) => show_console(arguments),
        Command::Logs(arguments) => show_logs(&arguments),
        Command::Shell(arguments) => run_shell(&arguments),
        Command::Script(arguments) => run_script_tool(&arguments),
        Command::Deploy(arguments) => deploy(arguments).map(|()| ExitCode::SUCCESS),
        Command::Rooted(arguments) => Err(become_rooted(arguments)),
    };
    done.unwrap_or_else(|error| {
        tell(&error);
        ExitCode::FAILURE
    })
}

fn make_root(arguments: InitArguments) -> anyhow::Result<()> {
    let password = if arguments.password_stdin { Some(read_password()?) } else { None };
    let request = init::Request {
        root: arguments.root,
        admin: arguments.admin,
        authorized_keys: arguments.authorized_keys,
        password,
    };
    let layout = init::init(&request)?;
    let root = layout.root().display();
    writeln!(std::io::stdout(), "initialised {root}; start it: procyon agent --root {root}")?;
    Ok(())
}

fn read_password() -> anyhow::Result<String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        // The echo is on: whoever types it here is told where else it may come from.
        writeln!(
            std::io::stderr(),
            "password for the administrator (shown as you type; better: echo ... | procyon init):"
        )?;
    }
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(input.lock().take(PASSWORD_BYTES_MAX)), &mut line)
        .context("cannot read the password from standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn show_console(arguments: ConsoleArguments) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&arguments.root)?;
    viewer::run(&layout, &arguments.asked)?;
    Ok(ExitCode::SUCCESS)
}

fn show_logs(arguments: &LogsArguments) -> anyhow::Result<ExitCode> {
    logbook::command::run(&Layout::open(&arguments.root)?, &arguments.asked)?;
    Ok(ExitCode::SUCCESS)
}

fn run_shell(arguments: &ShellArguments) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&arguments.root)?;
    shell_command::run(&layout, &arguments.commands, arguments.file.as_deref())
}

/// Becomes the tool, which comes with the on-box library.
fn run_script_tool(arguments: &ScriptArguments) -> anyhow::Result<ExitCode> {
    let python = Settings::default().python;
    let own = std::env::current_exe().context("this program cannot tell where it is")?;
    let error = std::process::Command::new(&python.interpreter)
        .args(["-m", "procyon_testing", &arguments.what])
        .args(&arguments.words)
        .env("PYTHONPATH", &python.package)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PROCYON_BIN", own.parent().unwrap_or(&own))
        .exec();
    Err(error).with_context(|| format!("{} cannot be run", python.interpreter.display()))
}

fn deploy(arguments: DeployArguments) -> anyhow::Result<()> {
    let target = match (arguments.host, arguments.root) {
        (Some(host), _) => {
            let (user, host) = match host.split_once('@') {
                Some((user, host)) => (Some(user.to_owned()), host.to_owned()),
                None => (None, host),
            };
            let (port, key, options) = (Some(arguments.port), arguments.key, arguments.ssh_options);
            deploy::driver::Target::Host { host, port, user, key, options }
        }
        (None, Some(root)) => deploy::driver::Target::Root(root),
        (None, None) => anyhow::bail!("name the device: --host or --root"),
    };
    deploy::driver::run(&deploy::driver::Order {
        script: arguments.script,
        target,
        app: arguments.app,
        arguments: arguments.args,
        restart: arguments.restart,
        max_retries: arguments.max_retries,
        healthy: Duration::from_secs(arguments.healthy),
        is_check: arguments.check,
        shows_differences: arguments.diff,
    })
}

/// Returns only with what kept it from becoming another program.
fn become_rooted(arguments: RootedArguments) -> anyhow::Error {
    let RootedArguments { harddisk, stage, terminal, account, command } = arguments;
    Rooted { harddisk, stage, terminal, account, command }.exec().into()
}

fn run_agent(arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&arguments.root)?;
    if arguments.stop {
        launcher::stop(&layout)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.upgrade {
        writeln!(std::io::stdout(), "{}", launcher::upgrade(&layout)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Read here too when only launching: a mistake is told at once, to the one who typed it.
    let settings = Settings::load(&layout, arguments.settings.as_deref())?;
    if arguments.serve || launcher::keeper_is_alone(&layout)? {
        return serve(arguments, layout, settings).map(|()| ExitCode::SUCCESS);
    }
    let launch = Launch {
        layout,
        listen_ssh: arguments.listen_ssh,
        yang_dirs: arguments.yang_dirs,
        modules: arguments.modules,
        settings: arguments.settings,
    };
    Ok(ExitCode::from(launcher::run(&launch)?))
}

fn serve(arguments: AgentArguments, layout: Layout, settings: Settings) -> anyhow::Result<()> {
    let deposit: Option<Box<dyn Deposit>> = match arguments.deposit_fd {
        Some(number) => {
            let client = DepositClient::inherited(number);
            let what = || format!("descriptor {number} of --deposit-fd is not what the custodian passes");
            Some(Box::new(client.with_context(what)?))
        }
        None => Store::open(RootId::of(layout.root())?.as_str(), "the agent serves", store::AGENT_DESCRIPTORS_MAX)
            .context("systemd, which NOTIFY_SOCKET names, cannot be reached")?
            .map(|store| -> Box<dyn Deposit> { Box::new(store) }),
    };
    let _lock = Lock::take(&layout.agent_lock())
        .with_context(|| format!("an agent serves {} already", layout.root().display()))?;
    let listen_ssh = if arguments.listen_ssh.is_empty() { settings.listen_ssh.clone() } else { arguments.listen_ssh };
    agent::serve(Options {
        layout,
        settings,
        listen_ssh,
        yang_dirs: arguments.yang_dirs,
        modules: arguments.modules,
        deposit,
    })
}

/// One line for the error and one for each cause, unless the line above has said it already.
fn tell(error: &anyhow::Error) {
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string().replace('\n', " ");
        if said.contains(&text) {
            continue;
        }
        let word = if depth == 0 { "error" } else { "  because" };
        let _ = writeln!(std::io::stderr(), "{word}: {text}");
        said = text;
    }
}
