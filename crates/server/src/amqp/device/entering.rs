//! The way in: proven, in its place, proven once more because something may have changed meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;

use amqp::performative::Error;
use amqp::value::Value;
use hub::access::{Authenticated, Refusal};
use hub::bus::Inbox;
use hub::failures::Claim;
use hub::records::{Kind, Outcome};

use super::super::connection::{Connection, Work};
use super::super::fault;
use super::{DeviceKey, DeviceWork, Present, Waiting};
use crate::held::Held;
use crate::mailbox::Mailbox;
use crate::refusal::{connected_outcome_of, outcome_of};

/// The link property by which a device announces its model.
const MODEL_ID: &str = "com.microsoft:model-id";

/// A device that may come in. Dropped, it gives its place back.
pub(in super::super) struct Entry {
    proof: Authenticated,
    held: Held,
    model_id: Option<Arc<str>>,
}

impl Connection {
    /// Proves a device and takes its place.
    pub(super) fn enter(&mut self, key: DeviceKey) {
        let Some(hub) = self.hub.clone() else {
            return;
        };
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        device.proving = true;
        let address = device.address.clone();
        let model_id = device
            .waiting
            .iter()
            .find_map(|waiting| model_id(&waiting.attach));
        let credentials = self.credentials_for(&address.identity);
        let peer = self.origin.peer;
        let (app, inbox) = (Arc::clone(&self.app), Arc::clone(&self.mailbox));
        self.work.push(Box::pin(async move {
            let entered = async {
                let claim = Claim::Identity(address.identity.clone());
                let decision = credentials.prove(hub.gate(), &address.identity);
                let proof = app.try_login(hub.name(), &claim, peer.ip(), decision).await?;
                let inbox: Arc<dyn Inbox> = Arc::<Mailbox>::clone(&inbox);
                let held = Held::claim(&app, &address, peer, inbox).await;
                hub.gate().recheck(&proof).await?;
                if let Some(model_id) = &model_id
                    && let Err(error) = app.twins.announce_model(&proof, model_id).await
                {
                    tracing::warn!(device = %address.identity, %error, "the model id was not kept in the twin");
                }
                Ok(Box::new(Entry {
                    proof,
                    held,
                    model_id,
                }))
            };
            let entered = entered.await;
            Work::Device(key, DeviceWork::Entered(entered))
        }));
    }

    pub(super) fn finish_entering(&mut self, key: DeviceKey, entered: Result<Box<Entry>, Refusal>) {
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        device.proving = false;
        let waiting = std::mem::take(&mut device.waiting);
        if waiting.is_empty() {
            // The peer gave up meanwhile.
            self.devices.remove(key);
            return;
        }
        if let Some(by) = device.displaced_by.take() {
            let error = stolen(by);
            return self.turn_away(key, waiting, &error, Some(displaced(Kind::Refused, by)));
        }
        match entered {
            Ok(entry) => self.let_in(key, *entry, waiting),
            Err(refusal) => {
                let error = fault::of_refusal(&refusal);
                let told = (!refusal.is_hushed()).then(|| outcome_of(&refusal));
                self.turn_away(key, waiting, &error, told);
            }
        }
    }

    fn let_in(&mut self, key: DeviceKey, entry: Entry, waiting: Vec<Waiting>) {
        let (Some(hub), Some(device)) = (self.hub.clone(), self.devices.get_mut(key)) else {
            return;
        };
        let Entry {
            proof,
            mut held,
            model_id,
        } = entry;
        held.connect();
        let proof = Arc::new(proof);
        let proves_again = std::mem::take(&mut device.proves_again);
        let connected = connected_outcome_of(&proof);
        device.present = Some(Present {
            sender: hub.telemetry().sender(Arc::clone(&proof), model_id.clone()),
            proves_at: hub.gate().closes_at(&proof),
            proof,
            model_id,
            held,
            links: Vec::new(),
            commands: None,
            method_calls: None,
            method_answers: None,
            twin_requests: None,
            twin_answers: None,
            takes_desired: false,
            staged: None,
            conversation: None,
        });
        let address = device.address.clone();
        let origin = self.origin_of(&address);
        self.app.records.leave(origin, connected);
        self.known();
        for Waiting { link, attach, role } in waiting {
            self.admit(key, link, &attach, role);
        }
        if proves_again {
            self.prove_anew(key);
        }
        self.leave_if_idle(key);
    }

