//! Requests for the twin, and changes of desired properties.

use std::time::Duration;

use hub::bus::Mail;
use mqtt::packet::QoS;
use tokio::time::sleep;

use super::address;
use super::device::Bench;

fn desired(version: u64) -> Mail {
    Mail::Desired {
        version,
        document: format!("{{\"$version\":{version}}}").into(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_with_its_puback_and_all_pubacks_in_order() {
    let bench = Bench::appending_for(Duration::from_secs(3)).await;
    let mut device = bench.connect(true).await;
    device.next().await;
    device.subscribe("$iothub/twin/res/#", QoS::AtLeastOnce).await;
    device.publish(1, "devices/d/messages/events/", b"a").await;
    device.publish(2, "$iothub/twin/GET/?$rid=a%20b&x=y", b" ").await;
    device.publish(3, "devices/d/messages/events/", b"b").await;
    device
        .publish(
            0,
            "$iothub/twin/PATCH/properties/reported/?$rid=7&$version=x",
            b"{}",
        )
        .await;
    device.publish(4, "$iothub/methods/res/200/?$rid=77", b"").await;
    assert_eq!(device.next().await, "PUBACK 1");
    assert_eq!(device.next().await, "PUBACK 2");
    let answer = device.next().await;
    assert!(
        answer.starts_with("0 $iothub/twin/res/") && answer.contains("/?$rid=a%20b "),
        "{answer}"
    );
    assert_eq!(device.next().await, "PUBACK 3");
    let answer = device.next().await;
    assert!(
        answer.starts_with("0 $iothub/twin/res/400/?$rid=7 {\"errorCode\":400004,\"trackingId\":\""),
        "{answer}"
    );
    assert_eq!(device.next().await, "PUBACK 4");
}

#[tokio::test(start_paused = true)]
async fn without_a_subscription_there_is_no_answer() {
    let bench = Bench::new().await;
    let mut device = bench.connect(true).await;
    device.next().await;
    device.publish(1, "$iothub/twin/GET/?$rid=1", b"").await;
    device.publish(0, "$iothub/twin/GET/?$rid=2", b"").await;
    assert_eq!(device.all().await, ["PUBACK 1"]);
    device.publish(1, "$iothub/twin/GET/?rid=1", b"").await;
    assert_eq!(device.next().await, "closed");
    assert_eq!(bench.endings(), ["no_request_id"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_api_version_there_is_telemetry_and_no_twin() {
    let bench = Bench::new().await;
    let mut device = bench.connect_as("d", true, 1 << 20).await;
    assert_eq!(device.next().await, "CONNACK false 0");
    device.subscribe("$iothub/twin/res/#", QoS::AtLeastOnce).await;
    device.publish(1, "devices/d/messages/events/", b"a").await;
    assert_eq!(device.next().await, "PUBACK 1");
    for request in ["GET", "PATCH/properties/reported"] {
        let topic = format!("$iothub/twin/{request}/?$rid=1");
        device.publish(2, &topic, b"{\"a\":1}").await;
        assert_eq!(device.next().await, "PUBACK 2");
        let answer = device.next().await;
        assert!(
            answer.starts_with("0 $iothub/twin/res/400/?$rid=1 {\"errorCode\":400001,"),
            "{answer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn desired_properties_come_in_order_to_those_who_subscribed() {
    let bench = Bench::new().await;
    let mut device = bench.connect(false).await;
    device.next().await;
    bench.app.bus.send(&address(), desired(1));
    assert_eq!(device.all().await, <[&str; 0]>::default());
    device
        .subscribe("$iothub/twin/PATCH/properties/desired/#", QoS::AtLeastOnce)
        .await;
    for version in 2..5 {
        bench.app.bus.send(&address(), desired(version));
    }
    let topic = "0 $iothub/twin/PATCH/properties/desired/?$version=";
    let expected: Vec<String> = (2..5)
        .map(|version| format!("{topic}{version} {{\"$version\":{version}}}"))
        .collect();
    assert_eq!(device.all().await, expected);
    // The subscription is found again.
    drop(device);
    sleep(Duration::from_secs(1)).await;
    let mut device = bench.connect(false).await;
    assert_eq!(device.next().await, "CONNACK true 0");
    bench.app.bus.send(&address(), desired(9));
    assert_eq!(device.next().await, format!("{topic}9 {{\"$version\":9}}"));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_read_its_desired_properties_is_let_go() {
    let bench = Bench::new().await;
    let mut device = bench.connect_through(true, 1_024).await;
    device.next().await;
    device
        .subscribe("$iothub/twin/PATCH/properties/desired/#", QoS::AtLeastOnce)
        .await;
    for version in 0..40 {
        let document = vec![b'x'; 32_768].into();
        bench
            .app
            .bus
            .send(&address(), Mail::Desired { version, document });
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.endings(), ["mail_overflow"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_reads_slowly_gets_everything() {
    let bench = Bench::new().await;
    let mut device = bench.connect_through(true, 1_024).await;
    device.next().await;
    device
        .subscribe("$iothub/twin/PATCH/properties/desired/#", QoS::AtLeastOnce)
        .await;
    for version in 0..30 {
        let document = vec![b'x'; 32_768].into();
        bench
            .app
            .bus
            .send(&address(), Mail::Desired { version, document });
        sleep(Duration::from_millis(1)).await;
    }
    let all = device.all().await;
    assert_eq!(all.len(), 30);
    for (version, packet) in all.iter().enumerate() {
        assert!(packet.contains(&format!("$version={version} x")));
    }
}
