//! The command `procyon`: arguments and exit status. What it does is in the library.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use procyon::agent::{self, ModuleSpec, Options};
use procyon::init;
use procyon::keeper::custodian::lock::Lock;
use procyon::keeper::deposit::DepositClient;
use procyon::launcher::{self, Launch};
use procyon::moving;
use procyon::settings::{Layout, Settings};
use procyon::shell_command;
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
    /// Read files of procServ, conserver or supervisord: print the containers that they describe, and what does not fit.
    Import(ImportArguments),
    /// Write the file by which another program serves the consoles of this device.
    Export(ExportArguments),
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
struct ConsoleArguments {
    /// The root that is served.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    #[command(flatten)]
    asked: viewer::Asked,
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
    /// Be the agent, instead of having the custodian start it.
    #[arg(long, hide = true, conflicts_with = "stop")]
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
        Command::Shell(arguments) => run_shell(&arguments),
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

fn run_shell(arguments: &ShellArguments) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&arguments.root)?;
    shell_command::run(&layout, &arguments.commands, arguments.file.as_deref())
}

fn run_agent(arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&arguments.root)?;
    if arguments.stop {
        launcher::stop(&layout)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Read here too when only launching: a mistake is told at once, to the one who typed it.
    let settings = Settings::load(&layout, arguments.settings.as_deref())?;
    if arguments.serve {
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
    let deposit = match arguments.deposit_fd {
        Some(number) => {
            let client = DepositClient::inherited(number);
            Some(
                client
                    .with_context(|| format!("descriptor {number} of --deposit-fd is not what the custodian passes"))?,
            )
        }
        None => None,
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
