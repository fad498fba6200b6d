//! Bad input and what it must lead to: the table of amqp.md E.1, row by row. Headers are in `headers`, silence in `opening`, and
//! the rows about messages and credit in `receiving`.

use amqp::connection::{Config, Event};
use amqp::frame::AMQP_HEADER;
use amqp::performative::{Begin, Flow, Open, Performative, Source, Target};

use crate::peer::{
    Peer, Said, begin, condition_of, detach, end, frame_of, grant, receiver, sender, whole, window,
};

/// Feeds bytes that end the connection; gives the condition on the wire.
fn closed_by(mut peer: Peer, bytes: &[u8]) -> String {
    peer.read();
    peer.feed(bytes).unwrap_err();
    assert!(peer.machine.is_closed());
    let said = peer.read();
    assert!(matches!(said.last(), Some(Said::Amqp(0, last, _)) if matches!(**last, Performative::Close(_))));
    condition_of(&said).to_owned()
}

/// Says something that ends session 0; gives the condition on the wire.
fn ended_by(peer: &mut Peer, performative: Performative) -> String {
    peer.read();
    peer.say(0, performative);
    let said = peer.read();
    assert!(matches!(said.as_slice(), [Said::Amqp(0, last, _)] if matches!(**last, Performative::End(_))));
    condition_of(&said).to_owned()
}

/// Says an attach that is refused; gives the condition on the wire.
fn refused(performative: Performative) -> String {
    let mut peer = Peer::begun();
    peer.say(0, performative);
    assert_eq!(peer.events(), []);
    let said = peer.read();
    let [Said::Amqp(0, attach, _), Said::Amqp(0, _, _)] = said.as_slice() else {
        panic!("{said:?}");
    };
    let Performative::Attach(attach) = &**attach else {
        panic!("{attach:?}");
    };
    assert_eq!(
        (&attach.source, &attach.target, attach.initial_delivery_count),
        (&None, &None, None)
    );
    condition_of(&said).to_owned()
}

#[test]
fn malformed_frames() {
    let frames: [&[u8]; 5] = [
        // Larger than announced; smaller than a header; data offset inside the header, and behind the end; unknown type.
        &[0, 1, 0, 1, 2, 0, 0, 0],
        &[0, 0, 0, 7, 2, 0, 0, 0],
        &[0, 0, 0, 8, 1, 0, 0, 0],
        &[0, 0, 0, 8, 3, 0, 0, 0],
        &[0, 0, 0, 8, 2, 2, 0, 0],
    ];
    for frame in frames {
        assert_eq!(
            closed_by(Peer::begun(), frame),
            "amqp:connection:framing-error",
            "{frame:?}"
        );
    }
}

#[test]
fn frames_before_the_open_are_small() {
    let mut peer = Peer::new(Config::default());
    peer.feed(&AMQP_HEADER).unwrap();
    assert_eq!(
        closed_by(peer, &[0, 0, 0x20, 1, 2, 0, 0, 0]),
        "amqp:connection:framing-error"
    );
}

#[test]
fn the_largest_frame_is_taken() {
    let mut peer = Peer::begun();
    peer.attach(0, sender(0));
    let overhead = frame_of(0, &Performative::Transfer(whole(0, 0)), &[]).len();
    let payload = vec![7; 65_536 - overhead];
    peer.transfer(0, whole(0, 0), &payload);
    assert!(
        matches!(peer.events().as_slice(), [Event::Delivered(_, delivery)] if delivery.payload == payload)
    );
}

#[test]
fn undecodable_performatives() {
    let bodies: [&[u8]; 6] = [
        // Not described; an unknown descriptor; not a list; a list longer than the frame; a missing field; a field's wrong type.
        &[0x45],
        &[0x00, 0x53, 0x99, 0x45],
        &[0x00, 0x53, 0x16, 0x40],
        &[0x00, 0x53, 0x16, 0xc0, 0x20, 0x01, 0x43],
        &[0x00, 0x53, 0x16, 0x45],
        &[0x00, 0x53, 0x16, 0xc0, 0x03, 0x01, 0xa1, 0x00],
    ];
    for body in bodies {
        let mut frame = vec![0, 0, 0, 8 + u8::try_from(body.len()).unwrap(), 2, 0, 0, 0];
        frame.extend_from_slice(body);
        assert_eq!(closed_by(Peer::begun(), &frame), "amqp:decode-error", "{body:?}");
    }
}

#[test]
fn frames_out_of_order() {
    let mut early = Peer::new(Config::default());
    early.feed(&AMQP_HEADER).unwrap();
    assert_eq!(closed_by(early, &frame_of(0, &begin(1), &[])), "amqp:not-allowed");

    let open = frame_of(0, &Performative::Open(Open::default()), &[]);
    assert_eq!(closed_by(Peer::open(), &open), "amqp:not-allowed");

    assert_eq!(
        closed_by(Peer::begun(), &frame_of(0, &begin(1), &[])),
        "amqp:not-allowed"
    );
    assert_eq!(
        closed_by(Peer::begun(), &frame_of(5, &end(), &[])),
        "amqp:not-allowed"
    );
    let answer = Performative::Begin(Begin {
        remote_channel: Some(0),
        ..Begin::default()
    });
    assert_eq!(
        closed_by(Peer::open(), &frame_of(0, &answer, &[])),
        "amqp:not-allowed"
    );
}

