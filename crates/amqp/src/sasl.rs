//! SASL frames (5.3.3).

use crate::decode::{DecodeError, Reader};
use crate::encode;

const MECHANISMS: u64 = 0x40;
const INIT: u64 = 0x41;
const CHALLENGE: u64 = 0x42;
const RESPONSE: u64 = 0x43;
const OUTCOME: u64 = 0x44;

const NAMES: [(&str, u64); 5] = [
    ("amqp:sasl-mechanisms:list", MECHANISMS),
    ("amqp:sasl-init:list", INIT),
    ("amqp:sasl-challenge:list", CHALLENGE),
    ("amqp:sasl-response:list", RESPONSE),
    ("amqp:sasl-outcome:list", OUTCOME),
];

/// What a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mechanisms {
    /// Names, best first.
    pub mechanisms: Vec<String>,
}

impl Mechanisms {
    /// Appends the frame's body. Always an array, also of one (amqp.md 1.2).
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, MECHANISMS, |fields| {
            encode::symbols(fields.item(), self.mechanisms.iter().map(String::as_str));
        });
    }
}

/// What a client chooses.
#[derive(Clone, PartialEq, Eq)]
pub struct Init {
    /// The mechanism.
    pub mechanism: String,
    /// Its first words; holds credentials.
    pub initial_response: Option<Vec<u8>>,
    /// The host that the client wants to reach.
    pub hostname: Option<String>,
}

impl std::fmt::Debug for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Init")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

impl Init {
    /// Appends the frame's body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, INIT, |fields| {
            encode::symbol(fields.item(), &self.mechanism);
            fields.optional(self.initial_response.as_deref(), encode::binary);
            fields.optional(self.hostname.as_deref(), encode::string);
        });
    }
}

/// What a server asks further.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Bytes of the mechanism.
    pub challenge: Vec<u8>,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge").finish_non_exhaustive()
    }
}

impl Challenge {
    /// Appends the frame's body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CHALLENGE, |fields| {
            encode::binary(fields.item(), &self.challenge);
        });
    }
}

/// What a client answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Bytes of the mechanism; hold credentials.
    pub response: Vec<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}

impl Response {
    /// Appends the frame's body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, RESPONSE, |fields| {
            encode::binary(fields.item(), &self.response);
        });
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// 0 is success (5.3.3.6).
    pub code: u8,
    /// Bytes of the mechanism.
    pub additional_data: Option<Vec<u8>>,
}

impl Outcome {
    /// Appends the frame's body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, OUTCOME, |fields| {
            encode::ubyte(fields.item(), self.code);
            fields.optional(self.additional_data.as_deref(), encode::binary);
        });
    }
}

/// The body of a SASL frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaslFrame {
    /// A server offers.
    Mechanisms(Mechanisms),
    /// A client chooses.
    Init(Init),
    /// A server asks.
    Challenge(Challenge),
    /// A client answers.
    Response(Response),
    /// A server decides.
    Outcome(Outcome),
}

impl SaslFrame {
    /// Parses the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let code = reader.descriptor(&NAMES)?;
        let fields = &mut reader.list()?;
        Ok(match code {
            MECHANISMS => {
                let value = fields
                    .field()?
                    .ok_or(DecodeError::Missing("sasl-mechanisms.sasl-server-mechanisms"))?;
                let (value, _) = crate::value::Value::decode(value)?;
                let names = match &value {
                    crate::value::Value::Array(values) => values.as_slice(),
                    one => std::slice::from_ref(one),
                };
                let text =
                    |value: &crate::value::Value| value.as_str().map(str::to_owned).ok_or(DecodeError::Type);
                Self::Mechanisms(Mechanisms {
                    mechanisms: names.iter().map(text).collect::<Result<_, _>>()?,
                })
            }
            INIT => Self::Init(Init {
                mechanism: fields
                    .text()?
                    .ok_or(DecodeError::Missing("sasl-init.mechanism"))?
                    .to_owned(),
                initial_response: fields.binary()?.map(<[u8]>::to_vec),
                hostname: fields.text()?.map(str::to_owned),
            }),
            CHALLENGE => Self::Challenge(Challenge {
                challenge: fields
                    .binary()?
                    .ok_or(DecodeError::Missing("sasl-challenge.challenge"))?
                    .to_vec(),
            }),
            RESPONSE => Self::Response(Response {
                response: fields
                    .binary()?
                    .ok_or(DecodeError::Missing("sasl-response.response"))?
                    .to_vec(),
            }),
            OUTCOME => Self::Outcome(Outcome {
                code: fields.u8()?.ok_or(DecodeError::Missing("sasl-outcome.code"))?,
                additional_data: fields.binary()?.map(<[u8]>::to_vec),
            }),
            _ => return Err(DecodeError::Descriptor),
        })
    }

    /// Appends the frame's body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mechanisms(mechanisms) => mechanisms.encode(out),
            Self::Init(init) => init.encode(out),
            Self::Challenge(challenge) => challenge.encode(out),
            Self::Response(response) => response.encode(out),
            Self::Outcome(outcome) => outcome.encode(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_and_hide_credentials() {
        let init = Init {
            mechanism: "PLAIN".to_owned(),
            initial_response: Some(b"\0user\0canary".to_vec()),
            hostname: Some("h".to_owned()),
        };
        for frame in [
            SaslFrame::Mechanisms(Mechanisms {
                mechanisms: vec!["ANONYMOUS".to_owned()],
            }),
            SaslFrame::Init(init),
            SaslFrame::Challenge(Challenge { challenge: vec![0] }),
            SaslFrame::Response(Response {
                response: b"canary".to_vec(),
            }),
            SaslFrame::Outcome(Outcome {
                code: 1,
                additional_data: None,
            }),
        ] {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert_eq!(SaslFrame::decode(&bytes), Ok(frame.clone()));
            assert!(!format!("{frame:?}").contains("canary"));
        }
    }

    #[test]
    fn mechanisms_are_an_array_even_of_one() {
        let mut bytes = Vec::new();
        Mechanisms {
            mechanisms: vec!["PLAIN".to_owned()],
        }
        .encode(&mut bytes);
        assert_eq!(bytes[12], 0xf0);
    }
}
