//! How the program is linked.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part: &str| var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if target("OS") == "linux" && target("ARCH") == "x86_64" {
        // Addresses that the loader adjusts are listed as bits instead of entries of 24 bytes: the whole list, else half a megabyte, is
        // read at every start and stays resident. glibc knows the form since 2.36, musl since 1.2.4.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
