//! Taking frames: which may come when, and what they do.

use std::time::Duration;

use crate::frame::{self, FrameKind};
use crate::performative::{Begin, Close, End, Error, Flow, Open, Performative};
use crate::sasl::SaslFrame;

use super::link::{LinkState, Way};
use super::session::Session;
use super::{Connection, Event, LinkId, Phase, Violation, condition};

/// Bytes of a protocol header.
const HEADER_BYTES: usize = 8;

impl Connection {
    /// Takes the header or frame at the front of `input`; gives its length, or `None` when it has not arrived whole or may not be
    /// taken yet. After a violation the peer has been told; the driver sends the output and closes.
    pub fn handle_input(&mut self, now: Duration, input: &[u8]) -> Result<Option<usize>, Violation> {
        let taken = match self.phase {
            Phase::Header | Phase::SecondHeader => self.take_header(now, input),
            Phase::Deciding | Phase::SaslDeciding => Ok(None),
            Phase::Closed => Ok((!input.is_empty()).then_some(input.len())),
            _ => self.take_frame(now, input),
        };
        if let Ok(Some(_)) = taken {
            self.heard = now;
        }
        taken.inspect_err(|violation| self.punish(now, violation))
    }

    fn punish(&mut self, now: Duration, violation: &Violation) {
        if *violation == Violation::Header {
            self.output.extend_from_slice(&frame::AMQP_HEADER);
        }
        let error = Error::new(violation.condition(), &violation.to_string());
        self.close(now, Some(error));
        self.phase = Phase::Closed;
    }

    fn take_header(&mut self, now: Duration, input: &[u8]) -> Result<Option<usize>, Violation> {
        let Some(header) = input.get(..HEADER_BYTES) else {
            // What cannot become a header is not waited for.
            let start = input.len().min(4);
            let is_start = input.get(..start) == frame::AMQP_HEADER.get(..start);
            return if is_start {
                Ok(None)
            } else {
                Err(Violation::Header)
            };
        };
        self.sent = now;
        if header == frame::AMQP_HEADER {
            self.output.extend_from_slice(&frame::AMQP_HEADER);
            self.phase = Phase::AwaitingOpen;
            Ok(Some(HEADER_BYTES))
        } else if header == frame::SASL_HEADER && self.phase == Phase::Header {
            self.output.extend_from_slice(&frame::SASL_HEADER);
            self.write_sasl_mechanisms();
            self.phase = Phase::SaslInit;
            Ok(Some(HEADER_BYTES))
        } else {
            Err(Violation::Header)
        }
    }

    fn take_frame(&mut self, now: Duration, input: &[u8]) -> Result<Option<usize>, Violation> {
        let Some(header) = frame::parse_header(input)? else {
            return Ok(None);
        };
        let bytes_max = match self.phase {
            Phase::Open | Phase::Closing => self.config.max_frame_size,
            _ => self.config.limits.early_frame_bytes_max,
        };
        if header.size > bytes_max {
            return Err(Violation::FrameTooLarge(header.size));
        }
        let size = usize::try_from(header.size).unwrap_or(usize::MAX);
        let Some(whole) = input.get(..size) else {
            return Ok(None);
        };
        let body = whole.get(usize::from(header.doff) * 4..).unwrap_or_default();
        match (header.kind, self.phase) {
            (FrameKind::Sasl, Phase::SaslInit | Phase::SaslResponse) => self.take_sasl(body)?,
            (FrameKind::Amqp, Phase::AwaitingOpen | Phase::Open | Phase::Closing) if body.is_empty() => {}
            (FrameKind::Amqp, Phase::Closing) => {
                // Only the peer's close matters now; what else comes is late, whatever it is.
                if let Ok((Performative::Close(_), _)) = Performative::decode(body) {
                    self.phase = Phase::Closed;
                }
            }
            (FrameKind::Amqp, Phase::AwaitingOpen | Phase::Open) => {
                if header.channel > self.config.channel_max {
                    return Err(Violation::ChannelTooHigh(header.channel));
                }
                let (performative, length) = Performative::decode(body)?;
                let payload = body.get(length..).unwrap_or_default();
                self.take_performative(now, header.channel, performative, payload)?;
            }
            (FrameKind::Sasl, _) => return Err(Violation::Unexpected("a SASL frame")),
            (FrameKind::Amqp, _) => return Err(Violation::Unexpected("an AMQP frame")),
        }
        Ok(Some(size))
    }

    fn take_sasl(&mut self, body: &[u8]) -> Result<(), Violation> {
        match (SaslFrame::decode(body)?, self.phase) {
            (SaslFrame::Init(init), Phase::SaslInit) => {
                self.phase = Phase::SaslDeciding;
                self.events.push_back(Event::SaslInit {
                    mechanism: init.mechanism.clone(),
                    response: init.initial_response.clone().unwrap_or_default(),
                });
                Ok(())
            }
            (SaslFrame::Response(response), Phase::SaslResponse) => {
                self.phase = Phase::SaslDeciding;
                self.events
                    .push_back(Event::SaslResponse(response.response.clone()));
                Ok(())
            }
            _ => Err(Violation::Unexpected("a SASL frame")),
        }
    }

