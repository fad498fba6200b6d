//! Two peers in virtual time: a client that writes packets, the server's session that reads them in any chunks.

#![allow(
    clippy::unwrap_used,
    clippy::unchecked_time_subtraction,
    reason = "helpers of tests"
)]

use std::sync::Arc;
use std::time::Duration;

use mqtt::packet::{Connect, ConnectCode, Filters, Packet, Publish, QoS, Subscribe, Will};
use mqtt::server::{Event, Limits, OwnedWill, Session, Timeout, Violation, WindowFull};

const LIMITS: Limits = Limits {
    connect_bytes_max: 8_192,
    packet_bytes_max: 300_000,
    connect_patience: Duration::from_secs(10),
    silence_max: Duration::from_secs(1_767),
    outbound_window: 2,
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn connect() -> Connect<'static> {
    Connect {
        client_id: "dev1",
        clean_session: false,
        keep_alive_secs: 60,
        will: None,
        username: Some("hub/dev1"),
        password: Some(b"token"),
    }
}

fn publish(packet_id: u16) -> Packet<'static> {
    let qos = if packet_id == 0 {
        QoS::AtMostOnce
    } else {
        QoS::AtLeastOnce
    };
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: "t",
        packet_id,
        payload: b"x",
    })
}

fn bytes(packets: &[Packet<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        packet.encode(&mut out);
    }
    out
}

fn open(keep_alive_secs: u16, now: Duration) -> (Session, Vec<u8>) {
    let mut session = Session::new(Arc::new(LIMITS), now);
    let mut out = Vec::new();
    let input = bytes(&[Packet::Connect(Connect {
        keep_alive_secs,
        ..connect()
    })]);
    let (event, length) = session.handle_input(now, &input, &mut out).unwrap().unwrap();
    assert!(matches!(event, Event::Connect(_)) && length == input.len());
    session.command(&mut out).accept(true, keep_alive_secs, None);
    assert_eq!(out, [0x20, 2, 1, 0]);
    out.clear();
    (session, out)
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 80, "{}", size_of::<Session>());
}

#[test]
fn what_a_client_sends_before_the_answer_waits() {
    let mut session = Session::new(Arc::new(LIMITS), secs(0));
    let mut out = Vec::new();
    let input = bytes(&[Packet::Connect(connect()), publish(1), Packet::PingReq]);
    let (_, length) = session.handle_input(secs(0), &input, &mut out).unwrap().unwrap();
    let rest = &input[length..];
    assert_eq!(session.handle_input(secs(0), rest, &mut out), Ok(None));
    session.command(&mut out).accept(false, 60, None);
    let (event, length) = session.handle_input(secs(0), rest, &mut out).unwrap().unwrap();
    assert!(matches!(event, Event::Publish(Publish { packet_id: 1, .. })));
    let (event, _) = session
        .handle_input(secs(0), &rest[length..], &mut out)
        .unwrap()
        .unwrap();
    assert_eq!(event, Event::Handled);
    assert_eq!(out, [0x20, 2, 0, 0, 0xd0, 0]);
}

#[test]
fn acknowledgements_keep_the_order_of_the_messages() {
    let (mut session, mut out) = open(60, secs(0));
    let input = bytes(&[publish(7), publish(0), publish(3), publish(9)]);
    let mut at = 0;
    while let Some((_, length)) = session.handle_input(secs(0), &input[at..], &mut out).unwrap() {
        at += length;
    }
    assert_eq!(session.unacknowledged(), 3);
    session.command(&mut out).acknowledge_publishes(2);
    assert_eq!(out, bytes(&[Packet::PubAck(7), Packet::PubAck(3)]));
    session.command(&mut out).acknowledge_publishes(5);
    assert_eq!(
        out,
        bytes(&[Packet::PubAck(7), Packet::PubAck(3), Packet::PubAck(9)])
    );
    assert_eq!(session.unacknowledged(), 0);
}

#[test]
fn the_connect_must_come_in_time() {
    let mut session = Session::new(Arc::new(LIMITS), secs(5));
    assert_eq!(session.next_timeout(), Some(secs(15)));
    assert_eq!(session.handle_timeout(Duration::from_millis(14_999)), None);
    assert_eq!(session.handle_timeout(secs(15)), Some(Timeout::Connect));
    assert_eq!(session.next_timeout(), None);
}

