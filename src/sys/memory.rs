//! How this process keeps memory that it has freed. Must not know: what it is used for.

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
