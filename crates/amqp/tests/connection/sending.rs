//! Messages to the client: cut into frames, within its credit and window, and settled by it (amqp.md 1.3, 1.4, 1.6).

use amqp::connection::{AttachReply, Config, Event, LinkId, SendError};
use amqp::performative::{DeliveryState, Flow, Open, Performative, Transfer};

use crate::peer::{Peer, Said, begin, detach, grant, receiver, window};

/// A link on which the client receives, as handle 0 of a session with that window and frame size.
fn attached(incoming_window: u32, max_frame_size: u32, tracked: bool) -> (Peer, LinkId) {
    let open = Open {
        max_frame_size,
        ..Open::default()
    };
    let mut peer = Peer::open_as(Config::default(), open);
    peer.say(0, begin(incoming_window));
    peer.reply = Some(AttachReply {
        tracked,
        ..AttachReply::default()
    });
    let link = peer.attach(0, receiver(0));
    peer.read();
    (peer, link)
}

fn send(peer: &mut Peer, link: LinkId) -> Result<u32, SendError> {
    peer.machine.send(link, b"tag", 0, &[b"mess", b"age"], false)
}

/// A flow of the client's session: it has seen transfers up to `next_incoming_id`, and has that window.
fn session_flow(next_incoming_id: u32, incoming_window: u32) -> Performative {
    Performative::Flow(window(next_incoming_id, incoming_window))
}

#[test]
fn a_message_is_one_transfer_within_the_credit() {
    let (mut peer, link) = attached(100, 65_536, false);
    assert_eq!(send(&mut peer, link), Err(SendError::NoCredit));
    assert!(!peer.machine.can_send(link));
    peer.grant(0, 0, 2);
    assert_eq!(peer.events(), [Event::Credit(link)]);
    assert_eq!(peer.machine.credit(link), 2);
    assert_eq!((send(&mut peer, link), send(&mut peer, link)), (Ok(0), Ok(1)));
    assert_eq!(send(&mut peer, link), Err(SendError::NoCredit));
    let transfers = peer.transfers();
    for (id, (transfer, payload)) in (0..).zip(&transfers) {
        assert_eq!(
            (transfer.delivery_id, transfer.delivery_tag.as_deref()),
            (Some(id), Some(&b"tag"[..]))
        );
        assert_eq!(
            (transfer.message_format, transfer.settled, transfer.more),
            (Some(0), Some(false), false)
        );
        assert_eq!(payload, b"message");
    }
    assert_eq!(transfers.len(), 2);
}

#[test]
fn a_message_above_what_the_client_takes_is_not_sent() {
    let mut peer = Peer::begun();
    let mut attach = receiver(0);
    attach.max_message_size = Some(6);
    let link = peer.attach(0, attach);
    peer.grant(0, 0, 2);
    peer.read();
    assert_eq!(send(&mut peer, link), Err(SendError::TooLarge));
    assert_eq!(peer.machine.send(link, b"t", 0, &[b"messag"], false), Ok(0));
    assert_eq!(peer.machine.credit(link), 1);
}

#[test]
fn credit_counts_from_what_the_client_has_seen() {
    let (mut peer, link) = attached(100, 65_536, false);
    peer.grant(0, 0, 10);
    for _ in 0..4 {
        send(&mut peer, link).unwrap();
    }
    // The client had seen three of the four when it said this.
    peer.say(0, grant(0, 3, 5));
    assert_eq!(peer.machine.credit(link), 4);
    // It takes credit back, and what is on the way already may be more than it gives.
    peer.say(0, grant(0, 3, 0));
    assert_eq!(peer.machine.credit(link), 0);
    // It gives all the credit that there is.
    peer.say(0, grant(0, 3, u32::MAX));
    assert_eq!(peer.machine.credit(link), u32::MAX - 1);
    // It claims to have seen what was never sent.
    peer.say(0, grant(0, 9, 5));
    assert_eq!(peer.machine.credit(link), 5);
}

#[test]
fn a_client_that_names_no_count_has_seen_nothing() {
    let (mut peer, link) = attached(100, 65_536, false);
    peer.say(
        0,
        Performative::Flow(Flow {
            handle: Some(0),
            link_credit: Some(5),
            ..window(1, 100)
        }),
    );
    assert_eq!(peer.machine.credit(link), 5);
}

#[test]
fn no_frame_is_larger_than_the_client_takes() {
    for max_frame_size in [512, 4_096] {
        let (mut peer, link) = attached(10_000, max_frame_size, false);
        peer.grant(0, 0, 10);
        let message: Vec<u8> = (0..=255).cycle().take(40_000).collect();
        let (head, tail) = message.split_at(777);
        let id = peer.machine.send(link, &[9; 32], 7, &[head, b"", tail], false);
        assert_eq!(id, Ok(0));
        peer.frame_bytes_max = 0;
        let transfers = peer.transfers();
        let max = usize::try_from(max_frame_size).unwrap();
        assert!(
            peer.frame_bytes_max <= max && peer.frame_bytes_max > max - 128,
            "{}",
            peer.frame_bytes_max
        );
        let (last, others) = transfers.split_last().unwrap();
        assert!(others.iter().all(|(transfer, _)| transfer.more) && !last.0.more);
        let named = |(transfer, _): &(Transfer, _)| transfer.delivery_id.is_some();
        assert!(named(&transfers[0]) && !transfers[1..].iter().any(named));
        let joined: Vec<u8> = transfers.into_iter().flat_map(|(_, payload)| payload).collect();
        assert_eq!(joined, message);
    }
}

