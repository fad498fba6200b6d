//! Bad input of devices, one test for each row of the table of required reactions (amqp.md E.1). What each row means for the
//! machine alone is in `crates/amqp/tests/connection`; here the whole server reacts, and the record of the connection says why. The one
//! row that is there alone is the session window (`bad_input::the_session_window_is_kept`): a server that reads opens it in time.

use std::time::Duration;

use amqp::frame::AMQP_HEADER;
use amqp::message::write_data;
use amqp::performative::{
    Attach, Begin, Open, Performative, ReceiverSettleMode, Role, SenderSettleMode, Source, Target, Transfer,
};
use hub::records::Filter;

use super::client::{Bench, Client, transfer};
use crate::doubles::HOST;

const EVENTS: &str = "/devices/d/messages/events";

/// A device that sends telemetry on handle 0 of channel 0.
async fn sending(bench: &Bench) -> Client {
    let mut client = bench.connect(&["d"]).await;
    client.attach(0, Role::Sender, "t", 0, EVENTS).await;
    assert_eq!(client.line().await, "attached 0/0");
    client
}

fn data(text: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    write_data(&mut message, text);
    message
}

async fn sends(client: &mut Client, handle: u32) -> bool {
    let id = client.send(0, handle, false, &[&data(b"x")]).await;
    client.line().await == format!("{id}-{id} accepted")
}

