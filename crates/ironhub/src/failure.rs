//! Why a command did not do what it was told, and the exit code that says so.

use std::io::{self, Write as _};
use std::process::ExitCode;

use hub::error::Code;

/// What went wrong, as scripts see it. Documented in `ironhub --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The command failed, or a check found something.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The server cannot be reached.
    Unreachable = 3,
    /// The server refuses the credentials.
    Refused = 4,
    /// What was asked for does not exist.
    NotFound = 5,
}

/// A failed command. The text tells what happened, what it means and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    text: String,
    code: Option<Code>,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            code: None,
        }
    }

    /// The command failed.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(Status::Failed, text)
    }

    /// The caller made a mistake.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Status::Usage, text)
    }

    /// A command that said all there is to say on standard output, and fails.
    pub(crate) fn silent() -> Self {
        Self::failed("")
    }

    /// With the code that the server gave.
    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// The code that the server gave, if it refused.
    pub(crate) fn code(&self) -> Option<Code> {
        self.code
    }

    /// What went wrong.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Says it on standard error.
    pub(crate) fn report(self) -> ExitCode {
        if !self.text.is_empty() {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(io::stderr(), "error: {}", self.text);
        }
        ExitCode::from(self.status as u8)
    }
}

/// Standard output that nobody reads any more: `ironhub monitor | head` ends well.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent();
        }
        Self::failed(format!("cannot write to standard output: {error}"))
    }
}
