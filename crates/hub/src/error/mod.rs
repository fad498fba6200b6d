//! What goes wrong, and who is told what.
//!
//! The first question is whose fault it is ([`Fault`]); the second what the peer may know. An [`Error`] therefore carries two
//! texts: `message` goes over the wire beside a number of the one table [`Code`], `detail` goes into the log and nowhere else.
//! Refused: a variant per failure. Callers never branch on more than the code, and peers never see more than it.

mod code;

use std::borrow::Cow;
use std::fmt;

pub use code::Code;

use crate::limits::Exceeded;
use crate::store::StoreError;

/// Whose fault an error is; decides the log level and whether an operator is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer sent something that cannot be done.
    Peer,
    /// The operator's configuration does not allow it.
    Operator,
    /// Disk, memory or network let us down.
    Environment,
    /// The hub is wrong.
    Bug,
}

/// A failed operation: a code and a text for the peer, another text for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    fault: Fault,
    message: Cow<'static, str>,
    detail: Option<Cow<'static, str>>,
    tracking_id: Option<String>,
}

impl Error {
    /// The peer asked for something that cannot be done; `message` says to it what and why.
    ///
    /// ```
    /// use hub::error::{Code, Error};
    /// let error = Error::peer(Code::DeviceNotFound, "d1");
    /// assert_eq!(error.to_string(), "DeviceNotFound (404001): d1");
    /// ```
    pub fn peer(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Fault::Peer, code, message.into())
    }

    /// The peer sent an argument that is not valid: [`Code::ArgumentInvalid`], the code of most validation failures.
    pub fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::peer(Code::ArgumentInvalid, message)
    }

    /// The hub is configured not to do this.
    pub fn operator(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Fault::Operator, code, message.into())
    }

    /// The environment failed; it may pass. The peer learns only that it should try again.
    pub fn environment(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            Fault::Environment,
            code,
            Cow::Borrowed("The hub cannot do this at the moment. Try again later."),
        )
        .with_detail(detail)
    }

    /// The hub itself is wrong: [`Code::ServerError`]. The peer learns nothing about it.
    pub fn bug(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            Fault::Bug,
            Code::ServerError,
            Cow::Borrowed("An internal error occurred."),
        )
        .with_detail(detail)
    }

    fn new(fault: Fault, code: Code, message: Cow<'static, str>) -> Self {
        Self {
            code,
            fault,
            message,
            detail: None,
            tracking_id: None,
        }
    }

    /// Adds the text for the log.
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the id under which the front end answered, so that the log line is found again (service-rest.md 15.1).
    pub fn with_tracking_id(mut self, tracking_id: impl Into<String>) -> Self {
        self.tracking_id = Some(tracking_id.into());
        self
    }

    /// The number of the one table.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The text for the peer.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text for the log. Never to be sent.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The id under which the front end answered.
    pub fn tracking_id(&self) -> Option<&str> {
        self.tracking_id.as_deref()
    }

    /// Whether the same call may succeed later without a change by the peer.
    pub const fn is_passing(&self) -> bool {
        matches!(self.code.status(), 429 | 500..=599)
    }
}

/// What may be shown to the peer: code, name and message.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Full(_) | StoreError::Stopped(_) => Code::ServiceUnavailable,
            StoreError::Unreadable(_) | StoreError::Refused(_) => Code::ServerError,
        };
        Self::environment(code, error.to_string())
    }
}

/// A size limit that has no code of its own; callers with a better code say so themselves.
impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::argument(exceeded.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_never_sees_the_detail() {
        let error = Error::bug("row 7 is torn").with_tracking_id("abc");
        assert!(!error.to_string().contains("row 7"));
        assert!(!error.message().contains("row 7"));
        assert_eq!(error.detail(), Some("row 7 is torn"));
        assert_eq!(error.tracking_id(), Some("abc"));
        assert_eq!(error.fault(), Fault::Bug);
    }

    #[test]
    fn a_full_store_is_a_passing_fault_of_the_environment() {
        let error = Error::from(StoreError::Full("/data".into()));
        assert_eq!(error.code(), Code::ServiceUnavailable);
        assert_eq!(error.fault(), Fault::Environment);
        assert!(error.is_passing());
        assert!(!error.message().contains("/data"));
        assert!(!Error::argument("no").is_passing());
    }
}
