//! CONNACK (3.2).

use crate::reader::Reader;

use super::Malformed;

/// The answer to a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server kept a session of this client.
    pub session_present: bool,
    /// Whether the client is let in.
    pub code: ConnectCode,
}

/// Return code of a CONNACK (3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConnectCode {
    /// Let in.
    Accepted = 0,
    /// The protocol level is not supported.
    UnacceptableProtocol = 1,
    /// The client id is not allowed.
    IdentifierRejected = 2,
    /// The service is not available; clients try again.
    ServerUnavailable = 3,
    /// User name or password are malformed.
    BadCredentials = 4,
    /// Not authorised.
    NotAuthorized = 5,
}

impl ConnAck {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (flags, code) = (reader.u8()?, reader.u8()?);
        reader.end()?;
        let code = match code {
            0 => ConnectCode::Accepted,
            1 => ConnectCode::UnacceptableProtocol,
            2 => ConnectCode::IdentifierRejected,
            3 => ConnectCode::ServerUnavailable,
            4 => ConnectCode::BadCredentials,
            5 => ConnectCode::NotAuthorized,
            _ => return Err(Malformed::Flags),
        };
        match flags {
            0 => Ok(Self {
                session_present: false,
                code,
            }),
            // A refusal has no session (3.2.2.2).
            1 if code == ConnectCode::Accepted => Ok(Self {
                session_present: true,
                code,
            }),
            _ => Err(Malformed::Flags),
        }
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0x20, 2, u8::from(self.session_present), self.code as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;
    use crate::packet::tests::{hex, parse, round_trips};

    #[test]
    fn the_answers_of_a_hub() {
        for (text, session_present, code) in [
            ("20 02 00 00", false, ConnectCode::Accepted),
            ("20 02 01 00", true, ConnectCode::Accepted),
            ("20 02 00 05", false, ConnectCode::NotAuthorized),
            ("20 02 00 03", false, ConnectCode::ServerUnavailable),
        ] {
            assert_eq!(
                parse(&hex(text)),
                Packet::ConnAck(ConnAck {
                    session_present,
                    code
                })
            );
            round_trips(&hex(text));
        }
        for bad in ["20 02 01 05", "20 02 02 00", "20 02 00 06"] {
            assert_eq!(Packet::parse(&hex(bad), 10), Err(Malformed::Flags), "{bad}");
        }
    }
}
