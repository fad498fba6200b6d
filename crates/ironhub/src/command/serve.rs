//! `ironhub serve`: a server in production.

use std::path::PathBuf;

use clap::Args;
use hub::clock::{Clock as _, SystemClock};
use server::config::{self, Config, Flag, Sources};

use crate::failure::Failure;
use crate::{logging, run};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sources: SourceArguments,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(crate) struct SourceArguments {
    #[arg(help = "Configuration file [env: IRONHUB_CONFIG]")]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// PEM file with the certificate chain
    #[arg(long, value_name = "FILE")]
    certificate: Option<String>,
    /// PEM file with the private key
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// What to log, such as debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines look: auto, text or json
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
    /// Set any key of the configuration; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = any_key)]
    set: Vec<Flag>,
}

impl SourceArguments {
    /// Reads the configuration and checks all but the certificate files.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        config::load(Config::default(), &self.sources()).map_err(|error| Failure::usage(error.to_string()))
    }

    fn sources(&self) -> Sources {
        let from_environment = || std::env::var_os("IRONHUB_CONFIG").map(PathBuf::from);
        let flag = |written: &str, key: &str, value: &Option<String>| {
            value
                .as_ref()
                .map(|value| Flag::new(written, key, value.as_str()))
        };
        let own = [
            flag("--data", "data_dir", &self.data),
            flag("--certificate", "tls.certificate", &self.certificate),
            flag("--key", "tls.key", &self.key),
            flag("--log-level", "log.level", &self.log_level),
            flag("--log-format", "log.format", &self.log_format),
        ];
        Sources {
            file: self.config.clone().or_else(from_environment),
            environment: environment(),
            flags: own
                .into_iter()
                .flatten()
                .chain(self.set.iter().cloned())
                .collect(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.sources.load()?;
    check_files(&config)?;
    run::run(config, |_| {})
}

/// Checks what the configuration names: certificates, and what only the program knows.
pub(crate) fn check_files(config: &Config) -> Result<(), Failure> {
    logging::filter(&config.log.level)?;
    config::check_certificates(config, SystemClock::new().now())
        .map_err(|error| Failure::usage(error.to_string()))
}

/// The environment, of which variables that are not text are left out: no key takes them. Nor does one take the master key.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter(|(name, _)| name != server::master_key::VARIABLE)
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads the argument of `--set`.
pub(crate) fn any_key(argument: &str) -> Result<Flag, String> {
    Flag::any(argument).ok_or_else(|| "write KEY=VALUE, such as limits.idle_secs_max=60".to_owned())
}
