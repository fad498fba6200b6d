//! Direct methods from the caller to the device and back.

use std::time::Duration;

use hub::limits::Limit;
use mqtt::packet::QoS;
use tokio::time::{Instant, sleep};

use super::device::{Bench, Device};

const ALL: &str = "$iothub/methods/POST/#";

async fn listening(bench: &Bench) -> Device {
    let mut device = bench.connect(true).await;
    device.next().await;
    device.subscribe(ALL, QoS::AtLeastOnce).await;
    device
}

fn request(id: u32) -> String {
    format!("0 $iothub/methods/POST/m/?$rid={id} [1.0]")
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_callers_in_any_order() {
    let bench = Bench::new().await;
    let mut device = listening(&bench).await;
    let (first, second) = (bench.call(30, 0), bench.call(30, 0));
    let asked = device.all().await;
    assert_eq!(asked, [request(1), request(2)]);
    device
        .publish(5, "$iothub/methods/res/-4/?$rid=2", b" {\"a\":1.0}")
        .await;
    device.publish(0, "$iothub/methods/res/200/?$rid=1", b"").await;
    assert_eq!(device.next().await, "PUBACK 5");
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!((first.status, &first.payload[..]), (200, &b"null"[..]));
    assert_eq!((second.status, &second.payload[..]), (-4, &b"{\"a\":1.0}"[..]));
}

#[tokio::test(start_paused = true)]
async fn only_a_subscribed_device_is_called() {
    let bench = Bench::new().await;
    assert_eq!(bench.call(30, 0).await.unwrap(), Err("DeviceNotOnline"));
    let mut device = bench.connect(true).await;
    device.next().await;
    assert_eq!(bench.call(30, 0).await.unwrap(), Err("DeviceNotOnline"));
    device
        .subscribe("$iothub/methods/POST/other/#", QoS::AtMostOnce)
        .await;
    drop(bench.call(30, 0));
    assert_eq!(
        device.next().await,
        request(1),
        "one method counts as all of them"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_meets_no_later_call() {
    let bench = Bench::new().await;
    let mut device = listening(&bench).await;
    let start = Instant::now();
    let call = bench.call(5, 0);
    assert_eq!(device.next().await, request(1));
    assert_eq!(call.await.unwrap(), Err("GatewayTimeout"));
    assert_eq!(start.elapsed().as_secs(), 5);
    // The conversation is over by then.
    sleep(Duration::from_secs(20)).await;
    let call = bench.call(5, 0);
    assert_eq!(device.next().await, request(2));
    device.publish(1, "$iothub/methods/res/200/?$rid=1", b"1").await;
    device.publish(2, "$iothub/methods/res/201/?$rid=2", b"2").await;
    device.publish(3, "$iothub/methods/res/202/?$rid=2", b"3").await;
    assert_eq!(call.await.unwrap().unwrap().status, 201);
    assert_eq!(device.all().await, ["PUBACK 1", "PUBACK 2", "PUBACK 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_json_is_the_devices_fault() {
    let bench = Bench::new().await;
    let mut device = listening(&bench).await;
    let call = bench.call(30, 0);
    device.next().await;
    device.publish(0, "$iothub/methods/res/200/?$rid=1", b"OK").await;
    assert_eq!(call.await.unwrap(), Err("GenericBadGateway"));
    let call = bench.call(30, 0);
    device.next().await;
    let large = vec![b'1'; 131_073];
    device.publish(0, "$iothub/methods/res/200/?$rid=2", &large).await;
    assert_eq!(call.await.unwrap(), Err("GenericBadGateway"));
}

#[tokio::test(start_paused = true)]
async fn every_end_is_told_at_once() {
    let bench = Bench::new().await;
    let mut device = listening(&bench).await;
    let start = Instant::now();
    let call = bench.call(30, 0);
    device.next().await;
    let mut newer = bench.connect(true).await;
    assert_eq!(newer.next().await, "CONNACK false 0");
    assert_eq!(
        call.await.unwrap(),
        Err("ConnectionForcefullyClosedOnNewConnection")
    );
    assert_eq!(device.next().await, "closed");
    newer.subscribe(ALL, QoS::AtMostOnce).await;
    let call = bench.call(30, 0);
    newer.next().await;
    drop(newer);
    assert_eq!(call.await.unwrap(), Err("DeviceConnectionClosedRemotely"));
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_device_that_comes_back() {
    let bench = Bench::new().await;
    let mut device = bench.connect(false).await;
    device.next().await;
    device.subscribe(ALL, QoS::AtMostOnce).await;
    drop(device);
    sleep(Duration::from_secs(1)).await;
    let call = bench.call(30, 20);
    sleep(Duration::from_secs(10)).await;
    let mut device = bench.connect(false).await;
    assert_eq!(device.next().await, "CONNACK true 0");
    assert_eq!(
        device.next().await,
        request(1),
        "its subscription is in force at once"
    );
    device.publish(0, "$iothub/methods/res/200/?$rid=1", b"").await;
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_subscription() {
    let bench = Bench::new().await;
    let mut device = bench.connect(false).await;
    device.next().await;
    let call = bench.call(30, 20);
    sleep(Duration::from_secs(10)).await;
    device.subscribe(ALL, QoS::AtMostOnce).await;
    assert_eq!(device.next().await, request(1));
    device.publish(0, "$iothub/methods/res/200/?$rid=1", b"").await;
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_bounded_and_those_given_up_do_not_count() {
    let bench = Bench::new().await;
    bench.app.limits.set(Limit::MethodsInFlightPerDeviceMax, 2);
    let mut device = listening(&bench).await;
    let (first, second) = (bench.call(5, 0), bench.call(30, 0));
    device.next().await;
    device.next().await;
    assert_eq!(
        bench.call(30, 0).await.unwrap(),
        Err("DeviceMaximumInflightMethodExceeded")
    );
    assert_eq!(first.await.unwrap(), Err("GatewayTimeout"));
    let third = bench.call(30, 0);
    assert_eq!(device.next().await, request(3));
    drop(device);
    assert_eq!(second.await.unwrap(), Err("DeviceConnectionClosedRemotely"));
    assert_eq!(third.await.unwrap(), Err("DeviceConnectionClosedRemotely"));
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_large_calls_wait_for_a_slow_reader() {
    let bench = Bench::new().await;
    let mut device = bench.connect_through(true, 4_096).await;
    device.next().await;
    device.subscribe(ALL, QoS::AtMostOnce).await;
    let calls: Vec<_> = (0..900).map(|_| bench.call(30, 0)).collect();
    assert_eq!(device.all().await.len(), 900);
    for id in 1..=900 {
        let topic = format!("$iothub/methods/res/{id}/?$rid={id}");
        device.publish(0, &topic, b"").await;
    }
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}
