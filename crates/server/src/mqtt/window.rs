//! Commands that a client holds: sent under a lock, and not acknowledged (device-mqtt-https.md 7.2).
//!
//! ```text
//!            PUBACK                          PUBACK
//!   held ---------------> settled   lapsed ----------> settled, if the lock is still good
//!    |                                ^ |
//!    +------- lock ends --------------+ +--- received again ---> held: sent again, DUP and the same packet id
//!                                       +--- not there any more -> withdrawn
//! ```
//!
//! When a lock ends the command is free for every receiver. This connection looks at the queue again like any of them; what it is
//! given back goes out under the packet id that the client knows, and what it is not given is gone. Bodies are not kept here.

use hub::clock::Timestamp;
use hub::commands::{Delivery, LockToken, Settlement};
use hub::identity::IdentityId;
use mqtt::packet::QoS;
use mqtt::server::Session;

use super::command_topic::command_topic;

/// Commands that one client may hold without acknowledging them (device-mqtt-https.md 7.2).
pub(super) const WINDOW: usize = 16;

/// The commands of one connection.
#[derive(Debug, Default)]
pub(super) struct Window {
    held: Vec<Held>,
    // Sent with QoS 0, and maybe not written yet.
    unwritten: Vec<LockToken>,
    settled: Vec<(LockToken, Settlement)>,
    // Locks of commands that could not be sent after all.
    returned: Vec<LockToken>,
}

#[derive(Debug)]
struct Held {
    packet_id: u16,
    sequence: u64,
    lock: LockToken,
    locked_until: Timestamp,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client has it.
    Live,
    /// The lock has ended.
    Lapsed,
    /// The lock has ended, and the queue is being looked at.
    Asked,
    /// The same, and the client has acknowledged it meanwhile.
    Late,
}

