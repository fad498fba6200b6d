//! Addresses that the hub denies: at the open when all is closed to them, else link by link, and while they are connected. The
//! clients come from 192.0.2.1.

use std::time::Duration;

use amqp::performative::Role;
use hub::records::{Filter, Kind};
use tokio::time::sleep;

use super::client::{Bench, Client};
use crate::doubles::HOST;

const DEVICE_NODE: &str = "/devices/d/messages/events";
const READER_NODE: &str = "hub1/ConsumerGroups/$Default/Partitions/0";

fn denying(endpoints: &str) -> String {
    format!(
        r#"{{"rules":[{{"name":"bad","action":"deny","source":"192.0.2.0/24","endpoints":[{endpoints}]}}]}}"#
    )
}

/// A connection that holds every token and a link of each kind.
async fn of_all_kinds(bench: &Bench) -> Client {
    let mut client = bench.connect(&["d"]).await;
    assert_eq!(client.put(HOST, &bench.policy_token("service")).await, 200);
    for (handle, role, node) in [
        (0, Role::Sender, DEVICE_NODE),
        (1, Role::Receiver, "hub1/$management"),
        (2, Role::Sender, "/messages/devicebound"),
    ] {
        client.attach(0, role, &format!("l{handle}"), handle, node).await;
        assert_eq!(client.line().await, format!("attached 0/{handle}"));
    }
    client
}

#[tokio::test(start_paused = true)]
async fn each_link_is_judged_by_its_endpoint() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    assert_eq!(client.put(HOST, &bench.policy_token("service")).await, 200);
    for (endpoint, handle, denied) in [
        ("device", 3, DEVICE_NODE),
        ("service", 4, "/messages/devicebound"),
        ("reader", 5, READER_NODE),
    ] {
        bench.set_network(&denying(&format!("\"{endpoint}\""))).await;
        let role = if endpoint == "reader" {
            Role::Receiver
        } else {
            Role::Sender
        };
        client.attach(0, role, endpoint, handle, denied).await;
        assert_eq!(client.line().await, format!("refused 0/{handle}"), "{endpoint}");
        assert_eq!(
            client.line().await,
            format!("detached 0/{handle} amqp:unauthorized-access"),
            "{endpoint}"
        );
        let record = bench.app.records.recent(&Filter::default(), 1).remove(0);
        assert_eq!(
            (record.outcome.kind, record.outcome.reason),
            (Kind::Refused, "network_denied")
        );
        let found = record.outcome.found.clone().unwrap();
        assert_eq!(found, format!("192.0.2.1 at the {endpoint} endpoint"));
        assert!(
            record
                .outcome
                .expected
                .as_ref()
                .unwrap()
                .contains("the rule bad denies")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_change_ends_the_links_that_it_denies_within_a_second_and_no_others() {
    for (endpoint, handle) in [("device", 0), ("reader", 1), ("service", 2)] {
        let bench = Bench::new().await;
        let mut client = of_all_kinds(&bench).await;
        bench.set_network(&denying(&format!("\"{endpoint}\""))).await;
        sleep(Duration::from_millis(1_001)).await;
        assert_eq!(
            client.all().await,
            [format!("detached 0/{handle} amqp:unauthorized-access")],
            "{endpoint}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_may_use_nothing_is_closed_and_not_let_in_again() {
    let bench = Bench::new().await;
    let mut client = of_all_kinds(&bench).await;
    bench
        .set_network(r#"{"deniedByDefault":["device","service","reader"]}"#)
        .await;
    sleep(Duration::from_millis(1_001)).await;
    let said = client.all().await;
    assert!(
        said.iter().any(|line| line == "close amqp:unauthorized-access"),
        "{said:?}"
    );
    let mut stranger = bench.stranger(65_536).await;
    let said = stranger.all().await;
    assert!(
        said.iter().any(|line| line == "close amqp:unauthorized-access"),
        "{said:?}"
    );
    let record = bench.app.records.recent(&Filter::default(), 1).remove(0);
    assert_eq!(
        (record.outcome.kind, record.outcome.reason),
        (Kind::Refused, "network_denied")
    );
}
