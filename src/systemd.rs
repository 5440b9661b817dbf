//! Telling the service manager how we are: `sd_notify`, which is one datagram to the socket that `NOTIFY_SOCKET` names.
//!
//! Must not know: what "ready" means; its callers do.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What the service manager says to the process that it has started, and to nobody below that.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Tells the service manager that we serve, and which process to watch. `false` where there is no manager.
pub fn notify_ready(pid: u32) -> io::Result<bool> {
    notify(&format!("READY=1\nMAINPID={pid}\n"))
}

/// Tells the service manager that this very process serves, and how.
pub fn notify_serving(status: &str) -> io::Result<bool> {
    notify(&format!("READY=1\nSTATUS={status}\n"))
}

/// Tells the service manager that this process still turns.
pub fn notify_alive() -> io::Result<bool> {
    notify("WATCHDOG=1\n")
}

/// How often the service manager is to be told so: twice in the time that it allows; `None` where it does not ask.
pub fn watchdog() -> Option<Duration> {
    let is_for_us = std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (is_for_us && micros > 0).then(|| Duration::from_micros(micros / 2))
}

/// Tells the service manager that an ordered stop has begun.
pub fn notify_stopping() -> io::Result<bool> {
    notify("STOPPING=1\n")
}

fn notify(state: &str) -> io::Result<bool> {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
        return Ok(false);
    };
    notify_at(&address, state)?;
    Ok(true)
}

/// The address is a path, or a name in the abstract namespace written with a leading `@`.
fn notify_at(address: &OsStr, state: &str) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not stop us: the line is worth less than the service.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify_at(path.as_os_str(), "READY=1\n").unwrap();
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1\n");
    }

    #[test]
    fn an_abstract_name_is_told() {
        let name = format!("procyon-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify_at(OsStr::new(&format!("@{name}")), "STOPPING=1\n").unwrap();
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"STOPPING=1\n");
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_not_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        assert!(notify_at(folder.path().join("absent").as_os_str(), "READY=1\n").is_err());
    }
}