/// A connection with this input behind a good beginning ends so, and leaves a record.
async fn closes(input: &[u8], condition: &str) {
    let bench = Bench::new().await;
    let mut client = sending(&bench).await;
    client.raw(input).await;
    assert_eq!(client.line().await, format!("close {condition}"), "{input:02x?}");
    assert_eq!(client.line().await, "closed", "{input:02x?}");
    assert_eq!(bench.endings("d").len(), 1, "{input:02x?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_header_is_answered_with_ours() {
    let bench = Bench::new().await;
    for bytes in [
        *b"GET / HT",
        *b"AMQP\x00\x02\x00\x00",
        *b"\x16\x03\x01\x00\xff\x01\x00\x00",
    ] {
        let mut stranger = bench.silent();
        stranger.raw(&bytes).await;
        assert_eq!(stranger.bytes_to_the_end().await, AMQP_HEADER, "{bytes:02x?}");
    }
    assert_eq!(bench.app.records.recent(&Filter::default(), 100).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_none() {
    for header in [
        [0, 1, 0, 1, 2, 0, 0, 0],
        [0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0],
        [0, 0, 0, 7, 2, 0, 0, 0],
        [0, 0, 0, 8, 1, 0, 0, 0],
        [0, 0, 0, 8, 3, 0, 0, 0],
        [0, 0, 0, 8, 2, 9, 0, 0],
    ] {
        closes(&header, "amqp:connection:framing-error").await;
    }
}

#[tokio::test(start_paused = true)]
async fn performatives_that_cannot_be_read() {
    for body in [
        // An unknown descriptor, one that is none, a list that ends early, one that counts more than it has.
        [0x00, 0x53, 0x7f, 0x45].as_slice(),
        &[0x45],
        &[0x00, 0x53, 0x12, 0xc0, 0x20, 0x03, 0xa1],
        &[0x00, 0x53, 0x12, 0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
    ] {
        let size = u32::try_from(body.len() + 8).unwrap();
        let frame = [&size.to_be_bytes(), [2, 0, 0, 0].as_slice(), body].concat();
        closes(&frame, "amqp:decode-error").await;
    }
}

#[tokio::test(start_paused = true)]
async fn frames_before_the_open() {
    let bench = Bench::new().await;
    let mut stranger = bench.silent();
    stranger.raw(&AMQP_HEADER).await;
    stranger.begin(0).await;
    let ended = stranger.all().await;
    assert_eq!(ended.last().map(String::as_str), Some("closed"), "{ended:?}");
    assert!(
        ended.iter().any(|line| line == "close amqp:not-allowed"),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_open_and_channels_in_use_or_too_high() {
    let open = Performative::Open(Open {
        hostname: Some(HOST.to_owned()),
        ..Open::default()
    });
    let begin = Performative::Begin(Begin::default());
    for (channel, performative, condition) in [
        (0, &open, "amqp:not-allowed"),
        (0, &begin, "amqp:not-allowed"),
        (u16::MAX, &begin, "amqp:connection:framing-error"),
    ] {
        let bench = Bench::new().await;
        let mut client = sending(&bench).await;
        client.say(channel, performative).await;
        assert_eq!(client.line().await, format!("close {condition}"), "{channel}");
        assert_eq!(bench.endings("d").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn handles_in_use_or_too_high() {
    for handle in [0, u32::MAX] {
        let bench = Bench::new().await;
        let mut client = sending(&bench).await;
        client.attach(0, Role::Sender, "another", handle, EVENTS).await;
        assert_eq!(client.line().await, "end amqp:session:handle-in-use");
        // The session went with its links, the connection stays.
        client.begin(5).await;
        client.attach(5, Role::Sender, "again", 0, "$cbs").await;
        assert_eq!(client.line().await, "attached 5/0");
    }
}

#[tokio::test(start_paused = true)]
async fn handles_that_are_not_attached() {
    let bench = Bench::new().await;
    let mut client = sending(&bench).await;
    client.send(0, 7, true, &[&data(b"x")]).await;
    assert_eq!(client.line().await, "end amqp:session:unattached-handle");
    for what in ["flow", "detach"] {
        let mut client = sending(&bench).await;
        match what {
            "flow" => client.grant(0, 7, 1).await,
            _ => client.detach(0, 7).await,
        }
        let lines = client.all().await;
        assert!(
            lines
                .iter()
                .any(|line| line == "end amqp:session:unattached-handle"),
            "{what}: {lines:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_our_detach_is_thrown_away() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    client
        .attach(0, Role::Sender, "t", 3, "/devices/x/messages/events")
        .await;
    assert_eq!(client.line().await, "refused 0/3");
    assert_eq!(client.line().await, "detached 0/3 amqp:not-found");
    client.send(0, 3, false, &[&data(b"x"), &data(b"y")]).await;
    client.detach(0, 3).await;
    client.attach(0, Role::Sender, "t", 3, EVENTS).await;
    assert_eq!(client.line().await, "attached 0/3");
    assert!(sends(&mut client, 3).await);
}

#[tokio::test(start_paused = true)]
async fn more_than_the_credit_of_the_link() {
    let bench = Bench::appending_for(Duration::from_secs(30)).await;
    let mut client = sending(&bench).await;
    let message = data(b"x");
    let messages = vec![message.as_slice(); 1_001];
    for _ in 0..3 {
        client.send(0, 0, false, &messages).await;
    }
    assert_eq!(
        client.line().await,
        "detached 0/0 amqp:link:transfer-limit-exceeded"
    );
    client.attach(0, Role::Sender, "again", 1, EVENTS).await;
    assert_eq!(client.line().await, "attached 0/1");
}

#[tokio::test(start_paused = true)]
async fn transfers_that_name_no_message_or_change_their_mind() {
    let named = |id, tag: Option<Vec<u8>>| Transfer {
        delivery_id: id,
        delivery_tag: tag,
        ..transfer(0)
    };
    let begun = Transfer {
        more: true,
        ..named(Some(1), Some(vec![1]))
    };
    let changed = Transfer {
        message_format: Some(7),
        ..transfer(0)
    };
    for transfers in [
        vec![named(None, Some(vec![1]))],
        vec![named(Some(1), None)],
        vec![named(Some(1), Some(vec![0; 33]))],
        vec![begun, changed],
    ] {
        let bench = Bench::new().await;
        let mut client = sending(&bench).await;
        for transfer in &transfers {
            client
                .say_with(0, &Performative::Transfer(transfer.clone()), &data(b"x"))
                .await;
        }
        assert_eq!(
            client.line().await,
            "detached 0/0 amqp:invalid-field",
            "{transfers:?}"
        );
        assert_eq!(client.put_token("e", 3_600).await, 200, "the connection stays");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_size_of_the_link() {
    let bench = Bench::new().await;
    let mut client = sending(&bench).await;
    client
        .send_in_frames(0, 0, &data(&vec![0; 1_200_000]), 60_000)
        .await;
    assert_eq!(
        client.line().await,
        "detached 0/0 amqp:link:message-size-exceeded"
    );
    client.attach(0, Role::Sender, "again", 1, EVENTS).await;
    assert_eq!(client.line().await, "attached 0/1");
    assert!(sends(&mut client, 1).await);
}

#[tokio::test(start_paused = true)]
async fn messages_whose_sections_cannot_be_read() {
    let bench = Bench::new().await;
    let mut client = sending(&bench).await;
    for message in [
        [0x00, 0x53, 0x75, 0xa0, 0x20, 1].as_slice(),
        &[0xff],
        &[0x00, 0x53, 0x74, 0xd1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2],
    ] {
        let id = client.send(0, 0, false, &[message]).await;
        assert_eq!(
            client.line().await,
            format!("{id}-{id} rejected amqp:decode-error")
        );
    }
    assert!(sends(&mut client, 0).await);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_name_nothing() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    for (handle, address) in [
        "/nothing",
        "/devices//messages/events",
        "/devices/a b/twin",
        "/devices/d/nothing",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let handle = u32::try_from(handle).unwrap();
        client
            .attach(0, Role::Sender, &format!("l{handle}"), handle, address)
            .await;
        assert_eq!(client.line().await, format!("refused 0/{handle}"), "{address}");
        assert_eq!(
            client.line().await,
            format!("detached 0/{handle} amqp:not-found"),
            "{address}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn links_without_a_grant_and_in_the_wrong_direction() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    for (handle, role, address, condition) in [
        (
            0,
            Role::Sender,
            "/devices/e/messages/events",
            "amqp:unauthorized-access",
        ),
        (1, Role::Receiver, EVENTS, "amqp:not-allowed"),
        (
            2,
            Role::Sender,
            "/devices/d/messages/devicebound",
            "amqp:not-allowed",
        ),
    ] {
        client
            .attach(0, role, &format!("l{handle}"), handle, address)
            .await;
        assert_eq!(client.line().await, format!("refused 0/{handle}"), "{address}");
        assert_eq!(client.line().await, format!("detached 0/{handle} {condition}"));
    }
}

#[tokio::test(start_paused = true)]
async fn links_to_nowhere_and_to_what_is_not_offered() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    let mut dynamic = Source::default();
    dynamic.dynamic = true;
    for (handle, role, source, target) in [
        (0, Role::Sender, Some(Source::default()), None),
        (1, Role::Receiver, None, Some(Target::default())),
        (2, Role::Receiver, Some(dynamic), Some(Target::default())),
    ] {
        let attach = Attach {
            name: format!("l{handle}"),
            handle,
            role,
            snd_settle_mode: SenderSettleMode::Mixed,
            rcv_settle_mode: ReceiverSettleMode::First,
            source,
            target,
            incomplete_unsettled: false,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            max_message_size: None,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: None,
        };
        client.say(0, &Performative::Attach(attach)).await;
        let lines = [client.line().await, client.line().await];
        assert_eq!(
            lines[1],
            format!("detached 0/{handle} amqp:not-implemented"),
            "{lines:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_tokens_that_lack_something() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&[]).await;
    for left_out in ["operation", "type", "name"] {
        assert_eq!(client.put_without("x", "y", left_out).await, 400, "{left_out}");
    }
    assert_eq!(client.put_token("d", 3_600).await, 200);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_message_is_nothing_and_its_credit_comes_back() {
    let bench = Bench::new().await;
    let mut client = sending(&bench).await;
    for id in 0..3_000 {
        let begun = Transfer {
            delivery_id: Some(id + 1),
            delivery_tag: Some(vec![1]),
            more: true,
            ..transfer(0)
        };
        let aborted = Transfer {
            aborted: true,
            ..transfer(0)
        };
        client.say_with(0, &Performative::Transfer(begun), b"half").await;
        client.say(0, &Performative::Transfer(aborted)).await;
        tokio::task::yield_now().await;
    }
    client.skip_deliveries(3_000);
    assert!(sends(&mut client, 0).await);
    assert!(bench.endings("d").is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_beyond_our_time_out() {
    let bench = Bench::new().await;
    let mut client = sending(&bench).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    let lines = client.all().await;
    assert!(
        lines.iter().any(|line| line == "close amqp:connection:forced"),
        "{lines:?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("closed"));
    assert_eq!(bench.endings("d").len(), 1);
}