#[test]
fn a_client_that_takes_less_than_the_least_frame_gets_that() {
    let (mut peer, link) = attached(10_000, 1, false);
    peer.grant(0, 0, 1);
    peer.machine.send(link, b"t", 0, &[&[1; 600]], false).unwrap();
    peer.frame_bytes_max = 0;
    assert_eq!(peer.transfers().len(), 2);
    assert!(peer.frame_bytes_max <= 512);
}

#[test]
fn an_empty_message_is_a_transfer() {
    let (mut peer, link) = attached(10, 512, false);
    peer.grant(0, 0, 1);
    peer.machine.send(link, b"t", 0, &[], true).unwrap();
    let transfers = peer.transfers();
    assert!(matches!(transfers.as_slice(), [(transfer, payload)] if !transfer.more && payload.is_empty()));
}

#[test]
fn a_message_goes_on_when_the_window_opens() {
    let (mut peer, link) = attached(1, 512, false);
    let other = peer.attach(0, receiver(1));
    peer.say(0, grant(0, 0, 5));
    peer.say(0, grant(1, 0, 5));
    peer.say(0, session_flow(1, 1));
    peer.events();
    peer.machine.send(link, b"t", 0, &[&[1; 1_200]], false).unwrap();
    // Nothing may come between the parts.
    assert_eq!(send(&mut peer, other), Err(SendError::Blocked));
    assert!(!peer.machine.can_send(link) && !peer.machine.can_send(other));
    let mut length = 0;
    let mut frames = 0;
    loop {
        let transfers = peer.transfers();
        let [(transfer, payload)] = transfers.as_slice() else {
            panic!("{} transfers for a window of one", transfers.len());
        };
        frames += 1;
        length += payload.len();
        if !transfer.more {
            break;
        }
        assert_eq!(peer.events(), []);
        peer.say(0, session_flow(1 + frames, 1));
    }
    assert_eq!((frames, length), (4, 1_200));
    // With the window open again, both links may send.
    assert_eq!(peer.events(), []);
    peer.say(0, session_flow(1 + frames, 1));
    assert_eq!(peer.events(), [Event::Credit(link), Event::Credit(other)]);
    assert_eq!(send(&mut peer, other), Ok(1));
}

#[test]
fn a_flow_wakes_others_only_when_it_opens_the_window() {
    let (mut peer, link) = attached(10, 65_536, false);
    let other = peer.attach(0, receiver(1));
    peer.grant(0, 0, 5);
    assert_eq!(peer.events(), [Event::Credit(link)]);
    peer.grant(0, 1, 5);
    assert_eq!(peer.events(), [Event::Credit(other)]);
    peer.say(0, session_flow(1, 10));
    assert_eq!(peer.events(), []);
}

#[test]
fn the_window_counts_from_what_the_client_has_seen() {
    let (mut peer, link) = attached(3, 65_536, false);
    peer.say(
        0,
        Performative::Flow(Flow {
            // It has not seen our begin: its window counts from our first transfer.
            next_incoming_id: None,
            handle: Some(0),
            link_credit: Some(100),
            ..window(1, 3)
        }),
    );
    for _ in 0..3 {
        send(&mut peer, link).unwrap();
    }
    assert_eq!(send(&mut peer, link), Err(SendError::Blocked));
    // Two of three were seen: two more may be on the way.
    peer.say(0, session_flow(3, 3));
    assert_eq!((send(&mut peer, link), send(&mut peer, link)), (Ok(3), Ok(4)));
    assert_eq!(send(&mut peer, link), Err(SendError::Blocked));
    // The window shrank below what is on the way.
    peer.say(0, session_flow(3, 1));
    assert_eq!(send(&mut peer, link), Err(SendError::Blocked));
    peer.say(0, session_flow(6, u32::MAX));
    for _ in 0..50 {
        send(&mut peer, link).unwrap();
    }
}

#[test]
fn ten_thousand_messages_go_through_one_session() {
    let (mut peer, link) = attached(2_048, 65_536, false);
    let mut sent = 0;
    while sent < 10_000 {
        peer.say(
            0,
            Performative::Flow(Flow {
                handle: Some(0),
                delivery_count: Some(sent),
                link_credit: Some(1_000),
                ..window(1 + sent, 2_048)
            }),
        );
        for id in sent..sent + 1_000 {
            assert_eq!(send(&mut peer, link), Ok(id));
        }
        assert_eq!(peer.transfers().len(), 1_000);
        sent += 1_000;
        peer.say(
            0,
            crate::peer::disposed(sent - 1_000, sent - 1, true, Some(DeliveryState::Accepted)),
        );
    }
    assert_eq!(peer.read(), []);
}

