//! Several devices on one connection: who comes in, who is sent away, and who is not disturbed by that.

use std::time::Duration;

use amqp::message::write_data;
use amqp::performative::{Role, SenderSettleMode};
use amqp::value::Value;
use hub::bus::{Address, Mail};
use hub::identity::IfMatch;
use hub::tenancy::HubName;
use tokio::time::sleep;

use super::client::{Bench, Client, identity};

fn address(device: &str) -> Address {
    Address {
        hub: HubName::parse("hub1").unwrap(),
        identity: identity(device),
    }
}

/// Both devices on one connection, each in a session of its own and with the same link name, as one client has it.
async fn two(bench: &Bench, secs: i64) -> Client {
    let mut client = bench.connect_until(&["d", "e"], secs, 65_536).await;
    for (channel, device) in [(1, "d"), (2, "e")] {
        client.begin(channel).await;
        let node = format!("/devices/{device}/messages/events");
        client
            .attach(channel, Role::Sender, "TelemetrySenderLink", 0, &node)
            .await;
        assert_eq!(client.line().await, format!("attached {channel}/0"));
    }
    client
}

async fn sends(client: &mut Client, channel: u16) -> bool {
    let mut message = Vec::new();
    write_data(&mut message, b"x");
    let id = client.send(channel, 0, false, &[&message]).await;
    client.line().await == format!("{id}-{id} accepted")
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_takes_one_device_and_leaves_the_other() {
    let bench = Bench::new().await;
    let mut client = two(&bench, 86_400).await;
    let mut newer = bench.connect(&["d"]).await;
    newer
        .attach(0, Role::Sender, "t", 0, "/devices/d/messages/events")
        .await;
    assert_eq!(newer.line().await, "attached 0/0");
    assert_eq!(client.line().await, "detached 1/0 amqp:link:stolen");
    assert!(sends(&mut client, 2).await && sends(&mut newer, 0).await);
    assert_eq!(bench.endings("d"), ["displaced"]);
    assert!(bench.endings("e").is_empty());
    // Back again, on the connection that has its token still.
    client
        .attach(1, Role::Sender, "again", 5, "/devices/d/messages/events")
        .await;
    assert_eq!(client.line().await, "attached 1/5");
    assert_eq!(newer.line().await, "detached 0/0 amqp:link:stolen");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_device_is_sent_away_and_a_disabled_one_not_let_in() {
    let bench = Bench::new().await;
    let mut client = two(&bench, 86_400).await;
    let right = bench.service();
    let id = identity("d").device;
    bench
        .app
        .registry
        .delete(&right, &id, &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(client.line().await, "detached 1/0 amqp:not-found");
    assert!(sends(&mut client, 2).await);
    assert!(!bench.app.bus.send(&address("d"), Mail::Recheck));
    client
        .attach(1, Role::Receiver, "c", 9, "/devices/d/messages/devicebound")
        .await;
    assert_eq!(client.line().await, "refused 1/9");
    assert_eq!(client.line().await, "detached 1/9 amqp:not-found");
}

#[tokio::test(start_paused = true)]
async fn links_of_devices_without_a_token_are_refused() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    for (handle, node, condition) in [
        (0, "/devices/e/messages/events", "amqp:unauthorized-access"),
        (1, "/devices/d/modules/m/messages/events", "amqp:not-found"),
        (2, "/devices/d/messages/devicebound", "amqp:not-allowed"),
        (3, "/devices/x/twin", "amqp:not-found"),
        (4, "/messages/devicebound", "amqp:unauthorized-access"),
    ] {
        client
            .attach(0, Role::Sender, &format!("l{handle}"), handle, node)
            .await;
        assert_eq!(client.line().await, format!("refused 0/{handle}"));
        assert_eq!(client.line().await, format!("detached 0/{handle} {condition}"));
    }
    client
        .attach(0, Role::Sender, "f", 7, "/messages/serviceBound/feedback")
        .await;
    assert_eq!(client.line().await, "attached 0/7");
    let id = client.send(0, 7, false, &[&[0, 0x53, 0x75, 0xa0, 0]]).await;
    assert_eq!(client.line().await, format!("{id}-{id} accepted"));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_end_take_their_device_along_and_renewed_ones_do_not() {
    let bench = Bench::new().await;
    let mut client = two(&bench, 60).await;
    assert_eq!(client.put_token("e", 86_400).await, 200);
    client.all().await;
    // A minute, and the ten that open connections are given.
    for _ in 0..3 {
        sleep(Duration::from_secs(200)).await;
        assert!(sends(&mut client, 1).await);
    }
    assert_eq!(client.line().await, "detached 1/0 amqp:unauthorized-access");
    assert!(sends(&mut client, 2).await);
    assert_eq!(bench.endings("d"), ["token_expired"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_token_takes_the_connection_along() {
    let bench = Bench::new().await;
    let mut client = bench.connect_until(&["d"], 60, 65_536).await;
    client
        .attach(0, Role::Sender, "t", 0, "/devices/d/messages/events")
        .await;
    client.all().await;
    for _ in 0..3 {
        sleep(Duration::from_secs(200)).await;
        assert!(sends(&mut client, 0).await);
    }
    assert_eq!(client.line().await, "detached 0/0 amqp:unauthorized-access");
    assert_eq!(client.line().await, "close amqp:unauthorized-access");
}

#[tokio::test(start_paused = true)]
async fn the_last_link_takes_the_device_along() {
    let bench = Bench::new().await;
    let mut client = two(&bench, 86_400).await;
    assert!(bench.app.bus.is_held(&address("d")));
    client.detach(1, 0).await;
    assert_eq!(client.line().await, "detached 1/0 -");
    assert!(!bench.app.bus.is_held(&address("d")));
    assert!(bench.app.bus.is_held(&address("e")));
    assert_eq!(bench.endings("d"), ["disconnected"]);
    drop(client);
    sleep(Duration::from_secs(1)).await;
    assert!(!bench.app.bus.is_held(&address("e")));
    assert_eq!(bench.endings("e"), ["peer_closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_link_of_a_kind_takes_the_place_of_the_older() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    for (handle, name) in [(0, "one"), (1, "two")] {
        client
            .attach(0, Role::Receiver, name, handle, "/devices/d/messages/devicebound")
            .await;
    }
    assert_eq!(
        client.all().await,
        ["attached 0/0", "attached 0/1", "detached 0/0 amqp:link:stolen"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_announced_is_in_the_twin() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    let model = Value::Map(vec![(
        Value::Symbol("com.microsoft:model-id".to_owned()),
        Value::String("dtmi:a;1".to_owned()),
    )]);
    let node = "/devices/d/messages/events";
    client
        .attach_as(
            0,
            Role::Sender,
            "t",
            0,
            node,
            SenderSettleMode::Mixed,
            Some(model),
        )
        .await;
    assert_eq!(client.line().await, "attached 0/0");
    let right = bench.service();
    let view = bench.app.twins.get(&right, &identity("d")).await.unwrap();
    assert_eq!(view.twin.model_id(), Some("dtmi:a;1"));
}
