//! Protocol headers, with and without SASL (amqp.md 1.2).

use amqp::connection::{Config, Event, SaslCode, Violation};
use amqp::frame::{AMQP_HEADER, SASL_HEADER};
use amqp::performative::{Open, Performative};
use amqp::sasl::{Challenge, Init, Outcome, Response, SaslFrame};

use crate::peer::{Peer, Said, condition_of, frame_of, sasl_frame_of};

fn init(mechanism: &str, response: Option<&[u8]>) -> Vec<u8> {
    sasl_frame_of(&SaslFrame::Init(Init {
        mechanism: mechanism.to_owned(),
        initial_response: response.map(<[u8]>::to_vec),
        hostname: None,
    }))
}

fn outcome(code: u8) -> Said {
    Said::Sasl(SaslFrame::Outcome(Outcome {
        code,
        additional_data: None,
    }))
}

/// A connection on which mechanisms were offered.
fn offered() -> Peer {
    let mut peer = Peer::new(Config::default());
    peer.feed(&SASL_HEADER).unwrap();
    let said = peer.read();
    let [Said::Header(header), Said::Sasl(SaslFrame::Mechanisms(offer))] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(*header, SASL_HEADER);
    assert_eq!(offer.mechanisms, ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]);
    peer
}

#[test]
fn without_sasl_the_header_is_echoed_and_open_follows() {
    let mut peer = Peer::new(Config::default());
    peer.feed(&AMQP_HEADER).unwrap();
    assert_eq!(peer.read(), [Said::Header(AMQP_HEADER)]);
    peer.say(0, Performative::Open(Open::default()));
    assert!(peer.machine.is_open());
}

#[test]
fn sasl_ends_with_a_second_header() {
    for mechanism in ["MSSBCBS", "PLAIN"] {
        let mut peer = offered();
        peer.feed(&init(mechanism, Some(b"\0user\0key"))).unwrap();
        assert_eq!(
            peer.events(),
            [Event::SaslInit {
                mechanism: mechanism.to_owned(),
                response: b"\0user\0key".to_vec(),
            }]
        );
        // Nothing more is taken until it is decided.
        peer.feed(&AMQP_HEADER).unwrap();
        assert_eq!(peer.read(), []);
        peer.machine.sasl_outcome(SaslCode::Ok);
        peer.feed(&frame_of(0, &Performative::Open(Open::default()), &[]))
            .unwrap();
        let said = peer.read();
        assert_eq!(said[..2], [outcome(0), Said::Header(AMQP_HEADER)]);
        assert!(peer.machine.is_open());
    }
}

#[test]
fn an_init_without_response_is_an_empty_one() {
    let mut peer = offered();
    peer.feed(&init("MSSBCBS", None)).unwrap();
    let events = peer.events();
    assert!(matches!(&events[..], [Event::SaslInit { response, .. }] if response.is_empty()));
}

#[test]
fn a_challenge_is_answered_before_the_outcome() {
    let mut peer = offered();
    peer.feed(&init("TPM", Some(b"\0scope\0id\0ek"))).unwrap();
    peer.events();
    for (asked, answered) in [(b"\0", b"\0srk"), (b"1", b"\0sas")] {
        peer.machine.sasl_challenge(asked.to_vec());
        assert_eq!(
            peer.read(),
            [Said::Sasl(SaslFrame::Challenge(Challenge {
                challenge: asked.to_vec()
            }))]
        );
        peer.feed(&sasl_frame_of(&SaslFrame::Response(Response {
            response: answered.to_vec(),
        })))
        .unwrap();
        assert_eq!(peer.events(), [Event::SaslResponse(answered.to_vec())]);
    }
    peer.machine.sasl_outcome(SaslCode::Ok);
    assert_eq!(peer.read(), [outcome(0)]);
}

#[test]
fn bad_credentials_end_the_connection() {
    let mut peer = offered();
    peer.feed(&init("PLAIN", Some(b"\0user\0wrong"))).unwrap();
    peer.machine.sasl_outcome(SaslCode::Auth);
    assert_eq!(peer.read(), [outcome(1)]);
    assert!(peer.machine.is_closed());
    // What still comes is thrown away.
    peer.feed(&AMQP_HEADER).unwrap();
    assert_eq!(peer.read(), []);
}

#[test]
fn no_other_header_is_taken() {
    let hostile: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"AMQP\x02\x01\x00\x00",
        b"AMQP\x00\x00\x09\x01",
        b"amqp\x00\x01\x00\x00",
        b"\x10\x0e",
    ];
    for bytes in hostile {
        let mut peer = Peer::new(Config::default());
        assert_eq!(peer.feed(bytes), Err(Violation::Header));
        assert_eq!(peer.read(), [Said::Header(AMQP_HEADER)]);
        assert!(peer.machine.is_closed());
    }
}

#[test]
fn a_header_in_pieces_is_waited_for() {
    let mut peer = Peer::new(Config::default());
    for byte in AMQP_HEADER {
        assert_eq!(peer.read(), []);
        peer.feed(&[byte]).unwrap();
    }
    assert_eq!(peer.read(), [Said::Header(AMQP_HEADER)]);
}

#[test]
fn sasl_is_not_begun_twice() {
    let mut peer = offered();
    peer.feed(&init("ANONYMOUS", None)).unwrap();
    peer.read();
    assert_eq!(peer.feed(&SASL_HEADER), Err(Violation::Header));
    assert_eq!(peer.read(), [Said::Header(AMQP_HEADER)]);
}

#[test]
fn frames_of_the_other_kind_are_refused() {
    let open = frame_of(0, &Performative::Open(Open::default()), &[]);
    let mut peer = offered();
    assert_eq!(peer.feed(&open), Err(Violation::Unexpected("an AMQP frame")));
    assert!(peer.machine.is_closed());

    let mut peer = Peer::new(Config::default());
    peer.feed(&AMQP_HEADER).unwrap();
    let result = peer.feed(&init("ANONYMOUS", None));
    assert_eq!(result, Err(Violation::Unexpected("a SASL frame")));
    assert_eq!(condition_of(&peer.read()), "amqp:not-allowed");

    let mut peer = offered();
    let response = sasl_frame_of(&SaslFrame::Response(Response { response: vec![] }));
    assert_eq!(peer.feed(&response), Err(Violation::Unexpected("a SASL frame")));
}
