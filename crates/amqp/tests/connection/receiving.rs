//! Messages of the client: put together, credited and settled (amqp.md 1.4 to 1.6, E.1).

use amqp::connection::{AttachReply, Config, Event, LinkId, Violation};
use amqp::performative::{DeliveryState, Disposition, Flow, Open, Performative, Role, Transfer};

use crate::peer::{Peer, Said, begin, condition_of, detach, further, receiver, sender, whole, window};

/// A link on which the client sends, as handle 0.
fn attached(reply: AttachReply) -> (Peer, LinkId) {
    let mut peer = Peer::begun();
    peer.reply = Some(reply);
    let link = peer.attach(0, sender(0));
    peer.read();
    (peer, link)
}

fn with_credit(credit_window: u32) -> (Peer, LinkId) {
    attached(AttachReply {
        credit_window,
        ..AttachReply::default()
    })
}

fn payloads(peer: &mut Peer) -> Vec<Vec<u8>> {
    let payload = |event| match event {
        Event::Delivered(_, delivery) => delivery.payload,
        other => panic!("{other:?}"),
    };
    peer.events().into_iter().map(payload).collect()
}

/// Says a transfer that detaches the link; gives the condition on the wire.
fn detached_by(peer: &mut Peer, transfer: Transfer, payload: &[u8]) -> String {
    peer.transfer(0, transfer, payload);
    let said = peer.read();
    assert!(matches!(said.as_slice(), [Said::Amqp(0, last, _)] if matches!(**last, Performative::Detach(_))));
    assert!(matches!(peer.events().as_slice(), [Event::Detached(_, Some(_))]));
    condition_of(&said).to_owned()
}

#[test]
fn messages_in_several_transfers_of_several_links_are_put_together() {
    let (mut peer, first) = with_credit(10);
    let second = peer.attach(0, sender(1));
    let mut one = whole(0, 0);
    (one.more, one.message_format) = (true, Some(0x8001_3700));
    let mut two = whole(1, 1);
    two.more = true;
    peer.transfer(0, one, b"he");
    peer.transfer(0, two, b"w");
    peer.transfer(0, further(0, true), b"ll");
    peer.transfer(0, further(1, false), b"orld");
    let mut last = further(0, false);
    last.settled = Some(true);
    peer.transfer(0, last, b"o");
    let events = peer.events();
    let [Event::Delivered(link, world), Event::Delivered(other, hello)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!((*link, *other), (second, first));
    assert_eq!(
        (world.id, world.settled, &world.payload[..]),
        (1, false, &b"world"[..])
    );
    assert_eq!(
        (hello.id, hello.settled, &hello.payload[..]),
        (0, true, &b"hello"[..])
    );
    assert_eq!((world.message_format, hello.message_format), (0, 0x8001_3700));
}

#[test]
fn a_message_is_settled_with_an_outcome() {
    let (mut peer, link) = with_credit(10);
    peer.transfer(0, whole(0, 5), b"m");
    peer.machine.dispose(link, 5, DeliveryState::Accepted);
    let settled = |first, last| {
        Performative::Disposition(Disposition {
            role: Role::Receiver,
            first,
            last,
            settled: true,
            state: Some(DeliveryState::Accepted),
            batchable: false,
        })
    };
    assert_eq!(peer.performatives(), [settled(5, None)]);
    for id in 6..9 {
        peer.transfer(0, whole(0, id), b"m");
    }
    peer.machine.dispose_range(link, 6, 8, 3, DeliveryState::Accepted);
    assert_eq!(peer.performatives(), [settled(6, Some(8))]);
}

#[test]
fn credit_is_given_anew_at_half() {
    let (mut peer, link) = with_credit(10);
    for id in 0..4 {
        peer.transfer(0, whole(0, id), b"m");
        peer.machine.forget(link, 1);
    }
    assert_eq!(peer.read(), []);
    peer.transfer(0, whole(0, 4), b"m");
    peer.machine.forget(link, 1);
    let flow = peer.flow();
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(5), Some(10)));
}

#[test]
fn messages_that_are_not_disposed_of_hold_their_credit() {
    let (mut peer, link) = with_credit(4);
    for id in 0..4 {
        peer.transfer(0, whole(0, id), b"m");
    }
    assert_eq!(peer.read(), []);
    peer.machine.forget(link, 1);
    let flow = peer.flow();
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(4), Some(1)));
    peer.transfer(0, whole(0, 4), b"m");
    assert_eq!(
        detached_by_after_events(&mut peer, whole(0, 5)),
        "amqp:link:transfer-limit-exceeded"
    );
}

fn detached_by_after_events(peer: &mut Peer, transfer: Transfer) -> String {
    peer.events();
    detached_by(peer, transfer, b"m")
}

