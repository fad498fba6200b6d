//! Log output of the server: text on a terminal, JSON elsewhere, always on standard error.

use std::io::{self, IsTerminal as _};

use server::config::{LogConfig, LogFormat};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::Failure;

/// Starts logging for the rest of the process.
pub(crate) fn start(config: &LogConfig) -> Result<(), Failure> {
    let filter = filter(&config.level)?;
    let is_terminal = io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(is_terminal);
    let result = if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines).try_init()
    };
    result.map_err(|error| Failure::failed(format!("logging cannot be started: {error}")))
}

/// Checks and reads the filter. Targets are matched by prefix; fields and spans are not, which saves a regex engine.
pub(crate) fn filter(text: &str) -> Result<Targets, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!(
            "log.level: \"{text}\" is not a log level or a list of filters ({error}); give one such as \"info\" or \
             \"info,server::mqtt=debug\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        for good in ["info", "warn,server::mqtt=debug", "off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        let failure = filter("info,server=loud").unwrap_err();
        assert!(format!("{failure:?}").contains("log.level"), "{failure:?}");
    }
}
