//! One AMQP client over TLS: tokens at `$cbs`, then links, as device and service SDKs do it. It sends no SASL, as most of them.
//!
//! Channels and handles of the two ends are the same: the hub takes those of its peer.

use std::net::SocketAddr;

use amqp::encode;
use amqp::frame::AMQP_HEADER;
use amqp::message::{self, Properties, SectionKind, Sections};
use amqp::performative::{
    Attach, Begin, Flow, Open, Performative, ReceiverSettleMode, Role, SenderSettleMode, Source, Target,
    Transfer,
};
use amqp::value::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{self, Client};
use crate::endpoint::Endpoint;
use crate::frames::{self, FRAME_BYTES_MAX, Frames};

/// Where tokens are put: a session of its own.
const CBS_CHANNEL: u16 = 0;
const CBS_SENDER: u32 = 0;
const CBS_RECEIVER: u32 = 1;

/// Transfers that the server may send before it hears of us again: more than it ever sends here.
const WINDOW: u32 = 1 << 30;

/// Answers about tokens that the server may send.
const CBS_CREDIT: u32 = 1 << 20;

/// A connection that is open.
pub(crate) struct AmqpClient {
    stream: Client,
    frames: Frames,
    tokens: u32,
}

impl AmqpClient {
    /// Opens a connection, from a source address by this number, and the session for tokens.
    pub(crate) async fn connect(
        endpoint: &Endpoint,
        address: SocketAddr,
        number: usize,
    ) -> Result<Self, String> {
        let stream = client::open(endpoint, address, number).await;
        let mut stream = stream.map_err(|refused| refused.to_string())?;
        let mut out = AMQP_HEADER.to_vec();
        let open = Open {
            container_id: format!("bench-{number}"),
            hostname: Some(endpoint.server_name.to_str().into_owned()),
            max_frame_size: FRAME_BYTES_MAX,
            ..Open::default()
        };
        frames::write(0, &Performative::Open(open), &[], &mut out);
        stream.write_all(&out).await.map_err(|error| error.to_string())?;
        let mut header = [0; AMQP_HEADER.len()];
        stream
            .read_exact(&mut header)
            .await
            .map_err(|error| error.to_string())?;
        if header != AMQP_HEADER {
            return Err(format!("the header of AMQP expected, got {header:?}"));
        }
        let mut client = Self {
            stream,
            frames: Frames::new(),
            tokens: 0,
        };
        let is_open =
            |_, performative: &Performative, _: &[u8]| matches!(performative, Performative::Open(_));
        client.expect("an open", is_open).await?;
        client.begin(CBS_CHANNEL).await?;
        let sender = sender("cbs-sender", CBS_SENDER, "$cbs");
        client.attach_sender(CBS_CHANNEL, sender).await?;
        let receiver = receiver("cbs-receiver", CBS_RECEIVER, "$cbs");
        client.attach_receiver(CBS_CHANNEL, receiver).await?;
        client
            .write(CBS_CHANNEL, &credit(CBS_RECEIVER, 0, CBS_CREDIT), &[])
            .await?;
        Ok(client)
    }

    /// Begins a session.
    pub(crate) async fn begin(&mut self, channel: u16) -> Result<(), String> {
        let begin = Begin {
            next_outgoing_id: 0,
            incoming_window: WINDOW,
            outgoing_window: WINDOW,
            ..Begin::default()
        };
        self.write(channel, &Performative::Begin(begin), &[]).await?;
        let has_begun = |at, performative: &Performative, _: &[u8]| {
            at == channel && matches!(performative, Performative::Begin(_))
        };
        self.expect("a begin", has_begun).await
    }

    /// Puts a token for an audience.
    pub(crate) async fn put_token(&mut self, audience: &str, token: &str) -> Result<(), String> {
        let transfer = transfer(CBS_SENDER, self.tokens);
        let request = put_token(self.tokens, audience, token);
        self.tokens += 1;
        self.write(CBS_CHANNEL, &Performative::Transfer(transfer), &request)
            .await?;
        let mut status = None;
        let answered = |at, performative: &Performative, payload: &[u8]| {
            let is_answer = at == CBS_CHANNEL && matches!(performative, Performative::Transfer(_));
            if is_answer {
                status = status_code(payload);
            }
            is_answer
        };
        self.expect("an answer to a token", answered).await?;
        if status == Some(200) {
            Ok(())
        } else {
            Err(format!("the token for {audience} is answered with {status:?}"))
        }
    }

    /// Attaches a link that sends, and waits for credit; gives how much there is.
    pub(crate) async fn attach_sender(&mut self, channel: u16, attach: Attach) -> Result<u32, String> {
        let handle = attach.handle;
        self.write(channel, &Performative::Attach(attach), &[]).await?;
        let mut credit = 0;
        let given = |at, performative: &Performative, _: &[u8]| match performative {
            Performative::Flow(flow) if at == channel && flow.handle == Some(handle) => {
                credit = flow.link_credit.unwrap_or(0);
                credit > 0
            }
            _ => false,
        };
        self.expect("credit", given).await?;
        Ok(credit)
    }

