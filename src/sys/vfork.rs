//! A new process without a copy of this one: it borrows memory and, where that is asked for, descriptors until it has become
//! its program, while the thread that starts it waits.
//!
//! What runs in between may only make system calls: memory is shared, locks may be held by other threads, and functions of
//! the C library that tell all threads of something (`setuid`) would tell the wrong process's.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use super::clone3;
use super::low::LOW_NUMBERS;

const STACK_BYTES: usize = 64 * 1024;
const FAILED: libc::c_int = 127;

/// What is executed, ready for the kernel.
pub(super) struct Image {
    /// Tried in this order.
    paths: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    folder: CString,
}

impl Image {
    /// A program without a slash is looked for on the path of its own environment.
    pub(super) fn new<'t>(
        program: &OsStr,
        argv: impl Iterator<Item = &'t OsStr>,
        env: impl Iterator<Item = (&'t OsStr, &'t OsStr)>,
        folder: &OsStr,
    ) -> io::Result<Self> {
        let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let mut entries = Vec::new();
        let mut path = None;
        for (name, value) in env {
            if name == "PATH" {
                path = Some(value.as_bytes().to_vec());
            }
            entries.push(c_string([name.as_bytes(), b"=", value.as_bytes()].concat())?);
        }
        let program = program.as_bytes();
        let path = path.unwrap_or_else(|| b"/bin:/usr/bin".to_vec());
        let paths = if program.contains(&b'/') {
            vec![c_string(program.to_vec())?]
        } else {
            let in_folder = |folder: &[u8]| match folder {
                b"" => c_string(program.to_vec()),
                folder => c_string([folder, b"/", program].concat()),
            };
            path.split(|byte| *byte == b':').map(in_folder).collect::<io::Result<_>>()?
        };
        let argv = argv.map(|word| c_string(word.as_bytes().to_vec())).collect::<io::Result<_>>()?;
        Ok(Self { paths, argv, env: entries, folder: c_string(folder.as_bytes().to_vec())? })
    }
}

struct Job<'j> {
    paths: &'j [CString],
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    folder: *const libc::c_char,
    /// Standard input, output and errors.
    streams: [RawFd; 3],
    shares_descriptors: bool,
    /// The folder of the control group that it has to enter by itself.
    group: Option<RawFd>,
    enter: &'j dyn Fn() -> io::Result<()>,
    error: i32,
}

/// What it is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    /// Standard input, output and errors.
    pub streams: [RawFd; 3],
    /// The folder of the control group it is to be in. One that does not take it is left alone.
    pub group: Option<RawFd>,
    /// Everything it is to have is below [`LOW_NUMBERS`], and the rest is never copied.
    pub few: bool,
}

/// The process id. `enter` is carried out in the new process, with its streams in place, before it becomes the program.
pub(super) fn start(image: &Image, given: Given, enter: &dyn Fn() -> io::Result<()>) -> io::Result<i32> {
    match start_once(image, given, enter) {
        // A kernel without close_range.
        Err(error) if given.few && error.raw_os_error() == Some(libc::ENOSYS) => {
            start_once(image, Given { few: false, ..given }, enter)
        }
        result => result,
    }
}

fn start_once(image: &Image, given: Given, enter: &dyn Fn() -> io::Result<()>) -> io::Result<i32> {
    let Given { streams, group, few } = given;
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(&image.argv), pointers(&image.env));
    let mut job = Job {
        paths: &image.paths,
        argv: argv.as_ptr(),
        env: env.as_ptr(),
        folder: image.folder.as_ptr(),
        streams,
        shares_descriptors: few,
        group: None,
        enter,
        error: 0,
    };
    let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
    // No handler of this process may run in the other one.
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let sharing = if few { libc::CLONE_FILES } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | sharing;
    // SAFETY: the stack is this call's own, aligned, and outlives the child's use of it: CLONE_VFORK holds this thread
    // until the child has become its program or ended. `job` and what it points to live as long, and only the child
    // touches them meanwhile. `run` keeps to system calls.
    #[expect(unsafe_code, reason = "what posix_spawn cannot express")]
    let pid = unsafe {
        let begun = group.map(|group| clone3::begin(&mut stack, flags, group, run, (&raw mut job).cast()));
        match begun {
            Some(Ok(pid)) => Ok(pid),
            // Without groups, or where the group does not take it so, it begins here and tries by itself.
            None | Some(Err(_)) => {
                job.group = group;
                let top = stack.as_mut_ptr_range().end.cast::<libc::c_void>();
                match libc::clone(run, top, flags | libc::SIGCHLD, (&raw mut job).cast()) {
                    pid if pid > 0 => Ok(pid),
                    _ => Err(io::Error::last_os_error()),
                }
            }
        }
    };
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    let pid = pid?;
    // SAFETY: a plain read of a value that the child, which is gone from this memory, may have written.
    #[expect(unsafe_code, reason = "written by the other process")]
    let error = unsafe { ptr::read_volatile(&raw const job.error) };
    if error != 0 {
        // It has ended; nobody else shall be told of it.
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(pid)
}

extern "C" fn run(job: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start_once` passes its own job, and waits.
    #[expect(unsafe_code, reason = "the argument of clone")]
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    let error = become_program(job).raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: as above; and `_exit` is a system call.
    #[expect(unsafe_code, reason = "the way out of a process that shares memory")]
    unsafe {
        ptr::write_volatile(&raw mut job.error, error);
        libc::_exit(FAILED)
    }
}

/// Comes back only with an error.
fn become_program(job: &Job<'_>) -> io::Error {
    // SAFETY: system calls on integers and on strings that `start_once` keeps.
    #[expect(unsafe_code, reason = "plain system calls between clone and exec")]
    unsafe {
        if job.shares_descriptors {
            let first = libc::c_uint::try_from(LOW_NUMBERS).unwrap_or(libc::c_uint::MAX);
            let unshare = libc::CLOSE_RANGE_UNSHARE as libc::c_int;
            if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, unshare) < 0 {
                return io::Error::last_os_error();
            }
        }
        for (number, fd) in (0..).zip(job.streams) {
            let done = if fd == number { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, number) };
            if done < 0 {
                return io::Error::last_os_error();
            }
        }
        if let Some(group) = job.group {
            // Entering may fail (a group that is being removed); the program runs all the same.
            let procs = libc::openat(group, c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if procs >= 0 {
                libc::write(procs, b"0".as_ptr().cast(), 1);
                libc::close(procs);
            }
        }
        if libc::chdir(job.folder) < 0 {
            return io::Error::last_os_error();
        }
        if let Err(error) = (job.enter)() {
            return error;
        }
        let mut denied = false;
        for path in job.paths {
            libc::execve(path.as_ptr(), job.argv, job.env);
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EACCES) => denied = true,
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                error => return io::Error::from_raw_os_error(error.unwrap_or(libc::EIO)),
            }
        }
        io::Error::from_raw_os_error(if denied { libc::EACCES } else { libc::ENOENT })
    }
}