#[test]
fn beyond_the_credit_the_link_is_detached() {
    let (mut peer, _) = with_credit(1);
    peer.transfer(0, whole(0, 0), b"m");
    assert_eq!(
        detached_by_after_events(&mut peer, whole(0, 1)),
        "amqp:link:transfer-limit-exceeded"
    );
    // The rest of the session lives on, and so does the handle after the client's detach.
    peer.transfer(0, whole(0, 2), b"late");
    peer.say(0, detach(0));
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
    peer.attach(0, sender(0));
}

#[test]
fn an_aborted_message_gives_nothing_and_uses_credit_that_comes_back() {
    let (mut peer, link) = with_credit(2);
    for id in 0..5 {
        let mut first = whole(0, id);
        first.more = true;
        peer.transfer(0, first, b"part");
        let mut abort = further(0, false);
        abort.aborted = true;
        peer.transfer(0, abort, b"");
        let flow = peer.flow();
        assert_eq!((flow.delivery_count, flow.link_credit), (Some(id + 1), Some(2)));
    }
    let mut at_once = whole(0, 5);
    at_once.aborted = true;
    peer.transfer(0, at_once, b"ignored");
    assert_eq!(peer.events(), []);
    peer.transfer(0, whole(0, 6), b"m");
    assert_eq!(payloads(&mut peer), [b"m"]);
    peer.machine.detach(link, None);
}

#[test]
fn first_transfers_name_their_message() {
    let mut without_id = whole(0, 0);
    without_id.delivery_id = None;
    let mut without_tag = whole(0, 0);
    without_tag.delivery_tag = None;
    let mut long_tag = whole(0, 0);
    long_tag.delivery_tag = Some(vec![1; 33]);
    for transfer in [without_id, without_tag, long_tag] {
        let (mut peer, _) = with_credit(10);
        assert_eq!(detached_by(&mut peer, transfer, b"m"), "amqp:invalid-field");
    }
    let mut longest = whole(0, 0);
    longest.delivery_tag = Some(vec![1; 32]);
    let (mut peer, _) = with_credit(10);
    peer.transfer(0, longest, b"m");
    assert_eq!(payloads(&mut peer), [b"m"]);
}

#[test]
fn a_message_does_not_change_on_the_way() {
    let mut other_format = further(0, false);
    other_format.message_format = Some(1);
    let mut other_id = further(0, false);
    other_id.delivery_id = Some(1);
    for second in [other_format, other_id] {
        let (mut peer, _) = with_credit(10);
        let mut first = whole(0, 0);
        first.more = true;
        peer.transfer(0, first, b"part");
        assert_eq!(detached_by(&mut peer, second, b"m"), "amqp:invalid-field");
    }
}

#[test]
fn a_message_over_the_size_detaches_the_link() {
    let small = AttachReply {
        message_bytes_max: 10,
        ..AttachReply::default()
    };
    let (mut peer, _) = attached(small.clone());
    peer.transfer(0, whole(0, 0), &[1; 10]);
    assert_eq!(payloads(&mut peer), [[1; 10]]);
    let mut first = whole(0, 1);
    first.more = true;
    peer.transfer(0, first, &[1; 10]);
    assert_eq!(
        detached_by(&mut peer, further(0, true), &[1]),
        "amqp:link:message-size-exceeded"
    );
    let (mut peer, _) = attached(small);
    assert_eq!(
        detached_by(&mut peer, whole(0, 0), &[1; 11]),
        "amqp:link:message-size-exceeded"
    );
}

#[test]
fn a_transfer_on_a_link_that_we_send_on_detaches_it() {
    let mut peer = Peer::begun();
    peer.attach(0, receiver(0));
    peer.read();
    assert_eq!(detached_by(&mut peer, whole(0, 0), b"m"), "amqp:not-allowed");
}

#[test]
fn messages_in_part_are_bounded_over_all_links() {
    let mut config = Config::default();
    config.limits.partial_bytes_max = 100;
    let mut peer = Peer::open_as(config, Open::default());
    for channel in 0..2 {
        peer.say(channel, begin(10));
        for handle in 0..3 {
            peer.attach(channel, sender(handle));
        }
    }
    let part = |handle, id| Transfer {
        more: true,
        ..whole(handle, id)
    };
    // What is given up, detached, ended or whole does not count any more.
    for round in 0..20 {
        peer.transfer(0, part(0, round), &[0; 90]);
        match round % 4 {
            0 => peer.transfer(
                0,
                Transfer {
                    aborted: true,
                    ..further(0, false)
                },
                b"",
            ),
            1 => {
                peer.say(0, detach(0));
                peer.attach_again(0, 0);
            }
            2 => peer.transfer(0, further(0, false), &[0; 90]),
            _ => {
                // The link is detached for it, by us, and then by the client.
                peer.transfer(
                    0,
                    Transfer {
                        delivery_id: Some(999),
                        ..further(0, false)
                    },
                    b"",
                );
                peer.say(0, detach(0));
                peer.attach_again(0, 0);
            }
        }
    }
    peer.transfer(1, part(0, 0), &[0; 90]);
    peer.say(1, crate::peer::end());
    peer.say(1, begin(10));
    peer.events();
    peer.attach(1, sender(0));
    peer.transfer(0, part(1, 100), &[0; 60]);
    peer.transfer(1, part(0, 0), &[0; 40]);
    let last = Performative::Transfer(part(2, 101));
    assert_eq!(peer.try_say(0, &last, &[0]), Err(Violation::PartialDeliveries));
    assert_eq!(condition_of(&peer.read()), "amqp:resource-limit-exceeded");
}

