//! Commands from their queue to the device.

use std::time::Duration;

use hub::clock::Timestamp;
use hub::commands::Command;
use mqtt::packet::{Packet, QoS};
use tokio::time::{Instant, sleep};

use super::address;
use super::device::{Bench, Device, identity};
use super::doubles::START_SECS;

const FILTER: &str = "devices/d/messages/devicebound/#";

impl Bench {
    /// Sends a command that says `body`.
    async fn tell(&self, body: &'static str) {
        self.tell_until(body, None).await;
    }

    /// The same, to expire a number of seconds after the start.
    async fn tell_until(&self, body: &'static str, expires: Option<i64>) {
        let command = Command {
            to: "/devices/d".into(),
            expires: expires.map(|secs| Timestamp::from_secs(START_SECS + secs)),
            body: body.into(),
            ..Command::default()
        };
        let (right, to) = (self.service(), identity());
        self.app.commands.send(&right, &to, command).await.unwrap();
    }

    async fn depth(&self) -> u64 {
        self.app.commands.depth(&address()).await.unwrap()
    }

    async fn listening(&self, qos: QoS) -> Device {
        let mut device = self.connect(false).await;
        device.next().await;
        device.subscribe(FILTER, qos).await;
        device
    }
}

fn sent(packet: &str, body: &str) -> String {
    format!("{packet} devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd {body}")
}

#[tokio::test(start_paused = true)]
async fn what_waits_comes_in_order_and_a_puback_completes_it() {
    let bench = Bench::new().await;
    for body in ["a", "b", "c", "d", "e"] {
        bench.tell(body).await;
    }
    let mut device = bench.listening(QoS::AtLeastOnce).await;
    let all = device.all().await;
    let expected: Vec<String> = (1..)
        .zip(["a", "b", "c", "d", "e"])
        .map(|(id, body)| sent(&format!("{id}"), body))
        .collect();
    assert_eq!(all, expected);
    assert_eq!(bench.depth().await, 5);
    for id in [2, 1, 5] {
        device.puback(id).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.depth().await, 2);
    bench.tell("f").await;
    assert_eq!(device.next().await, sent("6", "f"));
}

#[tokio::test(start_paused = true)]
async fn with_qos_0_written_is_complete() {
    let bench = Bench::new().await;
    let mut device = bench.listening(QoS::AtMostOnce).await;
    for _ in 0..40 {
        bench.tell("a").await;
    }
    let all = device.all().await;
    assert_eq!(all.len(), 40);
    assert!(all.iter().all(|packet| *packet == sent("0", "a")));
    assert_eq!(bench.depth().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_restored_subscription_brings_commands_before_anything_else() {
    let bench = Bench::new().await;
    drop(bench.listening(QoS::AtLeastOnce).await);
    bench.tell("a").await;
    let mut device = bench.connect(false).await;
    assert_eq!(device.next().await, "CONNACK true 0");
    assert_eq!(device.next().await, sent("1", "a"));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_ends_brings_the_command_again_on_the_same_connection() {
    let bench = Bench::new().await;
    let mut device = bench.listening(QoS::AtLeastOnce).await;
    bench.tell("a").await;
    bench.tell("b").await;
    assert_eq!(device.all().await, [sent("1", "a"), sent("2", "b")]);
    device.puback(1).await;
    let start = Instant::now();
    while device.all().await.is_empty() {
        device.send(&Packet::PingReq).await;
        device.next().await;
        assert!(start.elapsed() < Duration::from_secs(70));
        if start.elapsed() >= Duration::from_secs(57) {
            break;
        }
    }
    assert_eq!(device.next().await, sent("2 DUP", "b"));
    assert_eq!(start.elapsed().as_secs(), 59, "a second went by before");
    device.puback(2).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.depth().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_expired_command_leaves_the_window() {
    let bench = Bench::new().await;
    let mut device = bench.listening(QoS::AtLeastOnce).await;
    for _ in 0..16 {
        bench.tell_until("old", Some(30)).await;
    }
    assert_eq!(device.all().await.len(), 16);
    bench.tell("new").await;
    assert_eq!(device.all().await, <[&str; 0]>::default(), "the window is full");
    sleep(Duration::from_secs(40)).await;
    device.send(&Packet::PingReq).await;
    device.next().await;
    assert_eq!(device.next().await, sent("17", "new"));
    assert_eq!(bench.depth().await, 1);
    // Too late for these, and no harm.
    for id in 1..=17 {
        device.puback(id).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.depth().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_gives_its_commands_back() {
    let bench = Bench::new().await;
    let mut device = bench.listening(QoS::AtLeastOnce).await;
    bench.tell("a").await;
    bench.tell("b").await;
    device.all().await;
    device.puback(1).await;
    drop(device);
    sleep(Duration::from_secs(1)).await;
    let mut device = bench.connect(false).await;
    device.next().await;
    assert_eq!(device.next().await, sent("1 DUP", "b"));
    // A newer connection is given it as well.
    let mut newer = bench.connect(false).await;
    newer.next().await;
    assert_eq!(newer.next().await, sent("1 DUP", "b"));
    newer.puback(1).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.depth().await, 0);
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_stops_the_flow() {
    let bench = Bench::new().await;
    let mut device = bench.listening(QoS::AtLeastOnce).await;
    let length = u8::try_from(FILTER.len()).unwrap();
    let mut unsubscribe = vec![0xa2, length + 4, 0, 7, 0, length];
    unsubscribe.extend_from_slice(FILTER.as_bytes());
    device.send_bytes(&unsubscribe).await;
    assert_eq!(device.next().await, "UnsubAck(7)");
    bench.tell("a").await;
    assert_eq!(device.all().await, <[&str; 0]>::default());
    assert_eq!(bench.depth().await, 1);
}
