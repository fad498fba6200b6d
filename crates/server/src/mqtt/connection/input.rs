//! From bytes to what they ask for.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use mqtt::packet::{Publish, QoS};
use mqtt::server::Event;
use tokio::io::{AsyncRead, ReadBuf};

use super::super::ending::Ending;
use super::super::topic::Inbound;
use super::{Connection, broken};

/// What one read takes at most.
const INPUT_BYTES_MAX: usize = 64 * 1_024;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; INPUT_BYTES_MAX]);
}

impl Connection {
    /// Bytes that came with the CONNECT, or behind a packet that had to wait.
    pub(super) fn take_rest(&mut self) -> Result<bool, Ending> {
        let rest = std::mem::take(&mut self.guest.rest);
        let taken = self.take_packets(&rest)?;
        if taken < rest.len() {
            self.guest.rest = rest.get(taken..).unwrap_or_default().to_vec();
        }
        Ok(taken > 0)
    }

    pub(super) fn poll_input(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        INPUT.with_borrow_mut(|buffer| {
            let mut target = ReadBuf::new(buffer);
            match Pin::new(&mut self.guest.stream).poll_read(context, &mut target) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Ready(Ok(())) => {}
            }
            let input = target.filled();
            if input.is_empty() {
                return Err(Ending::PeerClosed);
            }
            if self.guest.rest.is_empty() {
                let taken = self.take_packets(input)?;
                self.guest.rest = input.get(taken..).unwrap_or_default().to_vec();
            } else {
                // A packet larger than one read: it grows here until it is whole.
                self.guest.rest.extend_from_slice(input);
                self.take_rest()?;
            }
            Ok(true)
        })
    }

    /// Takes whole packets from the front; gives the number of bytes that are done with. Stops behind a packet that the next one
    /// has to wait for, and appends what was staged.
    fn take_packets(&mut self, input: &[u8]) -> Result<usize, Ending> {
        let now = self.app.clock.elapsed();
        let mut taken = 0;
        let result = loop {
            let rest = input.get(taken..).unwrap_or_default();
            match self.guest.session.handle_input(now, rest, &mut self.output) {
                Ok(None) => break Ok(()),
                Ok(Some((event, length))) => {
                    taken += length;
                    if let Err(ending) = self.handle(event) {
                        break Err(ending);
                    }
                    if self.storing.is_some() || self.asks_twin() {
                        break Ok(());
                    }
                }
                Err(violation) => break Err(Ending::Violation(violation)),
            }
        };
        if let (true, Some(held)) = (taken > 0, &self.held) {
            held.note_activity();
        }
        // What came before an error was sent in good faith: it is appended all the same.
        self.append_staged();
        if !self.may_read() {
            self.guest.session.suspend();
        }
        result.map(|()| taken)
    }

    fn handle(&mut self, event: Event<'_>) -> Result<(), Ending> {
        match event {
            Event::Publish(publish) => self.handle_publish(&publish),
            Event::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            Event::Unsubscribe(unsubscribe) => {
                self.handle_unsubscribe(unsubscribe);
                Ok(())
            }
            Event::Disconnect => Err(Ending::Disconnected),
            Event::Acknowledged { packet_id } => {
                self.conversation().window.acknowledge(packet_id);
                Ok(())
            }
            // A second CONNECT is a violation.
            Event::Handled | Event::Connect(_) => Ok(()),
        }
    }

    fn handle_publish(&mut self, publish: &Publish<'_>) -> Result<(), Ending> {
        let topic = |error| Ending::Topic(error, publish.topic.to_owned());
        match Inbound::parse(publish.topic, &self.guest.address.identity).map_err(topic)? {
            Inbound::Telemetry { bag } => self.stage_telemetry(bag, publish)?,
            Inbound::TwinGet { request_id } => self.get_twin(request_id, publish.qos),
            Inbound::TwinPatch { request_id, version } => {
                self.report(request_id, version, publish);
            }
            Inbound::MethodResponse { status, request_id } => {
                if let (Some(conversation), Ok(request_id)) = (&mut self.conversation, request_id.parse()) {
                    let limits = &self.app.limits;
                    conversation
                        .calls
                        .answer(&request_id, status, publish.payload, limits);
                }
                if publish.qos == QoS::AtLeastOnce {
                    self.acknowledge_in_order();
                }
            }
        }
        Ok(())
    }
}