    /// Attaches a link that receives. It has no credit yet.
    pub(crate) async fn attach_receiver(&mut self, channel: u16, attach: Attach) -> Result<(), String> {
        let handle = attach.handle;
        self.write(channel, &Performative::Attach(attach), &[]).await?;
        let attached = |at, performative: &Performative, _: &[u8]| match performative {
            Performative::Attach(answer) => at == channel && answer.handle == handle,
            _ => false,
        };
        self.expect("an attach", attached).await
    }

    /// Sends a frame.
    pub(crate) async fn write(
        &mut self,
        channel: u16,
        performative: &Performative,
        payload: &[u8],
    ) -> Result<(), String> {
        let mut out = Vec::with_capacity(256 + payload.len());
        frames::write(channel, performative, payload, &mut out);
        self.write_frames(&out).await
    }

    /// Sends frames that are written already, in one TLS record if they fit.
    pub(crate) async fn write_frames(&mut self, frames: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(frames)
            .await
            .map_err(|error| error.to_string())
    }

    /// Reads once and gives each frame to `each`; a server that ends anything is an error.
    pub(crate) async fn read(
        &mut self,
        mut each: impl FnMut(u16, &Performative, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        self.frames
            .read(
                &mut self.stream,
                |channel, performative, payload| match performative {
                    Performative::Detach(_) | Performative::End(_) | Performative::Close(_) => {
                        Err(format!("the server says {performative:?}"))
                    }
                    _ => each(channel, performative, payload),
                },
            )
            .await
    }

    /// Reads until a frame is the one that is waited for.
    async fn expect(
        &mut self,
        what: &str,
        mut is_it: impl FnMut(u16, &Performative, &[u8]) -> bool,
    ) -> Result<(), String> {
        let mut found = false;
        while !found {
            self.read(|channel, performative, payload| {
                found |= is_it(channel, performative, payload);
                Ok(())
            })
            .await
            .map_err(|why| format!("{what} expected: {why}"))?;
        }
        Ok(())
    }
}

/// A link that sends, at most once settled by the other end.
pub(crate) fn sender(name: &str, handle: u32, address: &str) -> Attach {
    Attach {
        source: Some(Source::of(name)),
        target: Some(Target::of(address)),
        initial_delivery_count: Some(0),
        ..link(name, handle, Role::Sender)
    }
}

/// A link that receives.
pub(crate) fn receiver(name: &str, handle: u32, address: &str) -> Attach {
    Attach {
        source: Some(Source::of(address)),
        target: Some(Target::of(name)),
        ..link(name, handle, Role::Receiver)
    }
}

/// Takes so many messages on a link that has brought so many.
pub(crate) fn credit(handle: u32, delivery_count: u32, link_credit: u32) -> Performative {
    Performative::Flow(Flow {
        incoming_window: WINDOW,
        outgoing_window: WINDOW,
        handle: Some(handle),
        delivery_count: Some(delivery_count),
        link_credit: Some(link_credit),
        ..Flow::default()
    })
}

/// A message in one frame, which the other end is to settle.
pub(crate) fn transfer(handle: u32, delivery: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: Some(delivery),
        delivery_tag: Some(delivery.to_be_bytes().to_vec()),
        message_format: Some(0),
        settled: Some(false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

fn link(name: &str, handle: u32, role: Role) -> Attach {
    Attach {
        name: name.to_owned(),
        handle,
        role,
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: None,
        target: None,
        incomplete_unsettled: false,
        initial_delivery_count: None,
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: None,
    }
}

fn put_token(number: u32, audience: &str, token: &str) -> Vec<u8> {
    let mut request = Vec::new();
    let properties = Properties {
        message_id: Some(Value::Ulong(u64::from(number))),
        to: Some("$cbs".to_owned()),
        reply_to: Some("cbs-receiver".to_owned()),
        ..Properties::default()
    };
    properties.encode(&mut request);
    message::write_application_properties(&mut request, |entries| {
        let pairs = [
            ("operation", "put-token"),
            ("type", "servicebus.windows.net:sastoken"),
            ("name", audience),
        ];
        for (name, value) in pairs {
            entries.pair(|out| encode::string(out, name), |out| encode::string(out, value));
        }
    });
    message::write_value(&mut request, &Value::String(token.to_owned()));
    request
}

fn status_code(answer: &[u8]) -> Option<i64> {
    let properties = Sections::new(answer)
        .filter_map(Result::ok)
        .find(|section| section.kind == SectionKind::ApplicationProperties)?;
    let (properties, _) = Value::decode(properties.value).ok()?;
    properties.map_get("status-code").and_then(Value::as_i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_answer() {
        let mut answer = Vec::new();
        Properties::default().encode(&mut answer);
        message::write_application_properties(&mut answer, |entries| {
            entries.pair(
                |out| encode::string(out, "status-code"),
                |out| encode::int(out, 401),
            );
        });
        assert_eq!(status_code(&answer), Some(401));
        assert_eq!(status_code(&put_token(1, "a", "t")), None);
    }
}
