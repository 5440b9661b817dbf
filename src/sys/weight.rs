//! The weight of a thread: its share of a processor where others want it too.
//!
//! A light thread that works for long does two things for others. It is nicer than they are (`sched(7)`), and it yields now and then of
//! its own: a kernel that has picked a thread lets whoever wakes wait for milliseconds, however little that one wants.

use std::cell::Cell;

use nix::errno::Errno;

/// A third of the weight of others.
const NICER_BY: i32 = 5;

/// Steps from one yield to the next: some 30 us of building or printing trees.
const STEPS: u8 = 64;

thread_local! {
    /// Until the next yield; `None` on a thread like others.
    static LEFT: Cell<Option<u8>> = const { Cell::new(None) };
}

/// Makes this thread a light one. Where the kernel refuses, it yields all the same.
pub fn lighten() {
    LEFT.set(Some(STEPS));
    if let Err(error) = be_nicer() {
        tracing::debug!(%error, "a thread is as heavy as others");
    }
}

/// To be called at each small step of what may take long. Does nothing on a thread that is not light.
pub fn yield_if_light() {
    let Some(left) = LEFT.get() else { return };
    if left == 0 {
        std::thread::yield_now();
    }
    LEFT.set(Some(left.checked_sub(1).unwrap_or(STEPS)));
}

#[expect(unsafe_code, reason = "nix has no getpriority and no setpriority")]
fn be_nicer() -> nix::Result<()> {
    // On Linux a process of 0 is this thread.
    let (kind, this_thread) = (libc::PRIO_PROCESS, 0);
    // SAFETY: passes no memory. It cannot fail for oneself, and -1 is a value like others.
    let nice = unsafe { libc::getpriority(kind, this_thread) };
    // SAFETY: as above; more than 19 is taken for 19.
    Errno::result(unsafe { libc::setpriority(kind, this_thread, nice + NICER_BY) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 19th field of `proc_pid_stat(5)`.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn a_thread_alone_is_light() {
        let before = nice();
        let there = std::thread::spawn(|| {
            lighten();
            yield_if_light();
            (nice(), LEFT.get())
        });
        assert_eq!(there.join().unwrap(), ((before + NICER_BY).min(19), Some(STEPS - 1)));
        yield_if_light();
        assert_eq!((nice(), LEFT.get()), (before, None));
    }
}
