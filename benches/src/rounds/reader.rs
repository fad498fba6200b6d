//! The built-in endpoint: one reader takes all partitions from their beginning, as fast as it can.

use amqp::message::{SectionKind, Sections};
use amqp::performative::{Attach, Performative, SenderSettleMode};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::{DEVICES, connect_all, joined};
use crate::acknowledgements::Acknowledgements;
use crate::amqp_client::{self, AmqpClient};
use crate::client::Client;
use crate::clock;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::publisher::{PAYLOAD_BYTES, Publisher};
use crate::report::Report;
use crate::subject::{HUB, Ironhub, NAME};

/// Partitions of a hub that was not told otherwise.
const PARTITIONS: u32 = 4;

/// Messages that the reader takes ahead on each partition; it asks for more when half of them have come.
const CREDIT: u32 = 4_000;

/// Messages that a device has under way while the log is filled.
const WINDOW: usize = 128;

const CHANNEL: u16 = 1;

/// Fills the log with at least so many messages; gives how many.
pub(crate) async fn fill(hub: &Ironhub, messages: usize) -> Result<usize, Failure> {
    let each = messages.div_ceil(DEVICES);
    let mut clients = JoinSet::new();
    for (device, client) in connect_all(hub.running.endpoint(), DEVICES).await? {
        clients.spawn(async move {
            publish(client, Publisher::new(device), each)
                .await
                .map_err(|why| Failure::server(NAME, why))
        });
    }
    joined(clients).await?;
    Ok(each * DEVICES)
}

/// Reads so many messages, all that there are.
pub(crate) async fn measure(hub: &Ironhub, messages: usize, report: &mut Report) -> Result<(), Failure> {
    let failed = |why| Failure::server(NAME, format!("a reader broke off: {why}"));
    let mut reader = Reader::connect(hub).await.map_err(failed)?;
    let process = hub.running.process();
    let (start, cpu_start) = (clock::now(), process.cpu_secs()?);
    reader.read(messages).await.map_err(failed)?;
    let secs = start.elapsed().as_secs_f64();
    let cpu_secs = process.cpu_secs()? - cpu_start;
    report.record(NAME, Metric::ReaderRate, messages as f64 / secs);
    report.record(NAME, Metric::ReaderCpu, cpu_secs / messages as f64 * 1e6);
    Ok(())
}

async fn publish(mut client: Client, mut publisher: Publisher, count: usize) -> Result<(), String> {
    let mut acknowledgements = Acknowledgements::new();
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < count {
        let more = (WINDOW + acknowledged - sent).min(count - sent);
        client
            .write_all(publisher.batch(more))
            .await
            .map_err(|error| error.to_string())?;
        sent += more;
        acknowledged += acknowledgements.read(&mut client, |_| ()).await?;
    }
    Ok(())
}

/// One link for each partition, on one session.
struct Reader {
    client: AmqpClient,
    links: [Link; PARTITIONS as usize],
}

/// What has come on a link.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    received: u32,
    // How much of it the server knows of.
    credited: u32,
}

impl Reader {
    async fn connect(hub: &Ironhub) -> Result<Self, String> {
        let mut client = AmqpClient::connect(hub.running.endpoint(), hub.amqp_address, 0).await?;
        let audience = format!("sb://{}/{HUB}", hub.service.host);
        client.put_token(&audience, &hub.service.token).await?;
        client.begin(CHANNEL).await?;
        for partition in 0..PARTITIONS {
            let address = format!("{HUB}/ConsumerGroups/$Default/Partitions/{partition}");
            let attach = Attach {
                // The stream is not changed by reading it: nothing is to be settled.
                snd_settle_mode: SenderSettleMode::Settled,
                ..amqp_client::receiver(&format!("reader-{partition}"), partition, &address)
            };
            client.attach_receiver(CHANNEL, attach).await?;
        }
        Ok(Self {
            client,
            links: [Link::default(); PARTITIONS as usize],
        })
    }

    async fn read(&mut self, messages: usize) -> Result<(), String> {
        for partition in 0..PARTITIONS {
            let flow = amqp_client::credit(partition, 0, CREDIT);
            self.client.write(CHANNEL, &flow, &[]).await?;
        }
        let mut received = 0;
        while received < messages {
            let links = &mut self.links;
            self.client
                .read(|_, performative, payload| {
                    if let Performative::Transfer(transfer) = performative {
                        received += 1;
                        check(transfer.more, payload)?;
                        let link = links.get_mut(transfer.handle as usize);
                        link.ok_or("a message on a link that is none")?.received += 1;
                    }
                    Ok(())
                })
                .await?;
            self.ask_for_more().await?;
        }
        Ok(())
    }

    async fn ask_for_more(&mut self) -> Result<(), String> {
        for (partition, link) in (0..).zip(&mut self.links) {
            if link.received - link.credited >= CREDIT / 2 {
                link.credited = link.received;
                let flow = amqp_client::credit(partition, link.received, CREDIT);
                self.client.write(CHANNEL, &flow, &[]).await?;
            }
        }
        Ok(())
    }
}

/// Takes a message apart, as every reader does.
fn check(more: bool, message: &[u8]) -> Result<(), String> {
    let mut bytes = 0;
    for section in Sections::new(message) {
        let section = section.map_err(|error| error.to_string())?;
        if section.kind == SectionKind::Data {
            bytes += section.data().map_or(0, <[u8]>::len);
        }
    }
    if more || bytes != PAYLOAD_BYTES {
        return Err(format!(
            "a message of {PAYLOAD_BYTES} bytes expected, got {bytes}"
        ));
    }
    Ok(())
}
