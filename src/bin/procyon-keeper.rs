//! `procyon-keeper`: the process that holds the containers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use procyon::keeper::deposits::Nobody;
use procyon::keeper::driver;

/// Holds containers: runs their programs, restarts them by policy, writes their logs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Serve the containers of the root.
    #[arg(long)]
    keeper: bool,
    /// The root folder.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// What procServ takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("PROCYON_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the documented form of a fatal error")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (true, Some(root), []) = (arguments.keeper, arguments.root, arguments.rest.as_slice()) else {
        anyhow::bail!(
            "the options of procServ are not built yet: run `procyon-keeper --keeper --root DIR`, or start \
             everything with `procyon agent --root DIR`"
        );
    };
    Ok(driver::main(&root, Box::new(Nobody), true)?)
}
