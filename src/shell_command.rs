//! The command `procyon shell`: a terminal, a file or some lines on this side, the agent's shell on the other.
//!
//! The shell runs in the agent; but who sits at a console when that ends stays there, by the keeper alone.
//!
//! Must not know: what any line means.

use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::settings::Layout;
use crate::shell::marks::{Marks, Reader, Sat};
use crate::shell::paint;
use crate::shell::relay::{Asking, Frame, Window};
use crate::sys::terminal;
use crate::viewer;

const READ_BYTES: usize = 16 * 1024;
const NONCE_BYTES: usize = 16;
const AGENT_ENDED: &str = "the agent has ended; what was not committed is forgotten";

/// Runs the lines, or what is in the file, or what comes on standard input; the exit status is the shell's.
///
/// # Errors
/// No agent on this root, or a file that cannot be read.
pub fn run(layout: &Layout, commands: &[String], file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let socket = layout.shell_socket();
    let stream = UnixStream::connect(&socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            anyhow::anyhow!("no agent serves {0}; start it: procyon agent --root {0}", layout.root().display())
        }
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "{} lets in the agent's own account only; use `ssh` with an account of the device",
            socket.display()
        ),
        _ => anyhow::Error::new(error).context(format!("{} cannot be reached", socket.display())),
    })?;
    let commands = match file {
        Some(file) => {
            Some(std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?)
        }
        None if commands.is_empty() => None,
        None => Some(commands.join("\n")),
    };
    let is_typed = commands.is_none() && io::stdin().is_terminal() && io::stdout().is_terminal();
    let terminal = is_typed.then(|| {
        let (columns, rows) = terminal::size();
        let kind = std::env::var("TERM").unwrap_or_default();
        let has_colours = paint::is_wanted(&kind, &std::env::var("NO_COLOR").unwrap_or_default());
        Window { kind, columns, rows, has_colours }
    });
    let nonce = is_typed.then(nonce).transpose()?;
    let mut reader = nonce.as_deref().map(|nonce| Reader::new(Marks::new(nonce)));
    let asking = Asking { commands, terminal, marks: nonce };
    let mut asked = serde_json::to_vec(&asking)?;
    asked.push(b'\n');
    let mut writer = stream.try_clone()?;
    writer.write_all(&asked).context("the agent does not listen")?;
    let raw = is_typed.then(terminal::Raw::enter).transpose().context("the terminal cannot be used")?;
    if is_typed {
        let mut writer = stream.try_clone()?;
        terminal::on_resize(move |(columns, rows)| {
            // An agent that is gone is noticed by whoever reads.
            let _ = writer.write_all(&Frame::Resized { columns, rows }.encode());
        })?;
    }
    let (stopped, stop) = io::pipe()?;
    let input = if asking.commands.is_none() {
        let passing = move || pass_input(&mut writer, &stopped);
        // Ends with the process if nobody stops it: nobody waits for a terminal that says nothing.
        Some(std::thread::Builder::new().name("input".to_owned()).spawn(passing)?)
    } else {
        None
    };
    let ended = receive(stream, reader.as_mut());
    let Some((shown, seat)) = reader.filter(|_| matches!(ended, Ok(Ended::Agent))).map(Reader::finish) else {
        drop(raw);
        return match ended? {
            Ended::Shell(status) => Ok(status),
            Ended::Agent => bail!(AGENT_ENDED),
        };
    };
    put(&mut io::stdout(), &shown)?;
    if let Some(Sat { seat, offset, .. }) = seat {
        // Nobody but the console is to read the terminal from here on.
        drop(stop);
        let typed = input.and_then(|input| input.join().ok()).unwrap_or_default();
        viewer::go_on(layout, &seat, offset, &typed)?;
    }
    drop(raw);
    bail!(AGENT_ENDED)
}

fn nonce() -> anyhow::Result<String> {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Standard input, as frames, to its end or until `stopped` says so; what was read and nobody has taken.
fn pass_input(writer: &mut UnixStream, stopped: &io::PipeReader) -> Vec<u8> {
    let input = io::stdin();
    let mut buffer = [0; READ_BYTES];
    loop {
        let mut set = [PollFd::new(input.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        match poll(&mut set, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            _ if set[1].revents().is_some_and(|flags| !flags.is_empty()) => return Vec::new(),
            _ => {}
        }
        let (frame, typed) = match nix::unistd::read(&input, &mut buffer) {
            Ok(length @ 1..) => (Frame::Input(buffer[..length].to_vec()), &buffer[..length]),
            Err(Errno::EINTR | Errno::EAGAIN) => continue,
            _ => (Frame::EndOfInput, &[][..]),
        };
        if writer.write_all(&frame.encode()).is_err() || frame == Frame::EndOfInput {
            return typed.to_vec();
        }
    }
}

/// What has come to its end.
enum Ended {
    Shell(ExitCode),
    Agent,
}

fn receive(mut stream: UnixStream, mut marked: Option<&mut Reader>) -> anyhow::Result<Ended> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut taken = 0;
        while let Some((frame, length)) = Frame::decode(&bytes[taken..])? {
            taken += length;
            match frame {
                Frame::Output(text) => match &mut marked {
                    Some(reader) => put(&mut io::stdout(), &reader.take(&text))?,
                    None => put(&mut io::stdout(), &text)?,
                },
                Frame::Errors(text) => put(&mut io::stderr(), &text)?,
                Frame::Exit(status) => {
                    return Ok(Ended::Shell(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))));
                }
                Frame::Input(_) | Frame::EndOfInput | Frame::Resized { .. } => {}
            }
        }
        bytes.drain(..taken);
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Ended::Agent),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Ended::Agent),
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("the agent cannot be heard any more"),
        }
    }
}

/// Who reads no further (`| head`) is no trouble of ours.
fn put(out: &mut impl io::Write, text: &[u8]) -> io::Result<()> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        done => done,
    }
}
