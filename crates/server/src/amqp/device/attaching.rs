//! Links of devices come: at once when their device is there, else when it has been let in.

use amqp::connection::{Delivery, LinkId};
use amqp::performative::{Attach, DeliveryState, Error};
use hub::bus::Address;
use hub::identity::IdentityId;

use super::super::attach::Node;
use super::super::connection::Connection;
use super::super::fault;
use super::{DeviceKey, DeviceLink, DeviceWork, LinkRole, Waiting};

impl Connection {
    pub(in super::super) fn attach_device(
        &mut self,
        link: LinkId,
        attach: Box<Attach>,
        identity: IdentityId,
        role: LinkRole,
    ) {
        let Some(hub) = &self.hub else {
            return;
        };
        let address = Address {
            hub: hub.name().clone(),
            identity,
        };
        let key = self.devices.key_of(&address);
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        if device.present.is_some() {
            self.admit(key, link, &attach, role);
            return;
        }
        device.waiting.push(Waiting { link, attach, role });
        if !device.proving {
            self.enter(key);
        }
    }

    /// Attaches a link of a device that is there. Of most kinds there is one; a newer one takes its place.
    pub(super) fn admit(&mut self, key: DeviceKey, link: LinkId, attach: &Attach, role: LinkRole) {
        self.announce_model(key, attach);
        self.machine.accept_attach(link, attach, role.reply(attach));
        if self.machine.settle_modes(link).is_none() {
            // The peer gave up meanwhile.
            return;
        }
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        present.links.push(link);
        let older = present.place_of(role).and_then(|place| place.replace(link));
        self.nodes
            .insert(link, Node::Device(DeviceLink { device: key, role }));
        if let Some(older) = older {
            let error = Error::new(
                fault::STOLEN,
                "A newer link of the device took the place of this one.",
            );
            self.end_link(older, error);
        }
        match role {
            LinkRole::Commands => self.look_for_commands(key),
            LinkRole::MethodCalls | LinkRole::MethodAnswers => self.tell_ready(key),
            LinkRole::TwinAnswers => self.pump_twin(key),
            LinkRole::Telemetry | LinkRole::Inputs | LinkRole::TwinRequests => {}
        }
    }

    /// A message of a device.
    pub(in super::super) fn device_delivery(&mut self, link: LinkId, of: DeviceLink, delivery: &Delivery) {
        match of.role {
            LinkRole::Telemetry => self.stage_telemetry(of.device, link, delivery),
            LinkRole::MethodAnswers => self.method_answer(of.device, link, delivery),
            LinkRole::TwinRequests => self.twin_request(of.device, link, delivery),
            // The machine takes no messages on links that go the other way.
            LinkRole::Commands | LinkRole::Inputs | LinkRole::MethodCalls | LinkRole::TwinAnswers => {}
        }
    }

    /// What a device says of a message that was sent to it.
    pub(in super::super) fn device_outcome(
        &mut self,
        link: LinkId,
        of: DeviceLink,
        delivery: u32,
        state: Option<&DeliveryState>,
        settled: bool,
    ) {
        match of.role {
            LinkRole::Commands => self.command_outcome(of.device, link, delivery, state, settled),
            LinkRole::MethodCalls => self.call_outcome(of.device, link, delivery, state, settled),
            _ => {}
        }
    }

    /// What came of something that took time for a device.
    pub(in super::super) fn finish_device(&mut self, key: DeviceKey, work: DeviceWork) {
        match work {
            DeviceWork::Entered(entered) => self.finish_entering(key, entered),
            DeviceWork::Proven(proven) => self.finish_proving(key, proven),
            DeviceWork::Commands(link, more, received) => self.finish_receiving(key, link, more, received),
            DeviceWork::Settled(settling, settled) => self.finish_settling(&settling, settled),
            DeviceWork::Twin(answered) => self.finish_twin(key, answered),
        }
    }

    /// The peer takes more, or wants to know that there is nothing.
    pub(in super::super) fn pump_device(&mut self, link: LinkId, of: DeviceLink) {
        match of.role {
            LinkRole::Commands => self.look_for_commands(of.device),
            LinkRole::MethodCalls => self.pump_calls(of.device),
            LinkRole::TwinAnswers => self.pump_twin(of.device),
            LinkRole::Inputs => self.machine.exhausted(link),
            LinkRole::Telemetry | LinkRole::MethodAnswers | LinkRole::TwinRequests => {}
        }
    }
}
