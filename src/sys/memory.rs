//! How this process keeps memory that it has freed, and code that it has run. Must not know: what it is used for.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::ptr::{self, NonNull};

use nix::sys::mman::MmapAdvise;

/// Threads beyond this share what the allocator keeps in stock; with one stock each, each would keep its own peak.
const STOCKS: libc::c_int = 2;

/// Blocks from this size on are the system's own, given back the moment they are freed: large replies, mostly.
const SYSTEM_BLOCK_BYTES: libc::c_int = 1 << 20;

/// To be said before threads are started.
pub fn keep_little() {
    // SAFETY: sets two numbers of the C library; it may refuse them, and then things are as they were.
    #[expect(unsafe_code, reason = "the allocator is the C library's")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, STOCKS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, SYSTEM_BLOCK_BYTES);
    }
}

/// Lets go of the pages of the program's file, code and constants: of those that only the start needed for good, the others
/// come back from the file, which the system has in memory, at their next use.
pub fn forget_code_of_start() -> io::Result<()> {
    let program = std::env::current_exe()?;
    for range in code_of(&program, &fs::read_to_string("/proc/self/smaps")?) {
        let start = NonNull::new(ptr::with_exposed_provenance_mut(range.start)).ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: the range is mapped from a file, may not be written, and has no page that differs from the file: whatever
        // is read or run there after this is the same as before.
        #[expect(unsafe_code, reason = "no safe wrapper of madvise")]
        unsafe {
            nix::sys::mman::madvise(start, range.len(), MmapAdvise::MADV_DONTNEED)?;
        }
    }
    Ok(())
}

/// Where `program` is mapped to be run or read, as the file has it.
fn code_of(program: &Path, smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = mapping_of(program, line) {
            candidate = Some(range);
        } else if line.starts_with("Anonymous:") {
            found.extend(candidate.take().filter(|_| line.split_ascii_whitespace().nth(1) == Some("0")));
        }
    }
    found
}

/// The range of a line `START-END r-xp OFFSET DEVICE INODE PATH`, if nobody may write there.
fn mapping_of(program: &Path, line: &str) -> Option<Range<usize>> {
    let (range, rest) = line.split_once(" r-xp ").or_else(|| line.split_once(" r--p "))?;
    let path = rest.split_ascii_whitespace().skip(3).collect::<Vec<_>>().join(" ");
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    (Path::new(&path) == program).then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_the_file_counts_as_code() {
        let smaps = "\
            1000-2000 r--p 00000000 fe:00 7 /bin/agent\nRss: 4 kB\nAnonymous: 0 kB\n\
            2000-5000 r-xp 00001000 fe:00 7 /bin/agent\nRss: 4 kB\nAnonymous: 0 kB\n\
            5000-6000 r-xp 00004000 fe:00 7 /bin/agent\nRss: 4 kB\nAnonymous: 4 kB\n\
            6000-7000 rw-p 00005000 fe:00 7 /bin/agent\nAnonymous: 4 kB\n\
            7000-9000 r-xp 00000000 fe:00 9 /lib/libc.so.6\nAnonymous: 0 kB\n";
        assert_eq!(code_of(Path::new("/bin/agent"), smaps), [0x1000..0x2000, 0x2000..0x5000]);
    }

    #[test]
    fn a_program_goes_on_without_the_code_of_its_start() {
        let program = std::env::current_exe().unwrap();
        assert!(!code_of(&program, &fs::read_to_string("/proc/self/smaps").unwrap()).is_empty());
        forget_code_of_start().unwrap();
        assert_eq!(format!("{:?}", Some(1)), "Some(1)");
    }
}
