//! What a test asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line of input.
#[derive(Deserialize)]
#[serde(
    tag = "action",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(crate) enum Request {
    /// Connects; comes first.
    Open(Opening),
    /// A token for the `$cbs` node; the answer is its status and its correlation.
    PutToken {
        audience: String,
        token: String,
    },
    AttachSender {
        link: String,
        address: String,
    },
    AttachReceiver(NewReceiver),
    /// The answer is the outcome.
    Send {
        link: String,
        message: Message,
    },
    /// All of them as one delivery, as Azure's clients batch; the answer is the outcome.
    SendBatch {
        link: String,
        messages: Vec<Message>,
    },
    /// Sets the credit of a receiver, and ends its draining.
    Credit {
        link: String,
        credit: u32,
    },
    Drain {
        link: String,
    },
    /// The next message, or null when none came within the time.
    Receive {
        link: String,
        within_ms: u64,
        settle: Settle,
    },
}

/// Where and as whom to come in: by SASL PLAIN with a user, ANONYMOUS without.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Opening {
    pub(crate) port: u16,
    /// The server's certificate authority, in PEM.
    pub(crate) ca_file: String,
    pub(crate) virtual_host: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) max_frame_size: Option<u32>,
}

/// A receiver starts without credit.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewReceiver {
    pub(crate) link: String,
    pub(crate) address: String,
    /// A filter `apache.org:selector-filter:string`.
    pub(crate) selector: Option<String>,
    /// Describes it by its number instead of its name.
    #[serde(default)]
    pub(crate) by_number: bool,
}

/// What becomes of a message that was received.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Settle {
    Accept,
    Release,
    Reject,
}

/// A message of data, in both directions.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Message {
    /// In base64.
    pub(crate) body: String,
    pub(crate) to: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) properties: BTreeMap<String, String>,
    /// Only received.
    pub(crate) annotations: BTreeMap<String, serde_json::Value>,
}
