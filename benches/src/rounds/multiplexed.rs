//! Memory of devices that share a few AMQP connections, each with a token, a session and links of its own.

use std::ops::Range;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::idle::SETTLE;
use super::joined;
use crate::amqp_client::{self, AmqpClient};
use crate::client;
use crate::devices;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::report::Report;
use crate::subject::{Ironhub, NAME};

/// Devices that come first over AMQP and are not counted: they touch the code and open the buffers that a server needs for it at all.
const WARM_UP: u16 = 50;

/// Devices that are attached at a time, and weighed.
const STEP: u16 = 1_000;

/// All of them.
const DEVICES: u16 = WARM_UP + 2 * STEP;

/// Others, which are connected once before.
const OTHERS: u16 = 1_000;

/// Devices that are registered.
pub(crate) const REGISTERED: u16 = DEVICES + OTHERS;

/// Connections that they share.
const CONNECTIONS: u16 = 4;

const TELEMETRY: u32 = 0;
const COMMANDS: u32 = 1;

/// Commands that a device takes at a time.
const COMMANDS_CREDIT: u32 = 10;

/// Attaches devices to a server that has seen others, and weighs it after each step; then all of them take commands as well. A device
/// is counted in memory of the server's own. What became resident in all is told beside it: there the program's code, its caches and
/// the buffers that are there once are laid on the first devices.
pub(crate) async fn measure(hub: &Arc<Ironhub>, report: &mut Report) -> Result<(), Failure> {
    let fresh = weigh(hub).await?;
    see_others(hub).await?;
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
    let clients = attach_telemetry(hub, clients, 0..WARM_UP).await?;
    let warm = weigh(hub).await?;
    let clients = attach_telemetry(hub, clients, WARM_UP..WARM_UP + STEP).await?;
    let first = weigh(hub).await?;
    let clients = attach_telemetry(hub, clients, WARM_UP + STEP..DEVICES).await?;
    let next = weigh(hub).await?;
    let _clients = attach_commands(clients).await?;
    let last = weigh(hub).await?;
    let own = |after: Weight, before: Weight, devices: u16| each(after.anonymous, before.anonymous, devices);
    report.record(NAME, Metric::MultiplexedFirstKib, own(first, warm, STEP));
    report.record(NAME, Metric::MultiplexedKib, own(next, first, STEP));
    report.record(NAME, Metric::MultiplexedCommandsKib, own(last, next, DEVICES));
    let since_start = each(first.resident, fresh.resident, WARM_UP + STEP);
    report.record(NAME, Metric::MultiplexedSinceStartKib, since_start);
    Ok(())
}

/// Connects other devices once over MQTT, one after the other, so that no more than one is there at a time: the bounded caches of the
/// store are full afterwards, as they are in a server that runs. What is kept of a device that was seen is counted all the same, since
/// the devices that are weighed are not among these.
async fn see_others(hub: &Ironhub) -> Result<(), Failure> {
    for device in usize::from(DEVICES)..usize::from(REGISTERED) {
        let client = client::connect(hub.running.endpoint(), device)
            .await
            .map_err(refused)?;
        client::disconnect(client).await.map_err(refused)?;
    }
    Ok(())
}

/// What a server weighs, in bytes.
#[derive(Clone, Copy)]
struct Weight {
    anonymous: u64,
    resident: u64,
}

async fn weigh(hub: &Ironhub) -> Result<Weight, Failure> {
    tokio::time::sleep(SETTLE).await;
    let process = hub.running.process();
    Ok(Weight {
        anonymous: process.anonymous_bytes()?,
        resident: process.resident_bytes()?,
    })
}

/// The growth for each of so many devices, in KiB.
fn each(after: u64, before: u64, devices: u16) -> f64 {
    after.saturating_sub(before) as f64 / f64::from(devices) / 1_024.0
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
