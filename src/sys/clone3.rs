//! A new process that begins its life in a control group (`clone3(2)` with `CLONE_INTO_CGROUP`).
//!
//! To move a process that is there already, the kernel stops all forks of the host for a moment; after a quiet time that
//! takes milliseconds. The C library has no such call, and the new process begins on another stack, so the few
//! instructions around the system call are written out, for the one architecture on which they are tested.

use std::ffi::c_void;
use std::io;
use std::os::fd::RawFd;

pub(super) type Begins = extern "C" fn(*mut c_void) -> libc::c_int;

/// The process id. `begins` is called with `job` on the stack given, in the new process; it must not return.
///
/// # Safety
/// `stack` and `job` are the new process's alone for as long as it shares this memory, and `flags` hold this thread for
/// that time.
///
/// # Errors
/// The kernel's; where it has no such call, or none that this program knows how to make, `ENOSYS`.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "what the C library has no function for")]
pub(super) unsafe fn begin(
    stack: &mut [u128],
    flags: libc::c_int,
    group: RawFd,
    begins: Begins,
    job: *mut c_void,
) -> io::Result<i32> {
    // Too large for the type that the C library's constants have.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let unsigned = |number: libc::c_int| u64::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let args = libc::clone_args {
        flags: unsigned(flags)? | CLONE_INTO_CGROUP,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: unsigned(libc::SIGCHLD)?,
        stack: stack.as_mut_ptr().addr() as u64,
        stack_size: size_of_val(stack) as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: unsigned(group)?,
    };
    let result: isize;
    // SAFETY: the kernel reads `args`, which lives until the call is over. The old process goes on behind the label with
    // nothing changed but what is declared; the new one has a stack of its own, and never comes out of `begins`.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") &raw const args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") job,
            in("r13") begins,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match i32::try_from(result) {
        Ok(pid) if pid > 0 => Ok(pid),
        Ok(error) => Err(io::Error::from_raw_os_error(-error)),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// As above, elsewhere.
///
/// # Safety
/// It does nothing.
///
/// # Errors
/// Always `ENOSYS`.
#[cfg(not(target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "the same function as on the architecture that has it")]
pub(super) unsafe fn begin(_: &mut [u128], _: libc::c_int, _: RawFd, _: Begins, _: *mut c_void) -> io::Result<i32> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
