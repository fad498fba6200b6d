//! `ironhub config`: checking and showing the configuration.

use clap::Subcommand;
use server::config;

use super::serve::{SourceArguments, check_files};
use crate::failure::Failure;
use crate::output::line;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check everything, certificate files included, and tell all mistakes at once
    Check(SourceArguments),
    /// Show the configuration in force, as a commented file
    Print(SourceArguments),
    /// Show all keys with their defaults and meaning, in Markdown
    Reference,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check(sources) => {
            check_files(&sources.load()?)?;
            line("the configuration is good")
        }
        Command::Print(sources) => line(config::print(&sources.load()?).trim_end()),
        Command::Reference => line(config::reference().trim_end()),
    }
}
