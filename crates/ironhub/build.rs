//! How the program is linked.

use std::env::{var, var_os};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The functions that a server calls, which lie beside each other: docs/decisions/0020-functions-that-lie-together.md.
const LAYOUT: &str = "layout/functions.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    let target = |part: &str| var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if target("OS") == "linux" && target("ARCH") == "x86_64" {
        // Addresses that the loader adjusts are listed as bits instead of entries of 24 bytes: the whole list, else half a megabyte, is
        // read at every start and stays resident. glibc knows the form since 2.36, musl since 1.2.4.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        if var("PROFILE").is_ok_and(|profile| profile == "release") {
            lay_out();
        }
    }
}

fn lay_out() {
    let script = PathBuf::from(var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(LAYOUT);
    // Two arguments, so that any path will do.
    let arguments = ["-T".to_owned(), script.display().to_string()];
    if links_with(&arguments) {
        for argument in arguments {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    } else {
        println!(
            "cargo::warning=this linker takes no linker script that adds to its own, as mold; the program works as well, but takes \
             more memory"
        );
    }
}

/// Whether a program can be linked so: the linker is the builder's to choose, and not all know scripts.
fn links_with(arguments: &[String]) -> bool {
    let out = PathBuf::from(var_os("OUT_DIR").unwrap_or_default());
    let source = out.join("empty.rs");
    if std::fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let mut compiler = Command::new(var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    compiler
        .args([
            "--edition",
            "2024",
            "--target",
            &var("TARGET").unwrap_or_default(),
            "-o",
        ])
        .arg(out.join("empty"))
        .arg(&source);
    if let Some(linker) = var_os("RUSTC_LINKER") {
        let flag = format!("linker={}", Path::new(&linker).display());
        compiler.args(["-C", &flag]);
    }
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    compiler.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    compiler.args(
        arguments
            .iter()
            .flat_map(|argument| ["-C".to_owned(), format!("link-arg={argument}")]),
    );
    compiler.output().is_ok_and(|output| output.status.success())
}
