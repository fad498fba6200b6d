//! Telemetry: settled when it is durable, in ranges, and not waited for by what follows.

use std::time::Duration;

use amqp::message::write_data;
use amqp::performative::Role;
use tokio::time::{Instant, sleep};

use super::client::Bench;

fn plain(bytes: usize) -> Vec<u8> {
    let mut message = Vec::new();
    write_data(&mut message, &vec![b'x'; bytes]);
    message
}

#[tokio::test(start_paused = true)]
async fn what_one_read_brings_is_settled_together_when_it_is_durable() {
    let bench = Bench::appending_for(Duration::from_secs(5)).await;
    let mut client = bench.connect(&["d"]).await;
    client
        .attach(0, Role::Sender, "t", 0, "/devices/d/messages/events")
        .await;
    assert_eq!(client.line().await, "attached 0/0");
    let (start, message) = (Instant::now(), plain(3));
    let first = client.send(0, 0, false, &[&message, &message, &message]).await;
    sleep(Duration::from_secs(1)).await;
    let second = client.send(0, 0, false, &[&message]).await;
    assert_eq!(client.line().await, format!("{first}-{} accepted", first + 2));
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(client.line().await, format!("{second}-{second} accepted"));
    assert_eq!(
        start.elapsed().as_secs(),
        6,
        "the second did not wait for the first"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_rejected_and_the_link_stays() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    client
        .attach(0, Role::Sender, "t", 0, "/devices/d/messages/events")
        .await;
    client.all().await;
    let (good, large) = (plain(1), plain(262_145));
    let mut ids = Vec::new();
    // The whole of a large message is more than a frame, so it comes in pieces.
    ids.push(client.send_in_frames(0, 0, &large, 60_000).await);
    ids.push(client.send(0, 0, false, &[&[0, 0x53, 0x75, 0xa0, 9]]).await);
    ids.push(client.send(0, 0, false, &[&good]).await);
    let mut lines = client.all().await;
    lines.sort();
    let mut expected = vec![
        format!("{0}-{0} rejected amqp:link:message-size-exceeded", ids[0]),
        format!("{0}-{0} rejected amqp:decode-error", ids[1]),
        format!("{0}-{0} accepted", ids[2]),
    ];
    expected.sort();
    assert_eq!(lines, expected);
}

#[tokio::test(start_paused = true)]
async fn settled_messages_are_stored_without_a_word_and_give_their_credit_back() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    client
        .attach(0, Role::Sender, "t", 0, "/devices/d/messages/events")
        .await;
    client.all().await;
    let message = plain(1);
    for _ in 0..30 {
        let many = [message.as_slice(); 100];
        client.send(0, 0, true, &many).await;
        assert_eq!(client.all().await, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_violation_is_stored_and_the_peer_is_told_at_once() {
    let bench = Bench::appending_for(Duration::from_secs(2)).await;
    let mut client = bench.connect(&["d"]).await;
    client
        .attach(0, Role::Sender, "t", 0, "/devices/d/messages/events")
        .await;
    client.all().await;
    let start = Instant::now();
    client.send_and_break(0, 0, &plain(1)).await;
    assert_eq!(client.line().await, "close amqp:connection:framing-error");
    assert_eq!(start.elapsed().as_secs(), 0);
    assert_eq!(client.line().await, "closed");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(bench.endings("d"), ["frame_malformed"]);
}
