//! Times as the C library prints them, in the machine's time zone: whoever writes a `strftime` format means that one.

use std::ffi::CString;
use std::mem::MaybeUninit;

/// A longer text is none.
const TEXT_BYTES_MAX: usize = 1024;

/// The time by a `strftime` format, in the C locale. Empty for a format that gives nothing or too much.
pub fn format(unix_seconds: i64, format: &str) -> String {
    let Ok(format) = CString::new(format) else { return String::new() };
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    let mut text = [0_u8; TEXT_BYTES_MAX];
    // SAFETY: localtime_r fills the struct it is given (all zero is a valid one, should it fail), strftime writes at most
    // as many bytes as it is told; all memory is ours for the calls.
    #[expect(unsafe_code, reason = "no other strftime knows what people mean by %c")]
    let length = unsafe {
        libc::localtime_r(&raw const unix_seconds, parts.as_mut_ptr());
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), parts.as_ptr())
    };
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_looks_as_in_c() {
        let text = format(1_628_681_880, "%c");
        assert!(text.contains("Aug") && text.ends_with("2021"), "{text}");
        assert_eq!(text.len(), "Wed Aug 11 13:38:00 2021".len());
        assert_eq!(format(0, "[%%] "), "[%] ");
        assert_eq!(format(0, ""), "");
        assert_eq!(format(0, "a\0b"), "");
    }
}