    fn take_performative(
        &mut self,
        now: Duration,
        channel: u16,
        performative: Performative,
        payload: &[u8],
    ) -> Result<(), Violation> {
        if self.phase == Phase::AwaitingOpen {
            return match performative {
                Performative::Open(open) => {
                    self.take_open(open);
                    Ok(())
                }
                _ => Err(Violation::Unexpected("a frame before open")),
            };
        }
        match performative {
            Performative::Open(_) => return Err(Violation::Unexpected("a second open")),
            Performative::Close(Close { error }) => {
                self.write(0, |out| Close { error: None }.encode(out));
                self.sent = now;
                let mut channels: Vec<u16> = self.sessions.keys().copied().collect();
                channels.sort_unstable();
                for channel in channels {
                    self.drop_links(channel, error.as_ref());
                }
                self.sessions.clear();
                self.phase = Phase::Closed;
                self.events.push_back(Event::Closed(error));
                return Ok(());
            }
            Performative::Begin(begin) => return self.take_begin(channel, &begin),
            _ => {}
        }
        let Some(session) = self.sessions.get(&channel) else {
            return Err(Violation::NoSession(channel));
        };
        let ending = session.ending;
        match performative {
            Performative::End(End { error }) => self.take_end(channel, error.as_ref()),
            // We have ended it; what comes before the peer's end is late.
            _ if ending => {}
            Performative::Attach(attach) => self.take_attach(channel, attach),
            Performative::Flow(flow) => self.take_flow(channel, &flow),
            Performative::Transfer(transfer) => self.take_transfer(channel, &transfer, payload)?,
            Performative::Disposition(disposition) => self.take_disposition(channel, &disposition),
            Performative::Detach(detach) => self.take_detach(channel, detach),
            Performative::Open(_) | Performative::Begin(_) | Performative::Close(_) => {}
        }
        Ok(())
    }

    fn take_open(&mut self, open: Open) {
        self.peer.max_frame_size = open.max_frame_size.max(512);
        // Half of what the peer allows, so that a late frame is early enough (amqp.md 1.3).
        let asked = open.idle_time_out.filter(|millis| *millis > 0);
        self.peer.heartbeat = asked.map(|millis| {
            Duration::from_millis(u64::from(millis) / 2)
                .clamp(Duration::from_millis(1), self.config.heartbeat_max)
        });
        self.phase = Phase::Deciding;
        self.events.push_back(Event::Opened(Box::new(open)));
    }

    fn take_begin(&mut self, channel: u16, begin: &Begin) -> Result<(), Violation> {
        if self.sessions.len() >= self.config.limits.sessions_max {
            return Err(Violation::TooManySessions);
        }
        if self.sessions.contains_key(&channel) {
            return Err(Violation::ChannelInUse(channel));
        }
        if begin.remote_channel.is_some() {
            return Err(Violation::Unexpected("an answer to a begin that was never sent"));
        }
        let session = Session::begun(begin, self.config.incoming_window);
        let reply = Begin {
            remote_channel: Some(channel),
            next_outgoing_id: session.next_outgoing_id,
            incoming_window: self.config.incoming_window,
            outgoing_window: begin.incoming_window,
            handle_max: self.config.handle_max,
            ..Begin::default()
        };
        self.sessions.insert(channel, Box::new(session));
        self.write(channel, |out| reply.encode(out));
        Ok(())
    }

    fn take_end(&mut self, channel: u16, error: Option<&Error>) {
        self.drop_links(channel, error);
        if let Some(session) = self.sessions.remove(&channel)
            && !session.ending
        {
            self.write(channel, |out| End { error: None }.encode(out));
        }
    }

    fn take_flow(&mut self, channel: u16, flow: &Flow) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let was_shut = !session.has_room();
        session.take_window(flow);
        let Some(handle) = flow.handle else {
            self.send_blocked(channel);
            self.wake_after(channel, was_shut);
            if flow.echo {
                self.write_session_flow(channel);
            }
            return;
        };
        let Some(link) = session.links.get_mut(handle) else {
            self.end_session(
                channel,
                condition::UNATTACHED_HANDLE,
                "A flow came for a handle that is not attached.",
            );
            return;
        };
        let id = LinkId {
            channel,
            handle,
            serial: link.serial,
        };
        match (&mut link.way, link.state) {
            (_, LinkState::Detaching) => {}
            // A peer may give credit before its link is decided; it counts from then on.
            (Way::Out(outgoing), _) => outgoing.take_credit(flow),
            (Way::In(incoming), _) => incoming.skip(flow),
        }
        let is_there = link.state != LinkState::Detaching;
        let is_out = link.state == LinkState::Attached && matches!(link.way, Way::Out(_));
        let was_topped_up = self.top_up(id);
        self.send_blocked(channel);
        let all_are_awake = self.wake_after(channel, was_shut);
        if is_out && !all_are_awake {
            self.events.push_back(Event::Credit(id));
        }
        if flow.echo && is_there && !was_topped_up {
            self.write_link_flow(channel, handle);
        }
    }
}