#[test]
fn channels_that_were_not_offered() {
    let mut peer = Peer::open();
    peer.say(8_191, begin(1));
    for performative in [begin(1), end()] {
        let peer = Peer::open();
        assert_eq!(
            closed_by(peer, &frame_of(8_192, &performative, &[])),
            "amqp:connection:framing-error"
        );
    }
}

#[test]
fn more_sessions_than_are_allowed() {
    let mut config = Config::default();
    config.limits.sessions_max = 2;
    let mut peer = Peer::open_as(config, Open::default());
    peer.say(0, begin(1));
    peer.say(1, begin(1));
    assert_eq!(
        closed_by(peer, &frame_of(2, &begin(1), &[])),
        "amqp:resource-limit-exceeded"
    );
}

#[test]
fn handles_in_use_or_too_high() {
    let mut peer = Peer::begun();
    let link = peer.attach(0, sender(4));
    let second = Performative::Attach(receiver(4));
    assert_eq!(ended_by(&mut peer, second), "amqp:session:handle-in-use");
    assert!(
        matches!(peer.events().as_slice(), [Event::Detached(id, Some(error))]
        if *id == link && error.condition == "amqp:session:handle-in-use")
    );

    let mut peer = Peer::begun();
    peer.attach(0, sender(262_143));
    let high = Performative::Attach(sender(262_144));
    assert_eq!(ended_by(&mut peer, high), "amqp:session:handle-in-use");
}

#[test]
fn more_links_than_are_allowed() {
    let mut config = Config::default();
    config.limits.links_per_session_max = 1;
    let mut peer = Peer::open_as(config, Open::default());
    peer.say(0, begin(1));
    peer.attach(0, sender(0));
    let second = Performative::Attach(sender(1));
    assert_eq!(ended_by(&mut peer, second), "amqp:resource-limit-exceeded");
}

#[test]
fn more_links_than_a_connection_may_have_are_refused_and_the_session_stays() {
    let mut config = Config::default();
    config.limits.links_max = 1;
    let mut peer = Peer::open_as(config, Open::default());
    for channel in [0, 1] {
        peer.say(channel, begin(1));
    }
    peer.attach(0, sender(0));
    peer.read();
    peer.say(1, Performative::Attach(sender(0)));
    let said = peer.performatives();
    let [Performative::Attach(attach), Performative::Detach(detach)] = said.as_slice() else {
        panic!("not refused: {said:?}");
    };
    assert!(attach.source.is_none() && attach.target.is_none());
    let error = detach.error.as_ref().unwrap();
    assert_eq!(error.condition, "amqp:resource-limit-exceeded");
}

#[test]
fn handles_that_are_not_attached() {
    for performative in [grant(9, 0, 1), detach(9), Performative::Transfer(whole(9, 0))] {
        assert_eq!(
            ended_by(&mut Peer::begun(), performative),
            "amqp:session:unattached-handle"
        );
    }
}

#[test]
fn an_ended_session_takes_nothing_until_the_peer_ends_it() {
    let mut peer = Peer::begun();
    ended_by(&mut peer, detach(9));
    peer.say(0, Performative::Attach(sender(0)));
    peer.say(
        0,
        Performative::Flow(Flow {
            echo: true,
            ..window(1, 1)
        }),
    );
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
    peer.say(0, end());
    assert_eq!(peer.read(), []);
    // The channel is free again.
    peer.say(0, begin(1));
    peer.attach(0, sender(0));
}

#[test]
fn the_session_window_is_kept() {
    // Its window is opened again at half, so that only one that never opens can be overrun.
    let config = Config {
        incoming_window: 0,
        ..Config::default()
    };
    let mut peer = Peer::open_as(config, Open::default());
    peer.say(0, begin(1));
    peer.attach(0, sender(0));
    let transfer = Performative::Transfer(whole(0, 0));
    assert_eq!(ended_by(&mut peer, transfer), "amqp:session:window-violation");
}

#[test]
fn links_without_a_node_and_what_is_not_offered() {
    let mut attaches = [receiver(0), sender(0), receiver(0), sender(0)];
    attaches[0].source = None;
    attaches[1].target = None;
    attaches[2].source = attaches[2].source.take().map(dynamic_source);
    attaches[3].target = attaches[3].target.take().map(dynamic_target);
    for attach in attaches {
        assert_eq!(refused(Performative::Attach(attach)), "amqp:not-implemented");
    }
}

fn dynamic_source(mut source: Source) -> Source {
    source.dynamic = true;
    source
}

fn dynamic_target(mut target: Target) -> Target {
    target.dynamic = true;
    target
}

#[test]
fn transactions_are_not_offered() {
    // An attach whose target is a coordinator (4.5.1): the target's descriptor is another, its capabilities stand where its
    // address would.
    let mut frame = frame_of(0, &Performative::Attach(sender(0)), &[]);
    let at = frame
        .windows(3)
        .position(|bytes| bytes == [0x00, 0x53, 0x29])
        .unwrap();
    frame[at + 2] = 0x30;
    let mut peer = Peer::begun();
    peer.feed(&frame).unwrap();
    assert_eq!(condition_of(&peer.read()), "amqp:not-implemented");
}
