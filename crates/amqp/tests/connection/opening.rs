//! Open, close and silence (amqp.md 1.3).

use std::time::Duration;

use amqp::connection::{Config, Connection, Event};
use amqp::frame::{AMQP_HEADER, SASL_HEADER};
use amqp::performative::{Close, Error, Open, Performative};

use crate::peer::{Peer, Said, begin, condition_of, frame_of, sender, whole};

fn open_with_idle(millis: Option<u32>) -> Peer {
    let open = Open {
        idle_time_out: millis,
        ..Open::default()
    };
    Peer::open_as(Config::default(), open)
}

#[test]
fn the_answer_carries_the_numbers_of_a_real_hub() {
    let mut peer = Peer::new(Config::default());
    peer.feed(&AMQP_HEADER).unwrap();
    peer.read();
    peer.say(
        0,
        Performative::Open(Open {
            hostname: Some("hub1.ironhub.test".to_owned()),
            ..Open::default()
        }),
    );
    let performatives = peer.performatives();
    let [Performative::Open(open)] = performatives.as_slice() else {
        panic!("{performatives:?}");
    };
    assert_eq!(open.hostname.as_deref(), Some("hub1.ironhub.test"));
    assert_eq!(
        (open.max_frame_size, open.channel_max, open.idle_time_out),
        (65_536, 8_191, Some(240_000))
    );
}

#[test]
fn everything_may_be_said_before_anything_is_read() {
    let mut bytes = AMQP_HEADER.to_vec();
    bytes.extend(frame_of(0, &Performative::Open(Open::default()), &[]));
    bytes.extend(frame_of(0, &begin(10), &[]));
    bytes.extend(frame_of(0, &Performative::Attach(sender(0)), &[]));
    bytes.extend(frame_of(0, &Performative::Transfer(whole(0, 0)), b"hello"));
    let mut peer = Peer::new(Config::default());
    peer.feed(&bytes).unwrap();
    let events = peer.events();
    assert!(matches!(
        events.as_slice(),
        [Event::Opened(_), Event::Attached(..), Event::Delivered(_, delivery)] if delivery.payload == b"hello"
    ));
}

#[test]
fn a_heartbeat_comes_at_half_of_what_the_peer_allows() {
    let mut peer = open_with_idle(Some(20_000));
    assert_eq!(peer.machine.next_timeout(), Some(Duration::from_secs(10)));
    assert!(!peer.later(9_999));
    assert_eq!(peer.read(), []);
    for _ in 0..3 {
        assert!(!peer.later(10_000));
        assert_eq!(peer.read(), [Said::Heartbeat]);
    }
}

#[test]
fn a_heartbeat_comes_every_thirty_seconds_at_the_latest() {
    let mut peer = open_with_idle(Some(240_000));
    peer.later(29_999);
    assert_eq!(peer.read(), []);
    peer.later(1);
    assert_eq!(peer.read(), [Said::Heartbeat]);
}

#[test]
fn a_peer_that_asks_for_no_heartbeats_gets_none() {
    for millis in [None, Some(0)] {
        let mut peer = open_with_idle(millis);
        assert!(!peer.later(239_999));
        assert_eq!(peer.read(), []);
        assert_eq!(peer.machine.next_timeout(), Some(Duration::from_secs(240)));
    }
}

#[test]
fn a_silent_peer_is_closed_after_240_seconds() {
    let mut peer = open_with_idle(None);
    assert!(!peer.later(100_000));
    peer.feed(&[0, 0, 0, 8, 2, 0, 0, 0]).unwrap();
    assert!(!peer.later(239_999));
    assert!(peer.later(1));
    assert_eq!(condition_of(&peer.read()), "amqp:connection:forced");
    assert!(peer.machine.is_closed());
    assert_eq!(peer.machine.next_timeout(), None);
    assert!(!peer.later(1_000_000));
    assert_eq!(peer.read(), []);
}

#[test]
fn silence_does_not_count_while_the_driver_does_not_listen() {
    let mut peer = open_with_idle(None);
    peer.now += Duration::from_secs(239);
    peer.machine.resume(peer.now);
    assert!(!peer.later(2_000));
    assert!(peer.later(239_000));
}

#[test]
fn silence_before_the_open_ends_the_connection_too() {
    let open = frame_of(0, &Performative::Open(Open::default()), &[]);
    let beginnings: [(&[&[u8]], usize); 4] = [
        (&[], 0),
        (&[&SASL_HEADER], 0),
        // An open is owed before a close may be said.
        (&[&AMQP_HEADER], 2),
        (&[&AMQP_HEADER, &open], 2),
    ];
    for (beginning, performatives) in beginnings {
        let mut machine = Connection::new(std::sync::Arc::default(), Duration::ZERO);
        for bytes in beginning {
            machine.handle_input(Duration::ZERO, bytes).unwrap();
        }
        machine.output().clear();
        assert!(machine.handle_timeout(Duration::from_secs(240)));
        assert!(machine.is_closed());
        let mut peer = Peer::new(Config::default());
        peer.machine = machine;
        let said = peer.performatives();
        assert_eq!(said.len(), performatives);
        if let [first, last] = said.as_slice() {
            assert!(matches!(first, Performative::Open(_)));
            assert!(matches!(last, Performative::Close(Close { error: Some(error) })
                if error.condition == "amqp:connection:forced"));
        }
    }
}

#[test]
fn a_close_before_the_open_came_says_open_first_and_ignores_what_comes() {
    let mut peer = Peer::new(Config::default());
    peer.feed(&AMQP_HEADER).unwrap();
    peer.read();
    peer.machine.close(
        peer.now,
        Some(Error::new("amqp:connection:forced", "Going away.")),
    );
    let said = peer.performatives();
    assert!(matches!(
        said.as_slice(),
        [Performative::Open(_), Performative::Close(_)]
    ));
    peer.say(0, Performative::Open(Open::default()));
    peer.say(0, begin(1));
    assert!(!peer.machine.is_closed());
    peer.say(0, Performative::Close(Close { error: None }));
    assert!(peer.machine.is_closed());
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
}

#[test]
fn a_close_is_answered_and_takes_all_links_along() {
    let mut peer = Peer::begun();
    peer.say(3, begin(1));
    let links = [
        peer.attach(0, sender(0)),
        peer.attach(0, sender(7)),
        peer.attach(3, sender(0)),
    ];
    peer.read();
    let error = Error::new("amqp:internal-error", "Out of memory.");
    peer.say(
        0,
        Performative::Close(Close {
            error: Some(error.clone()),
        }),
    );
    assert_eq!(peer.performatives(), [Performative::Close(Close { error: None })]);
    let mut expected: Vec<Event> = links
        .map(|link| Event::Detached(link, Some(error.clone())))
        .to_vec();
    expected.push(Event::Closed(Some(error)));
    assert_eq!(peer.events(), expected);
    assert!(peer.machine.is_closed());
}

#[test]
fn what_comes_after_our_close_is_thrown_away_until_the_peer_closes() {
    let mut peer = Peer::begun();
    let link = peer.attach(0, sender(0));
    peer.read();
    peer.machine.close(peer.now, None);
    peer.machine.forget(link, 1);
    peer.transfer(0, whole(0, 0), b"late");
    // Even what is undecodable is late: the peer did not know.
    peer.feed(&[0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x99, 0x45])
        .unwrap();
    assert_eq!(peer.events(), []);
    assert!(!peer.machine.is_closed());
    peer.say(0, Performative::Close(Close { error: None }));
    assert!(peer.machine.is_closed());
    assert_eq!(peer.performatives(), [Performative::Close(Close { error: None })]);
}