impl Window {
    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
            && self.unwritten.is_empty()
            && self.settled.is_empty()
            && self.returned.is_empty()
    }

    /// How many commands may be asked for.
    pub(super) fn room(&self) -> usize {
        let held = self.held.iter().filter(|held| held.state == State::Live).count();
        WINDOW.saturating_sub(held + self.unwritten.len())
    }

    /// When the first lock ends.
    pub(super) fn next_lapse(&self) -> Option<Timestamp> {
        let live = self.held.iter().filter(|held| held.state == State::Live);
        live.map(|held| held.locked_until).min()
    }

    /// Ends the locks whose time is over; says whether there are some that the queue has not been asked about.
    pub(super) fn lapse(&mut self, now: Timestamp) -> bool {
        for held in &mut self.held {
            if held.state == State::Live && held.locked_until < now {
                held.state = State::Lapsed;
            }
        }
        self.held.iter().any(|held| held.state == State::Lapsed)
    }

    /// The queue is going to be looked at.
    pub(super) fn ask(&mut self) {
        for held in &mut self.held {
            if held.state == State::Lapsed {
                held.state = State::Asked;
            }
        }
    }

    /// Sends what the queue gave, and withdraws what it was asked about and did not give.
    pub(super) fn send(
        &mut self,
        deliveries: &[Delivery],
        granted: QoS,
        identity: &IdentityId,
        session: &mut Session,
        out: &mut Vec<u8>,
    ) {
        let given = |held: &Held| {
            deliveries
                .iter()
                .any(|delivery| delivery.sequence == held.sequence)
        };
        self.held.retain(|held| {
            let is_gone = matches!(held.state, State::Asked | State::Late) && !given(held);
            if is_gone {
                session.command(out).withdraw(held.packet_id);
            }
            !is_gone
        });
        for delivery in deliveries {
            if let Some(topic) = command_topic(identity, &delivery.command) {
                self.send_one(delivery, &topic, granted, session, out);
            } else {
                tracing::warn!(
                    %identity, sequence = delivery.sequence,
                    "a command was rejected: its properties do not fit into an MQTT topic"
                );
                self.settled.push((delivery.lock, Settlement::Reject));
            }
        }
    }

    fn send_one(
        &mut self,
        delivery: &Delivery,
        topic: &str,
        granted: QoS,
        session: &mut Session,
        out: &mut Vec<u8>,
    ) {
        let body = &delivery.command.body;
        if let Some(at) = self
            .held
            .iter()
            .position(|held| held.sequence == delivery.sequence)
        {
            let held = self.held.swap_remove(at);
            if held.state == State::Late {
                self.settled.push((delivery.lock, Settlement::Complete));
                return;
            }
            if session.command(out).publish_again(held.packet_id, topic, body) {
                self.hold(held.packet_id, delivery);
                return;
            }
        }
        if granted == QoS::AtMostOnce {
            session.command(out).publish(topic, body);
            self.unwritten.push(delivery.lock);
            return;
        }
        let sent = session
            .command(out)
            .publish_acknowledged(topic, body, delivery.redelivered);
        match sent {
            Ok(packet_id) => self.hold(packet_id, delivery),
            // No more is asked for than there is room for; were it otherwise, the command goes to whoever asks next.
            Err(mqtt::server::WindowFull) => self.returned.push(delivery.lock),
        }
    }

    fn hold(&mut self, packet_id: u16, delivery: &Delivery) {
        self.held.push(Held {
            packet_id,
            sequence: delivery.sequence,
            lock: delivery.lock,
            locked_until: delivery.locked_until,
            state: State::Live,
        });
    }

    /// The client acknowledged a message.
    pub(super) fn acknowledge(&mut self, packet_id: u16) {
        let Some(at) = self.held.iter().position(|held| held.packet_id == packet_id) else {
            return;
        };
        if let Some(held) = self.held.get_mut(at).filter(|held| held.state == State::Asked) {
            held.state = State::Late;
            return;
        }
        let held = self.held.swap_remove(at);
        self.settled.push((held.lock, Settlement::Complete));
    }

    /// Everything was written to the client: with QoS 0 that is all there is to come (device-mqtt-https.md 5.2). Says whether
    /// there is more to settle now.
    pub(super) fn note_written(&mut self) -> bool {
        let written = std::mem::take(&mut self.unwritten);
        let is_new = !written.is_empty();
        self.settled
            .extend(written.into_iter().map(|lock| (lock, Settlement::Complete)));
        is_new
    }

    /// What is to be settled.
    pub(super) fn take_settled(&mut self) -> Vec<(LockToken, Settlement)> {
        std::mem::take(&mut self.settled)
    }

    /// Locks to be given back at once.
    pub(super) fn take_returned(&mut self) -> Vec<LockToken> {
        std::mem::take(&mut self.returned)
    }

    /// Gives up everything that is not acknowledged; the locks are to be given back.
    pub(super) fn abandon(&mut self) -> Vec<LockToken> {
        let held = std::mem::take(&mut self.held);
        let live = held.into_iter().filter(|held| held.state == State::Live);
        let mut locks: Vec<LockToken> = live.map(|held| held.lock).collect();
        locks.append(&mut self.unwritten);
        locks.append(&mut self.returned);
        locks
    }

    /// Forgets what has lapsed: nobody wants commands here any more.
    pub(super) fn forget_lapsed(&mut self, session: &mut Session, out: &mut Vec<u8>) {
        self.held.retain(|held| {
            if held.state == State::Lapsed {
                session.command(out).withdraw(held.packet_id);
            }
            held.state != State::Lapsed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use hub::commands::Command;
    use hub::identity::DeviceId;
    use mqtt::packet::{Connect, Packet, Publish};
    use mqtt::server::Event;

    struct Bench {
        window: Window,
        session: Session,
        out: Vec<u8>,
        identity: IdentityId,
    }

    impl Bench {
        fn new() -> Self {
            let limits = mqtt::server::Limits {
                connect_bytes_max: 1_000,
                packet_bytes_max: 300_000,
                connect_patience: Duration::from_secs(10),
                silence_max: Duration::from_secs(1_767),
                outbound_window: WINDOW,
            };
            let mut session = Session::new(Arc::new(limits), Duration::ZERO);
            let (mut input, mut out) = (Vec::new(), Vec::new());
            Packet::Connect(Connect {
                client_id: "d",
                clean_session: false,
                keep_alive_secs: 0,
                will: None,
                username: None,
                password: None,
            })
            .encode(&mut input);
            session.handle_input(Duration::ZERO, &input, &mut out).unwrap();
            session.command(&mut out).accept(false, 0, None);
            out.clear();
            Self {
                window: Window::default(),
                session,
                out,
                identity: IdentityId::device(DeviceId::parse("d").unwrap()),
            }
        }

        /// Packet id and DUP of what is sent for these; id 0 is QoS 0.
        fn send(&mut self, deliveries: &[Delivery], granted: QoS) -> Vec<(u16, bool)> {
            self.out.clear();
            self.window.send(
                deliveries,
                granted,
                &self.identity,
                &mut self.session,
                &mut self.out,
            );
            let (mut sent, mut rest) = (Vec::new(), &self.out[..]);
            while let Some((packet, length)) = Packet::parse(rest, 300_000).unwrap() {
                let Packet::Publish(Publish { packet_id, dup, .. }) = packet else {
                    panic!("{packet:?}")
                };
                sent.push((packet_id, dup));
                rest = &rest[length..];
            }
            sent
        }

        fn puback(&mut self, packet_id: u16) {
            let mut input = Vec::new();
            Packet::PubAck(packet_id).encode(&mut input);
            let event = self.session.handle_input(Duration::ZERO, &input, &mut self.out);
            if let Ok(Some((Event::Acknowledged { packet_id }, _))) = event {
                self.window.acknowledge(packet_id);
            }
        }
    }

    /// A delivery under lock number `lock` until second `until`.
    fn delivery(sequence: u64, lock: u8, until: i64) -> Delivery {
        Delivery {
            sequence,
            lock: LockToken([lock; 16]),
            locked_until: Timestamp::from_secs(until),
            enqueued: Timestamp::from_secs(0),
            delivery_count: 0,
            redelivered: lock > 100,
            command: Command::default(),
        }
    }

    fn complete(lock: u8) -> (LockToken, Settlement) {
        (LockToken([lock; 16]), Settlement::Complete)
    }

    #[test]
    fn acknowledged_commands_are_settled_together() {
        let mut bench = Bench::new();
        let sent = bench.send(
            &[delivery(1, 1, 60), delivery(2, 102, 61), delivery(3, 3, 62)],
            QoS::AtLeastOnce,
        );
        assert_eq!(sent, [(1, false), (2, true), (3, false)]);
        assert_eq!(
            (bench.window.room(), bench.window.next_lapse()),
            (13, Some(Timestamp::from_secs(60)))
        );
        for id in [1, 3, 3, 9] {
            bench.puback(id);
        }
        assert_eq!(bench.window.take_settled(), [complete(1), complete(3)]);
        assert_eq!(bench.window.abandon(), [LockToken([102; 16])]);
        assert!(bench.window.is_empty());
    }

    #[test]
    fn without_acknowledgements_written_is_complete() {
        let mut bench = Bench::new();
        assert_eq!(bench.send(&[delivery(1, 1, 60)], QoS::AtMostOnce), [(0, false)]);
        assert_eq!((bench.window.take_settled(), bench.window.room()), (vec![], 15));
        assert!(bench.window.note_written());
        assert_eq!(bench.window.take_settled(), [complete(1)]);
        assert!(bench.window.is_empty());
    }

    #[test]
    fn a_lock_that_ends_brings_the_same_packet_again_or_none() {
        let mut bench = Bench::new();
        bench.send(
            &[delivery(1, 1, 60), delivery(2, 2, 60), delivery(3, 3, 90)],
            QoS::AtLeastOnce,
        );
        assert!(!bench.window.lapse(Timestamp::from_secs(60)));
        assert!(bench.window.lapse(Timestamp::from_secs(61)));
        assert_eq!(bench.window.room(), 15);
        bench.window.ask();
        assert!(!bench.window.lapse(Timestamp::from_secs(61)), "asked once");
        // The second one has expired meanwhile, and a new one came.
        let sent = bench.send(&[delivery(1, 101, 121), delivery(4, 4, 121)], QoS::AtLeastOnce);
        assert_eq!(sent, [(1, true), (4, false)]);
        for id in [2, 1, 3, 4] {
            bench.puback(id);
        }
        assert_eq!(
            bench.window.take_settled(),
            [complete(101), complete(3), complete(4)]
        );
        assert!(bench.window.is_empty());
    }

    #[test]
    fn a_late_acknowledgement_counts_as_long_as_it_can() {
        let mut bench = Bench::new();
        bench.send(
            &[delivery(1, 1, 60), delivery(2, 2, 60), delivery(3, 3, 60)],
            QoS::AtLeastOnce,
        );
        bench.window.lapse(Timestamp::from_secs(61));
        bench.puback(3);
        assert_eq!(
            bench.window.take_settled(),
            [complete(3)],
            "under the old lock, if that is still good"
        );
        bench.window.ask();
        bench.puback(1);
        assert_eq!(bench.window.take_settled(), [], "the queue is about to say");
        assert_eq!(bench.send(&[delivery(1, 101, 121)], QoS::AtLeastOnce), []);
        assert_eq!(bench.window.take_settled(), [complete(101)]);
        assert!(bench.window.is_empty(), "the one that was not given is withdrawn");
        assert!(bench.session.can_publish());
    }

    #[test]
    fn the_window_is_never_exceeded() {
        let mut bench = Bench::new();
        let all: Vec<Delivery> = (0..16).map(|n| delivery(n, 1, 60)).collect();
        bench.send(&all, QoS::AtLeastOnce);
        assert_eq!(bench.window.room(), 0);
        assert_eq!(bench.send(&[delivery(99, 99, 60)], QoS::AtLeastOnce), []);
        assert_eq!(bench.window.take_returned(), [LockToken([99; 16])]);
        bench.window.lapse(Timestamp::from_secs(61));
        bench.window.forget_lapsed(&mut bench.session, &mut bench.out);
        assert!(bench.window.is_empty() && bench.session.can_publish());
    }
}
