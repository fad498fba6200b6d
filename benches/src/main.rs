//! Ironhub measured beside mosquitto in one run: memory, processor time and latency under the same load.
//!
//! Only ratios of one run mean anything: the machine, its noise and the load generator are the same for both. Seconds are
//! reported and never asserted. `benches/README.md` says what is measured and how the peer is set up.

// Counts and nanoseconds of a run are far below 2^52.
#![allow(clippy::cast_precision_loss)]

mod acknowledgements;
mod alone;
mod amqp_client;
mod bare_tls;
mod certificate;
mod client;
mod clock;
mod cost;
mod devices;
mod endpoint;
mod failure;
mod fleet;
mod frames;
mod inbox;
mod inside;
mod metric;
mod peer;
mod plan;
mod process;
mod publisher;
mod report;
mod rounds;
mod running;
mod service;
mod subject;
mod token;
mod web_token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use failure::Failure;
use plan::{Part, Plan, Sizes};

/// Measures Ironhub beside mosquitto.
#[derive(Debug, Parser)]
struct Arguments {
    /// Ironhub's program
    #[arg(
        long,
        env = "IRONHUB_BIN",
        value_name = "FILE",
        default_value = "target/release/ironhub"
    )]
    ironhub: PathBuf,
    /// Measure mosquitto alone
    #[arg(long)]
    peer_only: bool,
    /// One short round of everything: whether it works, not how fast
    #[arg(long)]
    quick: bool,
    /// Measure only this part, after the empty servers if it has a peer; may be given several times
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Also fill a registry and measure it
    #[arg(long)]
    registry: bool,
    /// Devices of that registry [default: 1000000, with --quick 20000]
    #[arg(long, value_name = "COUNT")]
    registry_devices: Option<usize>,
    /// Be the bare server that connects with certificates are measured beside
    #[arg(long, value_name = "FOLDER", hide = true)]
    bare_tls: Option<PathBuf>,
}

impl Arguments {
    fn sizes(&self) -> Sizes {
        let registry_devices = |default| self.registry.then(|| self.registry_devices.unwrap_or(default));
        if self.quick {
            Sizes {
                rounds: 1,
                window: Duration::from_secs(2),
                idle_connections: 1_000,
                storm_connections: 500,
                queue_devices: 100,
                reader_messages: 50_000,
                revoked: 20_000,
                registry_devices: registry_devices(20_000),
            }
        } else {
            Sizes {
                rounds: 3,
                window: Duration::from_secs(10),
                idle_connections: 10_000,
                storm_connections: 5_000,
                queue_devices: 2_000,
                reader_messages: 1_000_000,
                revoked: 1_000_000,
                registry_devices: registry_devices(1_000_000),
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.bare_tls {
        Some(folder) => bare_tls::serve(folder).map(|()| String::new()),
        None => run(&arguments),
    };
    match outcome {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, Failure> {
    let sizes = arguments.sizes();
    plan::check_open_files(sizes.idle_connections.max(sizes.storm_connections))?;
    let folder = plan::folder()?;
    let plan = Plan {
        program: (!arguments.peer_only).then(|| arguments.ironhub.clone()),
        folder: folder.path().to_owned(),
        only: arguments.only.clone(),
        sizes,
    };
    Ok(plan.run()?.table())
}