#[test]
fn a_drain_uses_the_credit_up() {
    let (mut peer, link) = attached(100, 65_536, false);
    let drain = |seen, credit| {
        Performative::Flow(Flow {
            handle: Some(0),
            delivery_count: Some(seen),
            link_credit: Some(credit),
            drain: true,
            ..window(1, 100)
        })
    };
    peer.say(0, drain(0, 10));
    assert_eq!(peer.events(), [Event::Credit(link)]);
    send(&mut peer, link).unwrap();
    peer.machine.exhausted(link);
    let said = peer.performatives();
    let [Performative::Transfer(_), Performative::Flow(flow)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(
        (flow.handle, flow.delivery_count, flow.link_credit, flow.drain),
        (Some(0), Some(10), Some(0), true)
    );
    assert_eq!(peer.machine.credit(link), 0);
    // It is drained; without a drain nothing is given back.
    peer.machine.exhausted(link);
    peer.say(0, grant(0, 10, 3));
    peer.machine.exhausted(link);
    assert_eq!(peer.read(), []);
    assert_eq!(peer.machine.credit(link), 3);
    // Without credit it is drained already, and says so.
    peer.say(0, drain(13, 0));
    peer.machine.exhausted(link);
    let flow = peer.flow();
    assert_eq!((flow.link_credit, flow.drain), (Some(0), true));
}

#[test]
fn a_drain_before_the_decision_is_carried_out_after_it() {
    let (mut peer, _) = attached(100, 65_536, false);
    peer.reply = None;
    let attach = receiver(1);
    let link = peer.attach(0, attach.clone());
    peer.say(
        0,
        Performative::Flow(Flow {
            handle: Some(1),
            link_credit: Some(0),
            drain: true,
            ..window(1, 100)
        }),
    );
    // A flow for a link that the client does not know yet would be an error to it.
    peer.machine.exhausted(link);
    assert_eq!(peer.read(), []);
    peer.machine.accept_attach(link, &attach, AttachReply::default());
    assert_eq!(peer.events(), [Event::Credit(link)]);
    peer.read();
    peer.machine.exhausted(link);
    assert!(peer.flow().drain);
}

#[test]
fn a_drain_ends_behind_the_message_that_is_on_the_way() {
    let (mut peer, link) = attached(1, 512, false);
    peer.say(
        0,
        Performative::Flow(Flow {
            handle: Some(0),
            link_credit: Some(5),
            drain: true,
            ..window(1, 1)
        }),
    );
    peer.events();
    peer.machine.send(link, b"t", 0, &[&[1; 500]], false).unwrap();
    peer.machine.exhausted(link);
    assert_eq!(peer.performatives().len(), 1);
    peer.say(0, session_flow(2, 5));
    assert_eq!(peer.events(), [Event::Credit(link)]);
    peer.machine.exhausted(link);
    let said = peer.performatives();
    assert!(
        matches!(said.as_slice(), [Performative::Transfer(last), Performative::Flow(flow)]
        if !last.more && flow.delivery_count == Some(5) && flow.link_credit == Some(0))
    );
}

#[test]
fn the_rest_of_a_message_is_not_sent_on_a_link_that_is_gone() {
    for by_us in [true, false] {
        let (mut peer, link) = attached(1, 512, false);
        let other = peer.attach(0, receiver(1));
        peer.say(0, grant(0, 0, 5));
        peer.say(0, grant(1, 0, 5));
        peer.say(0, session_flow(1, 1));
        peer.machine.send(link, b"t", 0, &[&[1; 1_200]], false).unwrap();
        if by_us {
            peer.machine.detach(link, None);
        }
        peer.say(0, detach(0));
        peer.read();
        peer.events();
        peer.say(0, session_flow(2, 100));
        assert_eq!(peer.read(), [], "a transfer of a link that the client detached");
        assert_eq!(peer.events(), [Event::Credit(other)]);
        assert_eq!(send(&mut peer, other), Ok(1));
    }
}

#[test]
fn an_echo_is_answered() {
    let (mut peer, _) = attached(100, 65_536, false);
    peer.say(
        0,
        Performative::Flow(Flow {
            handle: Some(0),
            link_credit: Some(4),
            echo: true,
            ..window(1, 100)
        }),
    );
    let flow = peer.flow();
    assert_eq!(
        (flow.handle, flow.delivery_count, flow.link_credit),
        (Some(0), Some(0), Some(4))
    );
}

#[test]
fn a_link_that_receives_is_not_sent_on() {
    let mut peer = Peer::begun();
    let link = peer.attach(0, crate::peer::sender(0));
    peer.read();
    assert_eq!(send(&mut peer, link), Err(SendError::NotAttached));
    peer.machine.exhausted(link);
    peer.machine.settle(link, 0, DeliveryState::Accepted);
    let said: Vec<Said> = peer.read();
    assert_eq!(said, []);
}
