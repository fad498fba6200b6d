//! Completion scripts and manual pages, made from the same definition as the command line itself.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The folder; made when it is missing
    folder: PathBuf,
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "ironhub", &mut script);
    io::Write::write_all(&mut io::stdout(), &script)?;
    Ok(())
}

pub(crate) fn man(arguments: &ManArguments) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("{}: {error}", arguments.folder.display()));
    std::fs::create_dir_all(&arguments.folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), &arguments.folder).map_err(failed)
}
