//! `ironhub simulate`: devices that send telemetry and take what back ends send, to see a hub at work.

use std::time::Duration;

use clap::Args;

use crate::arguments::ClientArguments;
use crate::client::block_on;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::simulation::{self, Plan, Report, Roles};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many devices; those that do not exist are created
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    devices: u32,
    /// Messages that each device sends in a second
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = rate)]
    rate: f64,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=250_000))]
    size: u32,
    /// How long to send, such as "30 s" [default: until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = server::config::parse_duration)]
    duration: Option<Duration>,
    /// What the ids of the devices begin with
    #[arg(long, value_name = "TEXT", default_value = "simulated")]
    prefix: String,
    /// The devices keep their twins: each reports a property every ten seconds, and what is desired of it
    #[arg(long)]
    twins: bool,
    /// The devices answer methods, with status 200 and the payload that they were given
    #[arg(long)]
    methods: bool,
    /// The devices take commands and acknowledge them
    #[arg(long)]
    commands: bool,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan {
        ids: (1..=arguments.devices)
            .map(|number| format!("{}-{number:04}", arguments.prefix))
            .collect(),
        interval: Duration::from_secs_f64(1.0 / arguments.rate),
        body_bytes: usize::try_from(arguments.size).unwrap_or(usize::MAX),
        duration: arguments.duration,
        roles: Roles {
            twins: arguments.twins,
            methods: arguments.methods,
            commands: arguments.commands,
        },
    };
    let roles = plan.roles;
    let report = block_on(simulation::run(&Context::of(&arguments.client)?, plan))?;
    if arguments.client.output.is_json() {
        output::json(&report)?;
    } else {
        show(&report, roles)?;
    }
    match report.last_error {
        Some(error) if report.acknowledged == 0 => {
            Err(Failure::failed(format!("nothing was acknowledged: {error}")))
        }
        _ if report.acknowledged < report.sent => Err(Failure::failed(
            "some messages were not acknowledged before the end",
        )),
        Some(error) if report.refused_requests > 0 => {
            Err(Failure::failed(format!("some requests were refused: {error}")))
        }
        _ => Ok(()),
    }
}

fn show(report: &Report, roles: Roles) -> Result<(), Failure> {
    let millis = |value: f64| format!("{value:.2} ms");
    let mut pairs = vec![
        ("devices", report.devices.to_string()),
        ("seconds", format!("{:.1}", report.seconds)),
        ("sent", report.sent.to_string()),
        ("acknowledged", report.acknowledged.to_string()),
        ("per second", format!("{:.1}", report.acknowledged_per_second)),
        ("failed connections", report.failed_connections.to_string()),
        ("latency p50", millis(report.latency_millis.p50)),
        ("latency p90", millis(report.latency_millis.p90)),
        ("latency p99", millis(report.latency_millis.p99)),
        ("latency max", millis(report.latency_millis.max)),
    ];
    for (is_shown, name, count) in [
        (roles.twins, "properties reported", report.properties_reported),
        (roles.twins, "desired answered", report.desired_answered),
        (roles.twins, "refused requests", report.refused_requests),
        (roles.methods, "methods answered", report.methods_answered),
        (roles.commands, "commands taken", report.commands_taken),
    ] {
        if is_shown {
            pairs.push((name, count.to_string()));
        }
    }
    if let Some(error) = &report.last_error {
        pairs.push(("last error", error.clone()));
    }
    output::pairs(&pairs)
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("give a number between 0.001 and 10000".to_owned()),
    }
}