#[test]
fn a_part_of_a_link_that_we_detached_does_not_count() {
    let mut config = Config::default();
    config.limits.partial_bytes_max = 100;
    let mut peer = Peer::open_as(config, Open::default());
    peer.say(0, begin(10));
    let link = peer.attach(0, sender(0));
    peer.attach(0, sender(1));
    let part = |handle| Transfer {
        more: true,
        ..whole(handle, handle)
    };
    peer.transfer(0, part(0), &[0; 90]);
    peer.machine.detach(link, None);
    peer.transfer(0, part(1), &[0; 90]);
    peer.say(0, detach(0));
    peer.transfer(0, further(1, false), &[0; 90]);
    assert_eq!(payloads(&mut peer).len(), 1);
}

#[test]
fn the_session_window_is_opened_again_at_half() {
    let config = Config {
        incoming_window: 8,
        ..Config::default()
    };
    let mut peer = Peer::open_as(config, Open::default());
    peer.say(0, begin(10));
    peer.attach(0, sender(0));
    peer.read();
    for round in 0..5 {
        for id in 0..4 {
            assert_eq!(peer.read(), []);
            peer.transfer(0, whole(0, round * 4 + id), b"m");
        }
        let flow = peer.flow();
        // Ids of the client's transfers began at 1.
        assert_eq!(
            (flow.handle, flow.next_incoming_id, flow.incoming_window),
            (None, Some(1 + (round + 1) * 4), 8)
        );
    }
}

#[test]
fn ten_thousand_messages_go_through_one_session() {
    let (mut peer, link) = with_credit(100);
    // As a client counts them: its window and its credit are what it last heard of.
    let (mut window, mut credit) = (5_000_u32, 100_u32);
    for id in 0..10_000 {
        assert!(window > 0 && credit > 0, "the client may not send message {id}");
        peer.transfer(0, whole(0, id), b"m");
        peer.machine.dispose(link, id, DeliveryState::Accepted);
        let (next_id, sent) = (id + 2, id + 1);
        window -= 1;
        credit -= 1;
        for performative in peer.performatives() {
            if let Performative::Flow(flow) = performative {
                window = flow.incoming_window - (next_id - flow.next_incoming_id.unwrap());
                if flow.handle.is_some() {
                    credit = flow.link_credit.unwrap() - (sent - flow.delivery_count.unwrap());
                }
            }
        }
        assert_eq!(peer.events().len(), 1);
    }
}

#[test]
fn an_echo_is_answered() {
    let (mut peer, _) = with_credit(10);
    let asked = Flow {
        echo: true,
        ..window(1, 10)
    };
    peer.say(0, Performative::Flow(asked.clone()));
    assert_eq!(peer.flow().handle, None);
    peer.say(
        0,
        Performative::Flow(Flow {
            handle: Some(0),
            delivery_count: Some(0),
            link_credit: Some(0),
            ..asked
        }),
    );
    let flow = peer.flow();
    assert_eq!(
        (flow.handle, flow.link_credit, flow.echo),
        (Some(0), Some(10), false)
    );
}

#[test]
fn credit_that_the_client_skips_is_given_anew() {
    let (mut peer, _) = with_credit(4);
    peer.say(
        0,
        Performative::Flow(Flow {
            handle: Some(0),
            delivery_count: Some(4),
            ..window(1, 10)
        }),
    );
    let flow = peer.flow();
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(4), Some(4)));
}

#[test]
fn counts_go_on_from_where_the_client_begins_and_wrap() {
    let mut peer = Peer::begun();
    peer.reply = Some(AttachReply {
        credit_window: 2,
        ..AttachReply::default()
    });
    let mut attach = sender(0);
    attach.initial_delivery_count = Some(u32::MAX);
    let link = peer.attach(0, attach);
    peer.read();
    peer.transfer(0, whole(0, u32::MAX), b"m");
    peer.transfer(0, whole(0, 0), b"m");
    peer.machine
        .dispose_range(link, u32::MAX, 0, 2, DeliveryState::Accepted);
    let said = peer.performatives();
    assert!(
        matches!(said.as_slice(), [Performative::Disposition(_), Performative::Flow(flow)]
        if flow.delivery_count == Some(1) && flow.link_credit == Some(2))
    );
}
