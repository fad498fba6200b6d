//! However bytes are cut on their way, they mean the same.

use amqp::connection::{AttachReply, Config, Event};
use amqp::frame::{AMQP_HEADER, SASL_HEADER};
use amqp::performative::{Close, DeliveryState, Flow, Open, Performative};
use amqp::sasl::{Init, SaslFrame};
use proptest::prelude::*;

use crate::peer::{
    Peer, begin, detach, disposed, end, frame_of, further, receiver, sasl_frame_of, sender, whole, window,
};

/// A whole conversation of a client: SASL, two sessions, links both ways, messages in parts, an abort, outcomes, a broken rule.
fn conversation() -> Vec<u8> {
    let mut bytes = SASL_HEADER.to_vec();
    bytes.extend(sasl_frame_of(&SaslFrame::Init(Init {
        mechanism: "ANONYMOUS".to_owned(),
        initial_response: Some(b"user".to_vec()),
        hostname: None,
    })));
    bytes.extend(AMQP_HEADER);
    let mut say = |channel, performative, payload: &[u8]| {
        bytes.extend(frame_of(channel, &performative, payload));
    };
    let open = Open {
        max_frame_size: 512,
        idle_time_out: Some(60_000),
        ..Open::default()
    };
    say(0, Performative::Open(open), &[]);
    say(0, begin(2), &[]);
    say(9, begin(100), &[]);
    say(0, Performative::Attach(sender(0)), &[]);
    say(0, Performative::Attach(receiver(1)), &[]);
    say(9, Performative::Attach(sender(0)), &[]);
    say(9, Performative::Attach(receiver(5)), &[]);
    let mut first = whole(0, 0);
    first.more = true;
    say(0, Performative::Transfer(first.clone()), &[1; 300]);
    say(9, Performative::Transfer(whole(0, 0)), b"other");
    let credit = Flow {
        handle: Some(1),
        link_credit: Some(2),
        ..window(1, 2)
    };
    say(0, Performative::Flow(credit), &[]);
    say(0, Performative::Transfer(further(0, false)), &[2; 300]);
    say(0, Performative::Flow(window(3, 2)), &[]);
    say(0, disposed(0, 9, false, Some(DeliveryState::Accepted)), &[]);
    first.delivery_id = Some(1);
    say(0, Performative::Transfer(first), b"aborted");
    let mut abort = further(0, false);
    abort.aborted = true;
    say(0, Performative::Transfer(abort), &[]);
    let drain = Flow {
        handle: Some(5),
        link_credit: Some(3),
        drain: true,
        echo: true,
        ..window(1, 100)
    };
    say(9, Performative::Flow(drain), &[]);
    say(0, detach(1), &[]);
    say(0, detach(1), &[]);
    say(0, end(), &[]);
    say(9, Performative::Close(Close { error: None }), &[]);
    bytes
}

/// What a driver hears and a client reads when the bytes come in these pieces.
fn talk(bytes: &[u8], mut pieces: impl Iterator<Item = usize>) -> (Vec<Event>, Vec<u8>) {
    let mut peer = Peer::new(Config::default());
    peer.reply = Some(AttachReply {
        tracked: true,
        ..AttachReply::default()
    });
    let (mut events, mut written, mut rest) = (Vec::new(), Vec::new(), bytes);
    peer.on_event = Some(|machine, event| match event {
        Event::Credit(link) => {
            while machine.can_send(*link) {
                machine.send(*link, b"t", 0, &[&[7; 1_500]], false).unwrap();
            }
            machine.exhausted(*link);
        }
        Event::Delivered(link, delivery) => machine.dispose(*link, delivery.id, DeliveryState::Accepted),
        Event::Outcome { link, delivery, .. } => {
            machine.settle(*link, *delivery, DeliveryState::Accepted);
        }
        _ => {}
    });
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(pieces.next().unwrap().min(rest.len()));
        peer.feed(piece).unwrap();
        events.extend(peer.events());
        written.append(peer.machine.output());
        rest = behind;
    }
    assert!(peer.machine.is_closed());
    (events, written)
}

#[test]
fn the_conversation_reaches_everything() {
    let bytes = conversation();
    let (events, written) = talk(&bytes, std::iter::repeat(bytes.len()));
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Attached(..))), 4);
    assert_eq!(count(|event| matches!(event, Event::Delivered(..))), 2);
    assert_eq!(count(|event| matches!(event, Event::Detached(..))), 4);
    assert!(count(|event| matches!(event, Event::Credit(..))) >= 2);
    assert_eq!(count(|event| matches!(event, Event::Outcome { .. })), 1);
    assert!(matches!(events.last(), Some(Event::Closed(None))));
    assert!(written.len() > 3_000);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(sizes in proptest::collection::vec(1_usize..200, 1..40)) {
        let bytes = conversation();
        let whole = talk(&bytes, std::iter::repeat(bytes.len()));
        prop_assert_eq!(talk(&bytes, sizes.into_iter().cycle()), whole);
    }
}

#[test]
fn single_bytes_do_not_matter() {
    let bytes = conversation();
    let whole = talk(&bytes, std::iter::repeat(bytes.len()));
    assert_eq!(talk(&bytes, std::iter::repeat(1)), whole);
}
