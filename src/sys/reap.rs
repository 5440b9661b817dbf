//! Collecting children that have ended, with the status exactly as the kernel gives it.

/// Reaps one child that has ended, without waiting: its id and raw wait status. `None` when none has.
///
/// nix decodes the status and loses the child when a real-time signal killed it; whoever restarts processes by their
/// status must lose none.
pub fn any() -> Option<(i32, i32)> {
    let mut raw_status: libc::c_int = 0;
    // SAFETY: the pointer is to a live, writable integer; WNOHANG returns at once.
    #[expect(unsafe_code, reason = "the raw status is wanted, which nix does not give")]
    let pid = unsafe { libc::waitpid(-1, &raw mut raw_status, libc::WNOHANG) };
    (pid > 0).then_some((pid, raw_status))
}
