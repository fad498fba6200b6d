//! Why a measurement ended without a number, by whose fault.

use std::fmt::Display;

/// Why a measurement ended without a number.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// This machine: a missing program, too few file descriptors, a full disk.
    #[error("this machine: {0}")]
    Environment(String),
    /// A server under test did not do what it has to.
    #[error("{server}: {what}")]
    Server {
        /// Which.
        server: &'static str,
        /// What it did instead.
        what: String,
    },
}

impl Failure {
    /// Something that this machine failed to do.
    pub(crate) fn environment(what: &str, error: impl Display) -> Self {
        Self::Environment(format!("{what}: {error}"))
    }

    /// Something that a server failed to do.
    pub(crate) fn server(server: &'static str, what: impl Display) -> Self {
        Self::Server {
            server,
            what: what.to_string(),
        }
    }
}
