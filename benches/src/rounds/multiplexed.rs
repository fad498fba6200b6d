//! Memory of devices that share a few AMQP connections, each with a token, a session and links of its own.

use std::ops::Range;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::idle::SETTLE;
use super::joined;
use crate::amqp_client::{self, AmqpClient};
use crate::devices;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::report::Report;
use crate::subject::{Ironhub, NAME};

/// Devices that are attached at a time.
const STEP: u16 = 1_000;

/// All of them.
pub(crate) const DEVICES: u16 = 2 * STEP;

/// Connections that they share.
const CONNECTIONS: u16 = 4;

const TELEMETRY: u32 = 0;
const COMMANDS: u32 = 1;

/// Commands that a device takes at a time.
const COMMANDS_CREDIT: u32 = 10;

/// Attaches devices to a fresh server and weighs it after each step: the first devices bring what a server needs for AMQP at all
/// (code, caches, buffers of its threads), the next ones only themselves. Then all take commands as well.
pub(crate) async fn measure(hub: &Arc<Ironhub>, report: &mut Report) -> Result<(), Failure> {
    let fresh = weigh(hub).await?;
    let mut connecting = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let hub = Arc::clone(hub);
        connecting.spawn(async move {
            let (endpoint, address) = (hub.running.endpoint(), hub.amqp_address);
            let client = AmqpClient::connect(endpoint, address, usize::from(connection)).await;
            client.map(|client| (connection, client)).map_err(refused)
        });
    }
    let clients = joined(connecting).await?;
    let clients = attach_telemetry(hub, clients, 0..STEP).await?;
    let first = weigh(hub).await?;
    let clients = attach_telemetry(hub, clients, STEP..DEVICES).await?;
    let next = weigh(hub).await?;
    let _clients = attach_commands(clients).await?;
    let last = weigh(hub).await?;
    let each = |after: u64, before: u64, devices: u16| {
        after.saturating_sub(before) as f64 / f64::from(devices) / 1_024.0
    };
    report.record(NAME, Metric::MultiplexedFirstKib, each(first, fresh, STEP));
    report.record(NAME, Metric::MultiplexedKib, each(next, first, DEVICES - STEP));
    report.record(NAME, Metric::MultiplexedCommandsKib, each(last, next, DEVICES));
    Ok(())
}

async fn weigh(hub: &Ironhub) -> Result<u64, Failure> {
    tokio::time::sleep(SETTLE).await;
    hub.running.process().resident_bytes()
}

/// Clients with the number of their connection.
type Clients = Vec<(u16, AmqpClient)>;

/// A token, a session and a link for each of these devices, on all connections at the same time.
async fn attach_telemetry(
    hub: &Arc<Ironhub>,
    clients: Clients,
    devices: Range<u16>,
) -> Result<Clients, Failure> {
    let mut attaching = JoinSet::new();
    for (connection, mut client) in clients {
        let (hub, devices) = (Arc::clone(hub), devices.clone());
        attaching.spawn(async move {
            for device in devices_of(connection, devices) {
                attach_one(&hub, &mut client, device).await.map_err(refused)?;
            }
            Ok((connection, client))
        });
    }
    joined(attaching).await
}

async fn attach_one(hub: &Ironhub, client: &mut AmqpClient, device: u16) -> Result<(), String> {
    let number = usize::from(device);
    let (audience, token) = hub.device_token(number);
    client.put_token(&audience, &token).await?;
    client.begin(channel_of(device)).await?;
    let attach = amqp_client::sender("telemetry", TELEMETRY, &devices::events_address(number));
    client.attach_sender(channel_of(device), attach).await.map(|_| ())
}

/// A link for commands on each session.
async fn attach_commands(clients: Clients) -> Result<Clients, Failure> {
    let mut attaching = JoinSet::new();
    for (connection, mut client) in clients {
        attaching.spawn(async move {
            for device in devices_of(connection, 0..DEVICES) {
                let address = devices::commands_address(usize::from(device));
                let attach = amqp_client::receiver("commands", COMMANDS, &address);
                let attached = client.attach_receiver(channel_of(device), attach).await;
                attached.map_err(refused)?;
                let credit = amqp_client::credit(COMMANDS, 0, COMMANDS_CREDIT);
                let written = client.write(channel_of(device), &credit, &[]).await;
                written.map_err(refused)?;
            }
            Ok((connection, client))
        });
    }
    joined(attaching).await
}

/// Those of some devices that are on a connection.
fn devices_of(connection: u16, devices: Range<u16>) -> impl Iterator<Item = u16> {
    devices.filter(move |device| device % CONNECTIONS == connection)
}

/// The channel of a device on its connection; tokens have the first one.
fn channel_of(device: u16) -> u16 {
    device / CONNECTIONS + 1
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::server(NAME, format!("a device is refused: {why}"))
}
