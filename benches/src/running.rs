//! A server that runs and is ready: its process, and how clients reach it.

use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::process::Process;

/// A server that is ready.
pub(crate) struct Running {
    endpoint: Arc<Endpoint>,
    process: Process,
}

impl Running {
    /// Of its two halves.
    pub(crate) fn new(endpoint: Endpoint, process: Process) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            process,
        }
    }

    /// Stops it and waits until it has stopped.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.process.stop()
    }

    /// What it is called in the report.
    pub(crate) fn name(&self) -> &'static str {
        self.endpoint.name
    }

    /// How clients reach it.
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}