#[test]
fn silence_lasts_one_and_a_half_keep_alives_and_no_longer_than_the_cap() {
    for (keep_alive, patience) in [
        (60, secs(90)),
        (1, Duration::from_millis(1_500)),
        (1_177, Duration::from_millis(1_765_500)),
        (3_600, secs(1_767)),
        (0, secs(1_767)),
    ] {
        let (mut session, mut out) = open(keep_alive, secs(1));
        assert_eq!(session.next_timeout(), Some(secs(1) + patience), "{keep_alive}");
        session
            .handle_input(secs(2), &bytes(&[Packet::PingReq]), &mut out)
            .unwrap();
        let due = secs(2) + patience;
        assert_eq!(session.handle_timeout(due - Duration::from_millis(1)), None);
        assert_eq!(
            session.handle_timeout(due),
            Some(Timeout::KeepAlive),
            "{keep_alive}"
        );
    }
}

#[test]
fn a_driver_that_does_not_read_is_not_the_clients_silence() {
    let (mut session, _) = open(60, secs(0));
    session.suspend();
    assert_eq!(session.next_timeout(), None);
    assert_eq!(session.handle_timeout(secs(1_000)), None);
    session.resume(secs(1_000));
    assert_eq!(session.next_timeout(), Some(secs(1_090)));
}

#[test]
fn violations_end_the_session() {
    let qos_two = Packet::Publish(Publish {
        dup: false,
        qos: QoS::ExactlyOnce,
        retain: false,
        topic: "t",
        packet_id: 1,
        payload: b"",
    });
    for (packet, violation) in [
        (Packet::Connect(connect()), Violation::SecondConnect),
        (qos_two, Violation::QosTwo),
        (Packet::PubRel(1), Violation::QosTwo),
        (Packet::PingResp, Violation::ServerPacket),
        (Packet::UnsubAck(1), Violation::ServerPacket),
    ] {
        let (mut session, mut out) = open(60, secs(0));
        assert_eq!(
            session.handle_input(secs(0), &bytes(&[packet]), &mut out),
            Err(violation)
        );
        assert_eq!(session.handle_input(secs(0), &[], &mut out), Ok(None));
    }
    let mut session = Session::new(Arc::new(LIMITS), secs(0));
    // One byte is enough to see that it is none.
    assert_eq!(
        session.handle_input(secs(0), &[0x30], &mut Vec::new()),
        Err(Violation::FirstPacket)
    );
    let mut session = Session::new(Arc::new(LIMITS), secs(0));
    let huge = [0x10, 0xff, 0xff, 0xff, 0x7f];
    let violation = session.handle_input(secs(0), &huge, &mut Vec::new()).unwrap_err();
    assert_eq!(violation.label(), "packet_too_large");
}

