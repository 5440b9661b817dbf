//! A command of the user's own in his place: it types to the console and reads what that shows (`^Ec|`).
//!
//! ```text
//!  none --asked, and named--> runs --it ends, ^C or ^\, or the right to type is lost--> none
//! ```

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::sys::spawn::{set_nonblocking, signal_group};

/// What waits for a command that does not read; while it does, the console waits too.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
const PIECE_BYTES_MAX: usize = 4096;
const HANG_UP: u8 = 0x03;
const KILL: u8 = 0x1c;
const SHOW: u8 = b'o';

#[derive(Debug)]
pub(super) struct Local {
    child: Child,
    /// `None` when it reads no more.
    input: Option<ChildStdin>,
    output: ChildStdout,
    waiting: VecDeque<u8>,
    /// Its user sees what the console shows as well.
    pub(super) is_shown: bool,
}

impl Local {
    /// # Errors
    /// No shell, or no room for a process.
    pub(super) fn begin(command: &str) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-ce", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| io::Error::from(ErrorKind::BrokenPipe))?;
        let input = input.map(OwnedFd::from);
        if let Some(input) = &input {
            set_nonblocking(input)?;
        }
        let input = input.map(ChildStdin::from);
        Ok(Self { child, input, output, waiting: VecDeque::new(), is_shown: true })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Where it would take what waits, if something does.
    pub(super) fn awaited_input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.waiting.is_empty()).map(ChildStdin::as_fd)
    }

    pub(super) fn takes_more(&self) -> bool {
        self.waiting.len() < WAITING_BYTES_MAX
    }

    /// For it to read.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
        self.feed();
    }

    pub(super) fn feed(&mut self) {
        while let (Some(input), false) = (&mut self.input, self.waiting.is_empty()) {
            match input.write(self.waiting.as_slices().0) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It has closed its input, and may go on typing.
                Err(_) => self.input = None,
            }
        }
        if self.input.is_none() {
            self.waiting.clear();
        }
    }

    /// What it types, as the console is to take it: the first key of the escape sequence means itself. `None` at its end.
    pub(super) fn typed(&mut self, escape: [u8; 2]) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = [0; PIECE_BYTES_MAX / 4];
        let count = match self.output.read(&mut bytes) {
            Ok(0) => return Ok(None),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        Ok(Some(meant(&bytes[..count], escape)))
    }

    /// A key of its user's, who cannot type to the console meanwhile.
    pub(super) fn key(&mut self, key: u8) {
        match key {
            HANG_UP => self.signal(libc::SIGHUP),
            KILL => self.signal(libc::SIGKILL),
            SHOW => self.is_shown = !self.is_shown,
            _ => {}
        }
    }

    pub(super) fn hang_up(&self) {
        self.signal(libc::SIGHUP);
    }

    fn signal(&self, signal: i32) {
        let group = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        // It may have ended in this moment.
        let _ = signal_group(group, signal);
    }

    /// How it has ended, in words; waits for it.
    pub(super) fn end(mut self) -> String {
        drop(self.input.take());
        let pid = self.child.id();
        let how = match self.child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit({code})"),
                (None, signal) => format!("signal({})", signal.unwrap_or_default()),
            },
            Err(error) => error.to_string(),
        };
        format!("[local command terminated - pid {pid}: {how}]\r\n")
    }
}

fn meant(bytes: &[u8], escape: [u8; 2]) -> Vec<u8> {
    let mut meant = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte == escape[0] {
            meant.extend_from_slice(&[escape[0], escape[1], escape[0]]);
        } else {
            meant.push(*byte);
        }
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::escape::{Escape, Heard};

    proptest::proptest! {
        #[test]
        fn no_escape_sequence_can_be_printed(bytes in proptest::collection::vec(proptest::sample::select(b"\x05c.|ab".as_slice()), 0..60)) {
            let heard = Escape::default().hear(&meant(&bytes, crate::console::escape::DEFAULT));
            let typed: Vec<u8> = heard.into_iter().flat_map(|heard| match heard {
                Heard::Type(typed) => typed,
                other => panic!("{other:?}"),
            }).collect();
            proptest::prop_assert_eq!(typed, bytes);
        }
    }

    #[test]
    fn a_command_reads_what_is_shown_and_types_what_it_prints() {
        let mut local = Local::begin("read line; echo got $line; exit 3").unwrap();
        local.show(b"hello\n");
        let mut typed = Vec::new();
        while let Some(piece) = local.typed(*b"\x05c").unwrap() {
            typed.extend(piece);
        }
        assert_eq!(typed, b"got hello\n");
        let pid = local.pid();
        assert_eq!(local.end(), format!("[local command terminated - pid {pid}: exit(3)]\r\n"));
    }
}
