//! The `ironhub` program: the server, and commands for a running one.
//!
//! One file per command, with its arguments, its help and what it does. Data goes to standard output, talk to standard error;
//! the exit codes are those of [`failure::Status`].

mod arguments;
mod client;
mod command;
mod context;
mod failure;
mod input;
mod issuing;
mod logging;
mod output;
mod run;
mod simulation;
mod workers;

use std::process::ExitCode;

// A handshake takes and returns some two hundred pieces of memory, a few of them larger than what glibc's allocator keeps at hand.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match command::run(arguments::Arguments::of_process().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
