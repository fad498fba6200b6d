use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn decode(bytes: &[u8]) -> Performative {
    let (performative, length) = Performative::decode(bytes).unwrap();
    assert_eq!(length, bytes.len());
    performative
}

fn every_performative() -> Vec<(Performative, u32)> {
    let error = Some(Error {
        info: Some(Value::Map(vec![])),
        ..Error::new("amqp:not-found", "gone")
    });
    let attach = Attach {
        name: "link".to_owned(),
        handle: 1,
        role: Role::Receiver,
        snd_settle_mode: SenderSettleMode::Settled,
        rcv_settle_mode: ReceiverSettleMode::Second,
        source: Some(Source::of("a")),
        target: Some(Target::default()),
        incomplete_unsettled: false,
        initial_delivery_count: Some(0),
        max_message_size: Some(262_144),
        offered_capabilities: vec!["x".to_owned()],
        desired_capabilities: Vec::new(),
        properties: None,
    };
    let transfer = Transfer {
        handle: 0,
        delivery_id: Some(0),
        delivery_tag: Some(vec![1, 0, 0, 0]),
        message_format: Some(0),
        settled: Some(false),
        more: true,
        rcv_settle_mode: None,
        state: Some(DeliveryState::Released),
        resume: false,
        aborted: false,
        batchable: false,
    };
    let modified = DeliveryState::Modified {
        delivery_failed: true,
        undeliverable_here: false,
        message_annotations: Some(Value::Map(vec![])),
    };
    let disposition = Disposition {
        role: Role::Sender,
        first: 3,
        last: Some(9),
        settled: true,
        state: Some(modified),
        batchable: false,
    };
    vec![
        (
            Performative::Open(Open {
                hostname: Some("h".to_owned()),
                ..Open::default()
            }),
            10,
        ),
        (
            Performative::Begin(Begin {
                remote_channel: Some(0),
                ..Begin::default()
            }),
            8,
        ),
        (Performative::Attach(attach), 14),
        (
            Performative::Flow(Flow {
                next_incoming_id: Some(0),
                handle: Some(2),
                ..Flow::default()
            }),
            11,
        ),
        (Performative::Transfer(transfer), 11),
        (Performative::Disposition(disposition), 6),
        (
            Performative::Detach(Detach {
                handle: 1,
                closed: true,
                error: error.clone(),
            }),
            3,
        ),
        (Performative::End(End { error: error.clone() }), 1),
        (Performative::Close(Close { error }), 1),
    ]
}

#[test]
fn every_field_is_written_and_read_back() {
    for (performative, fields) in every_performative() {
        let mut bytes = Vec::new();
        performative.encode(&mut bytes);
        // Descriptor 00 53 code, then list32: constructor, size, count. One client finds fields by position.
        assert_eq!((bytes[0], bytes[1], bytes[3]), (0, 0x53, 0xd0));
        assert_eq!(
            u32::from_be_bytes(bytes[8..12].try_into().unwrap()),
            fields,
            "{performative:?}"
        );
        assert_eq!(decode(&bytes), performative);
    }
}

#[test]
fn the_disposition_of_a_real_hub() {
    // amqp.md 1.6: accepted, settled, of one delivery; fields at the end are left out.
    let bytes = hex("005315 c00e06 41 70000007fd 40 41 005324 45 40");
    let expected = Disposition {
        role: Role::Receiver,
        first: 2_045,
        last: None,
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    };
    assert_eq!(decode(&bytes), Performative::Disposition(expected));
}

#[test]
fn the_transfer_of_a_put_token() {
    // amqp.md 2.1: the performative of a client, its payload behind it.
    let bytes = hex("005314 d0 0000000c 00000006 43 43 a00130 43 42 42");
    let Performative::Transfer(transfer) = decode(&bytes) else {
        panic!("no transfer")
    };
    assert_eq!((transfer.handle, transfer.delivery_id), (0, Some(0)));
    assert_eq!(transfer.delivery_tag.as_deref(), Some(&b"0"[..]));
    assert_eq!((transfer.settled, transfer.more), (Some(false), false));
}

#[test]
fn symbolic_descriptors_and_unknown_ones() {
    let mut bytes = vec![0, 0xa3, 14];
    bytes.extend_from_slice(b"amqp:open:list");
    bytes.extend_from_slice(&hex("c0 04 01 a1 01 63"));
    let Performative::Open(open) = decode(&bytes) else {
        panic!("no open")
    };
    assert_eq!((open.container_id.as_str(), open.max_frame_size), ("c", u32::MAX));
    assert_eq!(
        Performative::decode(&hex("005399 45")),
        Err(DecodeError::Descriptor)
    );
    assert_eq!(
        Performative::decode(&hex("005312 45")),
        Err(DecodeError::Missing("attach.name"))
    );
    assert_eq!(
        Performative::decode(&hex("005312 c0 03 01 52 01")),
        Err(DecodeError::Type)
    );
}

#[test]
fn one_symbol_and_an_array_of_them() {
    for text in [
        "a3 01 78",
        "e0 04 01 a3 01 78",
        "f0 0000000a 00000001 b3 00000001 78",
    ] {
        let value = hex(text);
        let mut bytes = hex("005310 d0");
        let nulls = hex("a1 01 63 40 40 40 40 40 40");
        let size = u32::try_from(4 + nulls.len() + value.len()).unwrap();
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&8_u32.to_be_bytes());
        bytes.extend_from_slice(&nulls);
        bytes.extend_from_slice(&value);
        let Performative::Open(open) = decode(&bytes) else {
            panic!("no open")
        };
        assert_eq!(open.offered_capabilities, ["x"], "{text}");
    }
}
