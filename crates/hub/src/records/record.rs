//! One record: who, from where, which step failed, what was expected, what came, what to do.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::tenancy::HubName;

/// Longest text that a peer supplied and a record keeps, in characters.
const SUPPLIED_CHARS_MAX: usize = 256;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An identity, a service or a reader was let in.
    Connected,
    /// A connection, a link or a request was refused.
    Refused,
    /// A connection ended.
    Closed,
}

impl Kind {
    /// Its name in metrics and JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

/// Where a connection came from and whom it claims to be. The claim is what the peer said, proven or not.
#[derive(Debug, Clone, Serialize)]
pub struct Origin {
    /// The hub, once it is known.
    #[serde(serialize_with = "hub_text")]
    pub hub: Option<HubName>,
    /// The device that the peer claims to be.
    pub device: Option<String>,
    /// The module that the peer claims to be.
    pub module: Option<String>,
    /// Address and port of the peer.
    pub peer: SocketAddr,
    /// `mqtt`, `amqp`, `https`, ...
    pub protocol: &'static str,
}

#[allow(clippy::ref_option, reason = "serde hands the field over by reference")]
fn hub_text<S: serde::Serializer>(hub: &Option<HubName>, serializer: S) -> Result<S::Ok, S::Error> {
    hub.as_ref().map(HubName::as_str).serialize(serializer)
}

impl Origin {
    /// An origin of which only the peer is known.
    pub fn new(peer: SocketAddr, protocol: &'static str) -> Self {
        Self {
            hub: None,
            device: None,
            module: None,
            peer,
            protocol,
        }
    }

    /// With the identity that the peer claims; cut to a bounded length, control characters replaced.
    pub fn claiming(mut self, hub: Option<HubName>, device: Option<&str>, module: Option<&str>) -> Self {
        self.hub = hub;
        self.device = device.map(printable);
        self.module = module.map(printable);
        self
    }
}

/// Text from a peer, fit for a log line: bounded and without control characters.
pub(crate) fn printable(text: &str) -> String {
    printable_within(text, SUPPLIED_CHARS_MAX)
}

/// The same, of at most so many characters.
pub(crate) fn printable_within(text: &str, chars_max: usize) -> String {
    // Nearly every text is fit as it is.
    if text.len() <= chars_max && !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .take(chars_max)
        .map(|character| {
            if character.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                character
            }
        })
        .collect()
}

/// What happened to a connection, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What happened.
    pub kind: Kind,
    /// Which step decided: `tls`, `parse`, `registry`, `signature`, ... or `session` for the end of a connection.
    pub step: &'static str,
    /// A stable word for metrics and filters, such as `token_expired`.
    pub reason: &'static str,
    /// A sentence for people.
    pub text: Cow<'static, str>,
    /// What would have been right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What came instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Cow<'static, str>>,
}

impl Outcome {
    /// An outcome without particulars.
    pub fn new(
        kind: Kind,
        step: &'static str,
        reason: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            step,
            reason,
            text: match text.into() {
                Cow::Borrowed(text) => Cow::Borrowed(text),
                Cow::Owned(text) => Cow::Owned(printable(&text)),
            },
            expected: None,
            found: None,
            advice: None,
        }
    }

    /// With what was expected and what came.
    pub fn comparing(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.expected = Some(printable(&expected.into()));
        self.found = Some(printable(&found.into()));
        self
    }

    /// With what to do.
    pub fn advising(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// A record.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Counts up from the start of the server.
    pub number: u64,
    /// When.
    pub time: Timestamp,
    /// Who and from where.
    #[serde(flatten)]
    pub origin: Origin,
    /// What and why.
    #[serde(flatten)]
    pub outcome: Outcome,
}
