//! Passes the linker script on.

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rerun-if-changed=link.ld");
    println!("cargo:rustc-link-arg=-T{root}/link.ld");
    println!("cargo:rustc-link-arg=--no-dynamic-linker");
}
