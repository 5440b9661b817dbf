#![no_main]

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[path = "../trials.rs"]
#[expect(dead_code, reason = "each target plays one of the trials")]
mod trials;

libfuzzer_sys::fuzz_target!(|data: &[u8]| trials::hello(data));
