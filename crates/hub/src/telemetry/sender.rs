//! Staging and appending: limits are applied and records are encoded here, once, for every protocol.

use std::borrow::Cow;
use std::sync::Arc;

use crate::BoxFuture;
use crate::access::Authenticated;
use crate::clock::{Clock, Timestamp};
use crate::events::Notice;
use crate::identity::GenerationId;
use crate::limits::{Exceeded, Limits};
use crate::log::{AppendError, Appended, Batch, Log, Partition};

use super::{Message, partition_of};

/// What the hub adds to a message (device-mqtt-https.md 6.3, "Stamps added by the hub").
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Id of the connected device.
    pub device: &'a str,
    /// Id of the connected module.
    pub module: Option<&'a str>,
    /// How the connection was authenticated, as JSON text.
    pub auth_method: &'a str,
    /// Generation id of the identity.
    pub generation: GenerationId,
    /// The model that the connection announced.
    pub model_id: Option<&'a str>,
    /// When the hub received the message.
    pub received: Timestamp,
}

/// Writes a message as a reader will receive it. Implemented where the reader's protocol is known.
pub trait EventEncoder: Send + Sync + 'static {
    /// Appends the stored form of the message (docs/formats/event.md).
    fn encode(&self, stamp: &Stamp<'_>, message: &Message<'_>, record: &mut Vec<u8>);

    /// Appends the stored form of an event that is no telemetry.
    fn encode_notice(&self, notice: &Notice<'_>, record: &mut Vec<u8>);
}

/// An authenticated connection as a source of telemetry.
#[derive(Debug, Clone)]
pub struct Sender {
    proof: Arc<Authenticated>,
    model_id: Option<Arc<str>>,
    partition: Partition,
    auth_method: Cow<'static, str>,
}

impl Sender {
    /// The proof that the connection holds.
    pub fn proof(&self) -> &Arc<Authenticated> {
        &self.proof
    }
}

/// Telemetry of one hub.
pub struct Telemetry {
    log: Arc<dyn Log>,
    encoder: Arc<dyn EventEncoder>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
}

impl Telemetry {
    /// Telemetry into `log`.
    pub fn new(
        log: Arc<dyn Log>,
        encoder: Arc<dyn EventEncoder>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            log,
            encoder,
            clock,
            limits,
        }
    }

    /// The log that readers read.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Makes an authenticated identity a sender. `model_id` is what its connection announced.
    pub fn sender(&self, proof: Arc<Authenticated>, model_id: Option<Arc<str>>) -> Sender {
        let partition = partition_of(&proof.identity().device, self.log.partition_count());
        Sender {
            auth_method: proof.auth_method_json(),
            proof,
            model_id,
            partition,
        }
    }

    /// Checks a message and adds its stored form to the batch. Nothing is durable yet.
    pub fn stage(&self, sender: &Sender, message: &Message<'_>, batch: &mut Batch) -> Result<(), Exceeded> {
        message.check(&self.limits)?;
        let identity = sender.proof.identity();
        let stamp = Stamp {
            device: identity.device.as_str(),
            module: identity.module.as_ref().map(crate::identity::ModuleId::as_str),
            auth_method: &sender.auth_method,
            generation: sender.proof.generation(),
            model_id: sender.model_id.as_deref(),
            received: self.clock.now(),
        };
        batch.push_with(|record| {
            self.encoder.encode(&stamp, message, record);
            Ok(())
        })
    }

    /// Appends what was staged for this sender; resolves when it is durable. Batches of one sender keep their order.
    pub fn append(&self, sender: &Sender, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        self.log.append(sender.partition, batch)
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
