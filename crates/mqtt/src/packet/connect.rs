//! CONNECT (3.1).

use crate::reader::{Reader, put_binary};

use super::{Malformed, QoS, put_header};

/// A client asks to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Names the session.
    pub client_id: &'a str,
    /// Whether an earlier session is to be forgotten.
    pub clean_session: bool,
    /// Longest silence the client allows itself, in seconds; 0 is none asked for.
    pub keep_alive_secs: u16,
    /// What is to be published when the connection breaks.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub username: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
}

/// The password is a credential and not shown.
impl std::fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("clean_session", &self.clean_session)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("has_password", &self.password.is_some())
            .finish()
    }
}

/// A message that a server publishes for a client whose connection broke (3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// How surely.
    pub qos: QoS,
    /// Whether it asks to be retained.
    pub retain: bool,
}

const NAME: &[u8] = b"MQTT";
const OLD_NAME: &[u8] = b"MQIsdp";
const LEVEL: u8 = 4;

const CLEAN: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

impl<'a> Connect<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let name = reader.binary()?;
        let level = reader.u8()?;
        match (name, level) {
            (NAME, LEVEL) => {}
            (NAME | OLD_NAME, level) => return Err(Malformed::ProtocolLevel(level)),
            _ => return Err(Malformed::ProtocolName),
        }
        let flags = reader.u8()?;
        let keep_alive_secs = reader.u16()?;
        let client_id = reader.string()?;
        let will = if flags & WILL == 0 {
            // Without a will its flags are zero (3.1.2.6, 3.1.2.7).
            if flags & 0x38 != 0 {
                return Err(Malformed::Flags);
            }
            None
        } else {
            let qos = QoS::from_bits(flags >> 3 & 3).ok_or(Malformed::Qos)?;
            let topic = super::publish::topic(&mut reader)?;
            Some(Will {
                topic,
                payload: reader.binary()?,
                qos,
                retain: flags & WILL_RETAIN != 0,
            })
        };
        // Bit 0 is reserved, and a password needs a user name (3.1.2.3, 3.1.2.9).
        if flags & 1 != 0 || flags & (USERNAME | PASSWORD) == PASSWORD {
            return Err(Malformed::Flags);
        }
        let username = if flags & USERNAME == 0 {
            None
        } else {
            Some(reader.string()?)
        };
        let password = if flags & PASSWORD == 0 {
            None
        } else {
            Some(reader.binary()?)
        };
        reader.end()?;
        Ok(Self {
            client_id,
            clean_session: flags & CLEAN != 0,
            keep_alive_secs,
            will,
            username,
            password,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut flags = flag(self.clean_session, CLEAN)
            | flag(self.username.is_some(), USERNAME)
            | flag(self.password.is_some(), PASSWORD);
        let mut length = 2 + NAME.len() + 1 + 1 + 2 + 2 + self.client_id.len();
        if let Some(will) = &self.will {
            flags |= WILL | flag(will.retain, WILL_RETAIN) | (will.qos as u8) << 3;
            length += 4 + will.topic.len() + will.payload.len();
        }
        length += self.username.map_or(0, |username| 2 + username.len());
        length += self.password.map_or(0, |password| 2 + password.len());
        put_header(0x10, length, out);
        put_binary(out, NAME);
        out.extend_from_slice(&[LEVEL, flags]);
        out.extend_from_slice(&self.keep_alive_secs.to_be_bytes());
        put_binary(out, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            put_binary(out, will.topic.as_bytes());
            put_binary(out, will.payload);
        }
        if let Some(username) = self.username {
            put_binary(out, username.as_bytes());
        }
        if let Some(password) = self.password {
            put_binary(out, password);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;
    use crate::packet::tests::{hex, parse, round_trips};

    #[test]
    fn a_device_with_a_certificate() {
        let bytes = hex(
            "10 48 0004 4d515454 04 80 003c 0004 64657631 0036 636f6e746f736f2e617a7572652d646576696365732e6e65742f \
             646576312f3f6170692d76657273696f6e3d323032312d30342d3132",
        );
        let Packet::Connect(connect) = parse(&bytes) else {
            panic!("no CONNECT")
        };
        assert_eq!(connect.client_id, "dev1");
        assert_eq!(connect.keep_alive_secs, 60);
        assert!(!connect.clean_session);
        assert_eq!(
            connect.username,
            Some("contoso.azure-devices.net/dev1/?api-version=2021-04-12")
        );
        assert_eq!((connect.password, connect.will.clone()), (None, None));
        round_trips(&bytes);
    }

    #[test]
    fn everything_at_once_and_no_password_in_debug() {
        let connect = Connect {
            client_id: "d/m",
            clean_session: true,
            keep_alive_secs: 240,
            will: Some(Will {
                topic: "a/b",
                payload: b"gone",
                qos: QoS::AtLeastOnce,
                retain: true,
            }),
            username: Some("u"),
            password: Some(b"canary"),
        };
        let mut bytes = Vec::new();
        connect.encode(&mut bytes);
        assert_eq!(parse(&bytes), Packet::Connect(connect.clone()));
        round_trips(&bytes);
        assert!(!format!("{connect:?}").contains("canary"));
    }

    #[test]
    fn what_is_not_mqtt_3_1_1() {
        let rest = "00 003c 0004 64657631";
        for (head, error) in [
            (format!("0004 4d515454 05 {rest}"), Malformed::ProtocolLevel(5)),
            (
                format!("0006 4d5149736470 03 {rest}"),
                Malformed::ProtocolLevel(3),
            ),
            (format!("0004 4d515455 04 {rest}"), Malformed::ProtocolName),
            (
                "0004 4d515454 04 01 003c 0004 64657631".to_owned(),
                Malformed::Flags,
            ),
            (
                "0004 4d515454 04 40 003c 0004 64657631 0000".to_owned(),
                Malformed::Flags,
            ),
            (
                "0004 4d515454 04 08 003c 0004 64657631".to_owned(),
                Malformed::Flags,
            ),
            (
                "0004 4d515454 04 1c 003c 0004 64657631 0001 61 0000".to_owned(),
                Malformed::Qos,
            ),
            (
                "0004 4d515454 04 00 003c 0004 646576ff".to_owned(),
                Malformed::Utf8,
            ),
            (
                "0004 4d515454 04 00 003c 0004 64657600".to_owned(),
                Malformed::Utf8,
            ),
            (format!("0004 4d515454 04 {rest} 00"), Malformed::TrailingBytes),
        ] {
            let body = hex(&head);
            let mut bytes = Vec::new();
            put_header(0x10, body.len(), &mut bytes);
            bytes.extend_from_slice(&body);
            assert_eq!(Packet::parse(&bytes, 1_000), Err(error), "{head}");
        }
    }
}