    fn turn_away(&mut self, key: DeviceKey, waiting: Vec<Waiting>, error: &Error, outcome: Option<Outcome>) {
        let Some(device) = self.devices.remove(key) else {
            return;
        };
        if let Some(outcome) = outcome {
            self.app.records.leave(self.origin_of(&device.address), outcome);
        }
        for Waiting { link, attach, .. } in waiting {
            self.machine.refuse_attach(link, &attach, error.clone());
        }
    }

    /// Proves a device that is there once more: its identity changed, or its token ended.
    pub(super) fn prove_anew(&mut self, key: DeviceKey) {
        let Some(hub) = self.hub.clone() else {
            return;
        };
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        if device.proving {
            device.proves_again = true;
            return;
        }
        device.proving = true;
        let identity = device.address.identity.clone();
        let present = device.present.as_ref().map(|present| Arc::clone(&present.proof));
        let credentials = self.credentials_for(&identity);
        self.work.push(Box::pin(async move {
            let proven = credentials
                .prove_again(hub.gate(), &identity, present.as_deref())
                .await;
            Work::Device(key, DeviceWork::Proven(proven))
        }));
    }

    /// Tokens went: every device shows what it still stands on.
    pub(in super::super) fn prove_all_anew(&mut self) {
        for key in self.devices.all() {
            self.prove_anew(key);
        }
    }

    pub(super) fn finish_proving(&mut self, key: DeviceKey, proven: Result<Authenticated, Refusal>) {
        let (Some(hub), Some(device)) = (self.hub.clone(), self.devices.get_mut(key)) else {
            return;
        };
        device.proving = false;
        let proves_again = std::mem::take(&mut device.proves_again);
        let Some(present) = device.present.as_mut() else {
            return;
        };
        let refusal = match proven {
            Ok(proof) if proof.generation() == present.proof.generation() => {
                present.proves_at = hub.gate().closes_at(&proof);
                present.proof = Arc::new(proof);
                present.sender = hub
                    .telemetry()
                    .sender(Arc::clone(&present.proof), present.model_id.clone());
                None
            }
            // Another identity of the same name is not the one that came in.
            Ok(proof) => Some(Refusal::new(
                hub::access::Reason::IdentityReplaced,
                hub::access::Subject::Identity(proof.identity().clone()),
            )),
            Err(refusal) if refusal.is_passing() => {
                // It says nothing about the device: it is asked again at the next look.
                present.proves_at = Some(self.app.clock.now());
                None
            }
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = refusal {
            let outcome = crate::refusal::closing_outcome_of(&refusal);
            self.send_away(key, &fault::of_refusal(&refusal), outcome);
        } else if proves_again {
            self.prove_anew(key);
        }
    }

    /// A model that is announced by a link of a device that is there already.
    pub(super) fn announce_model(&mut self, key: DeviceKey, attach: &amqp::performative::Attach) {
        let (Some(hub), Some(model)) = (self.hub.clone(), model_id(attach)) else {
            return;
        };
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        if present.model_id.as_ref() == Some(&model) {
            return;
        }
        present.model_id = Some(Arc::clone(&model));
        present.sender = hub
            .telemetry()
            .sender(Arc::clone(&present.proof), present.model_id.clone());
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&present.proof));
        self.work.push(Box::pin(async move {
            if let Err(error) = app.twins.announce_model(&proof, &model).await {
                tracing::warn!(device = %proof.identity(), %error, "the model id was not kept in the twin");
            }
            Work::Nothing
        }));
    }
}

/// What links learn of a newer connection (amqp.md A.1; the condition is not confirmed).
pub(super) fn stolen(by: SocketAddr) -> Error {
    let text = format!("A newer connection of the device came from {by}.");
    Error::new(fault::STOLEN, &text)
}

/// What an operator learns of it.
pub(super) fn displaced(kind: Kind, by: SocketAddr) -> Outcome {
    Outcome::new(
        kind,
        "session",
        "displaced",
        format!("displaced by a newer connection from {by}"),
    )
    .advising("If this happens again and again, two clients use one identity: give each its own")
}

fn model_id(attach: &amqp::performative::Attach) -> Option<Arc<str>> {
    let properties = attach.properties.as_ref()?;
    let model_id = properties.map_get(MODEL_ID).and_then(Value::as_str)?;
    (!model_id.is_empty()).then(|| model_id.into())
}