#[test]
fn the_will_is_void_after_disconnect_alone() {
    let will = OwnedWill {
        topic: "a/b".to_owned(),
        payload: b"gone".to_vec(),
        retain: false,
    };
    let start = || {
        let mut session = Session::new(Arc::new(LIMITS), secs(0));
        let mut out = Vec::new();
        let asked = Will {
            topic: "a/b",
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let input = bytes(&[Packet::Connect(Connect {
            will: Some(asked),
            ..connect()
        })]);
        session.handle_input(secs(0), &input, &mut out).unwrap();
        session.command(&mut out).accept(false, 60, Some(will.clone()));
        session
    };
    let mut left = start();
    let leaving = bytes(&[Packet::Disconnect]);
    let (event, _) = left
        .handle_input(secs(0), &leaving, &mut Vec::new())
        .unwrap()
        .unwrap();
    assert_eq!((event, left.take_will()), (Event::Disconnect, None));
    assert_eq!(
        left.handle_input(secs(0), &leaving, &mut Vec::new()),
        Err(Violation::AfterDisconnect)
    );
    let mut broken = start();
    assert_eq!(broken.take_will(), Some(will));
}

#[test]
fn messages_to_the_client_have_a_window() {
    let (mut session, mut out) = open(60, secs(0));
    assert_eq!(
        session.command(&mut out).publish_acknowledged("c", b"1", false),
        Ok(1)
    );
    assert_eq!(
        session.command(&mut out).publish_acknowledged("c", b"2", false),
        Ok(2)
    );
    assert_eq!(
        session.command(&mut out).publish_acknowledged("c", b"3", false),
        Err(WindowFull)
    );
    let answers = bytes(&[Packet::PubAck(2), Packet::PubAck(2), Packet::PubAck(77)]);
    let mut events = Vec::new();
    let mut at = 0;
    while let Some((event, length)) = session.handle_input(secs(0), &answers[at..], &mut out).unwrap() {
        events.push(event);
        at += length;
    }
    assert_eq!(
        events,
        [
            Event::Acknowledged { packet_id: 2 },
            Event::Handled,
            Event::Handled
        ]
    );
    assert_eq!(
        session.command(&mut out).publish_acknowledged("c", b"3", true),
        Ok(3)
    );
}

#[test]
fn a_message_is_sent_again_under_its_id_until_it_is_acknowledged() {
    let (mut session, mut out) = open(60, secs(0));
    let id = session
        .command(&mut out)
        .publish_acknowledged("c", b"1", false)
        .unwrap();
    session
        .command(&mut out)
        .publish_acknowledged("c", b"2", false)
        .unwrap();
    out.clear();
    assert!(session.command(&mut out).publish_again(id, "c", b"1"));
    assert_eq!(out, [0x3a, 6, 0, 1, b'c', 0, 1, b'1'], "DUP, QoS 1, the same id");
    assert!(!session.can_publish(), "it still counts once");
    out.clear();
    let answer = bytes(&[Packet::PubAck(id)]);
    let (event, _) = session.handle_input(secs(1), &answer, &mut out).unwrap().unwrap();
    assert_eq!(event, Event::Acknowledged { packet_id: id });
    assert!(!session.command(&mut out).publish_again(id, "c", b"1"));
    assert!(!session.command(&mut out).publish_again(9, "c", b"1"));
    assert_eq!(out, []);
}

#[test]
fn a_withdrawn_message_leaves_the_window_and_its_id_is_not_used_again_soon() {
    let (mut session, mut out) = open(60, secs(0));
    for _ in 0..2 {
        session
            .command(&mut out)
            .publish_acknowledged("c", b"", false)
            .unwrap();
    }
    session.command(&mut out).withdraw(1);
    session.command(&mut out).withdraw(77);
    assert!(session.can_publish());
    let late = bytes(&[Packet::PubAck(1)]);
    let (event, _) = session.handle_input(secs(1), &late, &mut out).unwrap().unwrap();
    assert_eq!(event, Event::Handled);
    assert_eq!(
        session.command(&mut out).publish_acknowledged("c", b"", false),
        Ok(3)
    );
}

#[test]
fn answers_to_requests() {
    let (mut session, mut out) = open(60, secs(0));
    let filters = Filters::to_bytes(&[("a/#", QoS::AtLeastOnce), ("b", QoS::AtMostOnce)]);
    let filters = Filters::from_bytes(&filters).unwrap();
    let input = bytes(&[Packet::Subscribe(Subscribe {
        packet_id: 2,
        filters,
    })]);
    let (event, _) = session.handle_input(secs(0), &input, &mut out).unwrap().unwrap();
    assert!(matches!(event, Event::Subscribe(subscribe) if subscribe.filters.into_iter().count() == 2));
    session.command(&mut out).grant(2, &[1, 0x80]);
    session.command(&mut out).acknowledge_unsubscribe(3);
    assert_eq!(out, [0x90, 4, 0, 2, 1, 0x80, 0xb0, 2, 0, 3]);
    let mut refused = Session::new(Arc::new(LIMITS), secs(0));
    out.clear();
    refused
        .handle_input(secs(0), &bytes(&[Packet::Connect(connect())]), &mut out)
        .unwrap();
    refused.command(&mut out).refuse(ConnectCode::NotAuthorized);
    assert_eq!(out, [0x20, 2, 0, 5]);
}
