//! The device or module that a command is about.

use clap::Args;

use crate::arguments::ClientArguments;
use crate::client::escaped;
use crate::output::printable;

#[derive(Debug, Args)]
pub(super) struct TargetArguments {
    /// Id of the device
    device: String,
    /// A module of the device
    #[arg(long, value_name = "ID")]
    module: Option<String>,
    #[command(flatten)]
    pub(super) client: ClientArguments,
}

impl TargetArguments {
    /// The path of its kind: `{kind}/{device}[/modules/{module}]`.
    pub(super) fn path(&self, kind: &str) -> String {
        let module = self
            .module
            .as_ref()
            .map(|module| format!("/modules/{}", escaped(module)))
            .unwrap_or_default();
        format!("{kind}/{}{module}", escaped(&self.device))
    }

    /// Its name in sentences.
    pub(super) fn name(&self) -> String {
        match &self.module {
            Some(module) => printable(&format!("module {}/{module}", self.device)),
            None => printable(&format!("device {}", self.device)),
        }
    }

    /// Its name as the arguments that mean it, for advice.
    pub(super) fn arguments(&self) -> String {
        match &self.module {
            Some(module) => printable(&format!("{} --module {module}", self.device)),
            None => printable(&self.device),
        }
    }
}
