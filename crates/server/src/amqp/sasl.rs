//! SASL: anonymous peers put a token later, PLAIN brings it along (amqp.md 1.2, 2.3).

use std::sync::Arc;

use hub::access::{PlainUser, Reason, Refusal, Subject};
use hub::hub::Hub;

use crate::app::App;

/// What a mechanism asks of us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Demand<'r> {
    /// Let the peer through; it says later who it is.
    Anonymous,
    /// Check user name and password.
    Plain {
        /// Who it claims to be.
        user: &'r str,
        /// A token.
        password: &'r str,
    },
    /// Nothing that is offered.
    Unknown,
}

/// Reads the first words of a mechanism. EXTERNAL stands on the client's certificate, which its links are checked against.
pub(super) fn demand<'r>(mechanism: &str, response: &'r [u8]) -> Demand<'r> {
    match mechanism {
        "ANONYMOUS" | "MSSBCBS" | "EXTERNAL" => Demand::Anonymous,
        "PLAIN" => plain(response).unwrap_or(Demand::Unknown),
        _ => Demand::Unknown,
    }
}

/// `[authzid] NUL authcid NUL password` (RFC 4616).
fn plain(response: &[u8]) -> Option<Demand<'_>> {
    let mut parts = std::str::from_utf8(response).ok()?.split('\0');
    let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(Demand::Plain { user, password })
}

/// The hub of a user name: that of the TLS handshake, or the one whose short name the user name ends with.
pub(super) fn hub_of(user: &str, server_name: Option<&str>, app: &App) -> Result<Arc<Hub>, Refusal> {
    let parsed = PlainUser::parse(user).ok_or_else(|| {
        Refusal::new(Reason::Malformed, Subject::Peer)
            .expecting("{device}@sas.{hub} or {policy}@sas.root.{hub}")
            .finding(user)
    })?;
    let named = server_name.and_then(|name| app.hubs.by_host(name));
    let named = named.filter(|hub| hub.gate().profile().has_label(parsed.hub()));
    let labelled = || {
        app.hubs
            .all()
            .into_iter()
            .find(|hub| hub.gate().profile().has_label(parsed.hub()))
    };
    named
        .or_else(labelled)
        .ok_or_else(|| Refusal::new(Reason::HostUnknown, Subject::Peer).finding(parsed.hub()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanisms_of_the_clients() {
        assert_eq!(demand("ANONYMOUS", b"\0iothubowner"), Demand::Anonymous);
        assert_eq!(demand("MSSBCBS", b""), Demand::Anonymous);
        let plain = Demand::Plain {
            user: "service@sas.root.hub1",
            password: "token",
        };
        assert_eq!(demand("PLAIN", b"\0service@sas.root.hub1\0token"), plain);
        for bad in [&b"service\0token"[..], b"\0a\0b\0c", b"\0\xff\0b", b""] {
            assert_eq!(demand("PLAIN", bad), Demand::Unknown);
        }
        assert_eq!(demand("SCRAM-SHA-256", b""), Demand::Unknown);
    }
}
