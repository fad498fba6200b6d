//! The command line as a whole. Each command's own arguments stand with the command.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::command::{Command, dev, serve};
use crate::output::Output;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed, or a check found something
  2  wrong command line or configuration
  3  the server cannot be reached
  4  the server refuses the credentials
  5  not found

Start here: `ironhub dev`. Then, in another terminal:
  ironhub device create my-device
  ironhub simulate --devices 3
  ironhub monitor";

/// An IoT hub of your own that speaks Azure IoT Hub's protocols.
#[derive(Debug, Parser)]
#[command(name = "ironhub", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands that are servers.
#[derive(Debug, Parser)]
#[command(name = "ironhub")]
enum Server {
    Dev(dev::Arguments),
    Serve(serve::Arguments),
}

impl Arguments {
    /// Those of this process; ends it when they ask for help, or are wrong.
    pub(crate) fn of_process() -> Self {
        let command = match Self::of_server() {
            Some(Server::Dev(arguments)) => Command::Dev(arguments),
            Some(Server::Serve(arguments)) => Command::Serve(arguments),
            None => return Self::parse(),
        };
        Self { command }
    }

    /// A server lives long, and the tree of all commands, with the code that builds it, would stay in its memory: half a MiB. Help and
    /// errors come from the whole tree.
    fn of_server() -> Option<Server> {
        let first = std::env::args_os().nth(1)?;
        let is_server = first == "dev" || first == "serve";
        is_server.then(Server::try_parse)?.ok()
    }
}

/// How a command reaches its server, and how it writes.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArguments {
    // The environment is read by hand: a flag of one kind beats a variable of the other.
    #[arg(help = "Context to use, as `ironhub context list` shows them [env: IRONHUB_CONTEXT]")]
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "context_file",
        help_heading = "Server"
    )]
    pub(crate) context: Option<String>,
    #[arg(
        help = "File of a context, as `ironhub dev` writes it beside its data folder [env: IRONHUB_CONTEXT_FILE]"
    )]
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub(crate) context_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// How a command writes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArguments {
    /// How to write results
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORM",
        hide_possible_values = false
    )]
    pub(crate) output: Output,
}

impl OutputArguments {
    /// Whether results are for programs.
    pub(crate) fn is_json(self) -> bool {
        self.output == Output::Json
    }
}
