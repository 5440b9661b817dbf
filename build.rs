//! What the linker has to know beside the crates.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A fault of libyang is mended where it asks this question of itself: src/yang/ffi/nested_when.rs.
    println!("cargo:rustc-link-arg=-Wl,--wrap=ly_set_contains");
}
