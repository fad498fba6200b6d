//! SASL: what the driver answers.

use crate::frame::{self, FrameKind};
use crate::sasl::{Challenge, Mechanisms, Outcome};

use super::{Connection, Phase};

/// How a SASL exchange ends (5.3.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SaslCode {
    /// Authenticated.
    Ok = 0,
    /// Bad credentials.
    Auth = 1,
    /// Trouble of ours, which may pass.
    Temporary = 4,
}

impl Connection {
    pub(super) fn write_sasl_mechanisms(&mut self) {
        let mechanisms = Mechanisms {
            mechanisms: self.config.sasl_mechanisms.clone(),
        };
        self.write_sasl(|out| mechanisms.encode(out));
    }

    /// Asks the peer for more.
    pub fn sasl_challenge(&mut self, challenge: Vec<u8>) {
        if self.phase == Phase::SaslDeciding {
            self.write_sasl(|out| Challenge { challenge }.encode(out));
            self.phase = Phase::SaslResponse;
        }
    }

    /// Ends the exchange. After anything but [`SaslCode::Ok`] the connection is over.
    pub fn sasl_outcome(&mut self, code: SaslCode) {
        if self.phase == Phase::SaslDeciding {
            self.write_sasl(|out| {
                Outcome {
                    code: code as u8,
                    additional_data: None,
                }
                .encode(out);
            });
            self.phase = if code == SaslCode::Ok {
                Phase::SecondHeader
            } else {
                Phase::Closed
            };
        }
    }

    fn write_sasl(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let start = frame::begin(&mut self.output, FrameKind::Sasl, 0);
        body(&mut self.output);
        frame::finish(&mut self.output, start);
    }
}
