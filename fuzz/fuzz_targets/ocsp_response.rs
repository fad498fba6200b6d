//! See `fuzz/README.md`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::run("ocsp_response", data));

#[cfg(not(fuzzing))]
fn main() {
    targets::explain("ocsp_response");
}
