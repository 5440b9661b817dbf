//! Who watches a console: recent history at once, then what is printed, through a bounded backlog.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use std::os::fd::AsRawFd;

/// What is remembered of a console for those who attach later.
pub const HISTORY_BYTES_MAX: usize = 32 * 1024;
/// Waits for a slow viewer, beside the socket's own buffer; what comes on top is lost to that viewer, and counted.
pub const BACKLOG_BYTES_MAX: usize = 256 * 1024;

/// The last bytes of a stream.
#[derive(Debug)]
pub struct Recent {
    bytes: VecDeque<u8>,
    bytes_max: usize,
}

impl Recent {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: VecDeque::new(), bytes_max }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.bytes_max)..];
        let surplus = (self.bytes.len() + bytes.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..surplus);
        self.bytes.extend(bytes);
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}

#[derive(Debug)]
pub struct Viewer {
    pub slot: u32,
    pub socket: OwnedFd,
    backlog: VecDeque<u8>,
    lost: u64,
}

impl Viewer {
    pub fn new(slot: u32, socket: OwnedFd, history: &[u8]) -> Self {
        Self { slot, socket, backlog: history.iter().copied().collect(), lost: 0 }
    }

    pub fn show(&mut self, bytes: &[u8]) {
        if self.lost > 0 && self.backlog.is_empty() {
            self.backlog.extend(format!("\r\n[{} bytes lost]\r\n", self.lost).bytes());
            self.lost = 0;
        }
        if self.lost == 0 && self.backlog.len() + bytes.len() <= BACKLOG_BYTES_MAX {
            self.backlog.extend(bytes);
        } else {
            self.lost = self.lost.saturating_add(bytes.len() as u64);
        }
    }

    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Sends what the viewer takes now; an error means that it is gone.
    pub fn flush(&mut self) -> nix::Result<()> {
        while !self.backlog.is_empty() {
            let (first, _) = self.backlog.as_slices();
            match send(self.socket.as_raw_fd(), first, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => drop(self.backlog.drain(..sent)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_the_last_bytes_are_remembered() {
        let mut recent = Recent::new(5);
        recent.push(b"abc");
        recent.push(b"defg");
        assert_eq!(recent.to_vec(), b"cdefg");
        recent.push(b"0123456789");
        assert_eq!(recent.to_vec(), b"56789");
    }

    #[test]
    fn a_viewer_that_sleeps_loses_bytes_and_is_told_how_many() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut viewer = Viewer::new(1, ours.into(), b"history\n");
        let mut shown = 8;
        for _ in 0..100 {
            viewer.show(&[b'x'; 65536]);
            viewer.flush().unwrap();
            shown += 65536;
        }
        let mut seen = Vec::new();
        while viewer.has_backlog() {
            let _ = theirs.read_to_end(&mut seen);
            viewer.flush().unwrap();
        }
        viewer.show(b"again");
        viewer.flush().unwrap();
        let _ = theirs.read_to_end(&mut seen);
        assert!(seen.starts_with(b"history\nx"));
        let text = String::from_utf8(seen).unwrap();
        let kept = 8 + text.matches('x').count();
        assert!(text.ends_with(&format!("\r\n[{} bytes lost]\r\nagain", shown - kept)));
    }
}
