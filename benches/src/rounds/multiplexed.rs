//! Memory of devices that share a few AMQP connections, each with a token, a session and links of its own.

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

/// Devices.
pub(crate) const DEVICES: u16 = 1_000;

/// Connections that they share.
const CONNECTIONS: u16 = 4;

const TELEMETRY: u32 = 0;
const COMMANDS: u32 = 1;

/// Commands that a device takes at a time.
const COMMANDS_CREDIT: u32 = 10;

/// Attaches all devices to a fresh server and weighs it before and after: with telemetry alone, then with commands as well.
pub(crate) async fn measure(hub: &Arc<Ironhub>, report: &mut Report) -> Result<(), Failure> {
    let before = hub.running.process().resident_bytes()?;
    let weigh = || async {
        tokio::time::sleep(SETTLE).await;
        let after = hub.running.process().resident_bytes()?;
        Ok::<_, Failure>(after.saturating_sub(before) as f64 / f64::from(DEVICES) / 1_024.0)
    };
    let mut attaching = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let hub = Arc::clone(hub);
        attaching.spawn(async move { attach_telemetry(&hub, connection).await.map_err(refused) });
    }
    let clients = joined(attaching).await?;
    report.record(NAME, Metric::MultiplexedKib, weigh().await?);
    let mut attaching = JoinSet::new();
    for (connection, client) in clients {
        attaching.spawn(async move { attach_commands(client, connection).await.map_err(refused) });
    }
    let _clients = joined(attaching).await?;
    report.record(NAME, Metric::MultiplexedCommandsKib, weigh().await?);
    Ok(())
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::server(NAME, format!("a device is refused: {why}"))
}

/// The devices of a connection, each with its channel; the tokens have the first one.
fn devices_of(connection: u16) -> impl Iterator<Item = (usize, u16)> {
    let each = DEVICES / CONNECTIONS;
    (0..each).map(move |at| (usize::from(connection * each + at), at + 1))
}

async fn attach_telemetry(hub: &Ironhub, connection: u16) -> Result<(u16, AmqpClient), String> {
    let number = usize::from(connection);
    let mut client = AmqpClient::connect(hub.running.endpoint(), hub.amqp_address, number).await?;
    for (device, channel) in devices_of(connection) {
        let (audience, token) = hub.device_token(device);
        client.put_token(&audience, &token).await?;
        client.begin(channel).await?;
        let attach = amqp_client::sender("telemetry", TELEMETRY, &devices::events_address(device));
        client.attach_sender(channel, attach).await?;
    }
    Ok((connection, client))
}

async fn attach_commands(mut client: AmqpClient, connection: u16) -> Result<AmqpClient, String> {
    for (device, channel) in devices_of(connection) {
        let attach = amqp_client::receiver("commands", COMMANDS, &devices::commands_address(device));
        client.attach_receiver(channel, attach).await?;
        let credit = amqp_client::credit(COMMANDS, 0, COMMANDS_CREDIT);
        client.write(channel, &credit, &[]).await?;
    }
    Ok(client)
}
