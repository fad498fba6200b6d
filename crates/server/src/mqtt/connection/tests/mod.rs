//! A device and the server in one process and in virtual time: nothing waits, and every deadline is exact.

mod commands;
mod device;
mod methods;
mod twins;

use std::time::Duration;

use hub::bus::{Address, Mail};
use hub::tenancy::HubName;
use tokio::time::{Instant, sleep};

use self::device::{Bench, identity};
use crate::doubles;

pub(super) fn address() -> Address {
    Address {
        hub: HubName::parse("hub1").unwrap(),
        identity: identity(),
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_after_one_and_a_half_keep_alives() {
    let bench = Bench::new().await;
    let mut device = bench.connect(true).await;
    assert_eq!(device.next().await, "CONNACK false 0");
    sleep(Duration::from_secs(50)).await;
    device.send(&mqtt::packet::Packet::PingReq).await;
    assert_eq!(device.next().await, "PingResp");
    let start = Instant::now();
    assert_eq!(device.next().await, "closed");
    assert_eq!(start.elapsed().as_secs(), 90);
    assert_eq!(bench.endings(), ["keep_alive"]);
}

#[tokio::test(start_paused = true)]
async fn a_recheck_reaches_a_connection_in_conversation() {
    let bench = Bench::new().await;
    let mut device = bench.connect(true).await;
    device.next().await;
    device
        .subscribe("$iothub/methods/POST/#", mqtt::packet::QoS::AtMostOnce)
        .await;
    let call = bench.call(30, 0);
    device.next().await;
    let right = doubles::hub_of(&bench.app).gate().authorize_operator();
    let id = identity().device;
    let any = hub::identity::IfMatch::Any;
    bench.app.registry.delete(&right, &id, &any).await.unwrap();
    assert_eq!(device.next().await, "closed");
    assert_eq!(call.await.unwrap(), Err("DeviceConnectionClosedRemotely"));
    assert!(!bench.app.bus.send(&address(), Mail::Recheck));
}

#[tokio::test(start_paused = true)]
async fn a_connection_falls_within_a_second_when_its_key_is_replaced() {
    use hub::identity::KeyRotation;
    let bench = Bench::new().await;
    let mut device = bench.connect(true).await;
    assert_eq!(device.next().await, "CONNACK false 0");
    let rotate = async |rotation| {
        let right = doubles::hub_of(&bench.app).gate().authorize_operator();
        let rotated = bench
            .app
            .registry
            .rotate_keys(&right, &identity(), rotation)
            .await;
        rotated.unwrap();
    };
    // Both keys of the device are the same one: it still has the other.
    rotate(KeyRotation::Secondary).await;
    device.send(&mqtt::packet::Packet::PingReq).await;
    assert_eq!(device.all().await, ["PingResp"]);
    let start = Instant::now();
    rotate(KeyRotation::Primary).await;
    assert_eq!(device.next().await, "closed");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(bench.endings(), ["key_replaced"]);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_costs_nothing_when_it_is_over() {
    assert!(
        size_of::<super::Connection>() <= 1_024,
        "{}",
        size_of::<super::Connection>()
    );
    assert_eq!(size_of::<Option<Box<super::Conversation>>>(), size_of::<usize>());
}
