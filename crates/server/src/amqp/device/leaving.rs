//! The way out: of a link, of a device, and of all devices with their connection.

use std::net::SocketAddr;

use amqp::connection::LinkId;
use amqp::performative::Error;
use hub::access::Refusal;
use hub::bus::Address;
use hub::methods::Undelivered;
use hub::records::{Kind, Origin, Outcome};

use super::super::connection::Connection;
use super::super::ending::Ending;
use super::entering::{displaced, stolen};
use super::{DeviceKey, DeviceLink, LinkRole};

impl Connection {
    /// A link of a device is gone. What was under way on it ends; with its last link the device is gone too.
    pub(in super::super) fn device_link_gone(&mut self, link: LinkId, of: DeviceLink) {
        self.append_staged_of(of.device);
        let Some(present) = self.devices.present_mut(of.device) else {
            return;
        };
        present.links.retain(|own| *own != link);
        let is_current = match present.place_of(of.role) {
            Some(place) if *place == Some(link) => {
                *place = None;
                true
            }
            _ => false,
        };
        if is_current {
            match of.role {
                LinkRole::Commands => self.release_commands(of.device),
                LinkRole::MethodCalls => self.forget_queued_calls(of.device),
                LinkRole::MethodAnswers => self.forget_calls(of.device),
                LinkRole::TwinRequests | LinkRole::TwinAnswers => self.end_twin(of.device),
                LinkRole::Telemetry | LinkRole::Inputs => {}
            }
        }
        self.leave_if_idle(of.device);
    }

    /// A link that was not attached yet is gone.
    pub(in super::super) fn waiting_link_gone(&mut self, link: LinkId) {
        for device in self.devices.by_key.values_mut() {
            device.waiting.retain(|waiting| waiting.link != link);
        }
    }

    /// A device without a link is not there.
    pub(super) fn leave_if_idle(&mut self, key: DeviceKey) {
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        // Requests for the twin that it left behind are carried out first.
        let asks = |present: &super::Present| {
            let conversation = present.conversation.as_ref();
            conversation.is_some_and(|said| said.asking || !said.requests.is_empty())
        };
        let is_idle = device
            .present
            .as_ref()
            .is_some_and(|present| present.links.is_empty() && !asks(present));
        if is_idle && device.waiting.is_empty() {
            let text = "the device's links were detached";
            self.forget_device(key, Outcome::new(Kind::Closed, "session", "disconnected", text));
        }
    }

    /// Ends all links of a device, and tells why.
    pub(super) fn send_away(&mut self, key: DeviceKey, error: &Error, outcome: Outcome) {
        self.append_staged_of(key);
        let links = self
            .devices
            .present_mut(key)
            .map(|present| std::mem::take(&mut present.links));
        for link in links.into_iter().flatten() {
            if self.nodes.remove(&link).is_some() {
                self.machine.detach(link, Some(error.clone()));
            }
        }
        self.forget_device(key, outcome);
    }

    /// A newer connection has the device.
    pub(super) fn displace(&mut self, key: DeviceKey, by: SocketAddr) {
        if let Some(present) = self.devices.present_mut(key)
            && let Some(conversation) = &mut present.conversation
        {
            conversation.calls.displace();
            for call in conversation.queued_calls.drain(..) {
                call.answer(Err(Undelivered::Displaced));
            }
        }
        self.send_away(key, &stolen(by), displaced(Kind::Closed, by));
    }

    fn forget_device(&mut self, key: DeviceKey, outcome: Outcome) {
        self.release_commands(key);
        self.forget_requests(key);
        // Its place goes with it, and its callers hear that nobody is there.
        if let Some(device) = self.devices.remove(key) {
            self.app.records.leave(self.origin_of(&device.address), outcome);
        }
    }

    pub(super) fn origin_of(&self, address: &Address) -> Origin {
        let module = address.identity.module.as_ref();
        self.origin.clone().claiming(
            Some(address.hub.clone()),
            Some(address.identity.device.as_str()),
            module.map(hub::identity::ModuleId::as_str),
        )
    }

    /// A device was refused a link before it was asked who it is.
    pub(in super::super) fn origin_for(&self, refusal: &Refusal) -> Origin {
        match &refusal.subject {
            hub::access::Subject::Identity(identity) => self.origin.clone().claiming(
                self.origin.hub.clone(),
                Some(identity.device.as_str()),
                identity.module.as_ref().map(hub::identity::ModuleId::as_str),
            ),
            _ => self.origin.clone(),
        }
    }

    /// The connection ends: callers hear at once, commands that devices hold are free, what was staged is on its way. From here on
    /// no mail is taken.
    pub(in super::super) fn let_devices_go(&mut self) {
        self.append_all_staged();
        self.settle_outcomes();
        // Dropped unanswered, a call says that the connection ended.
        drop(self.mailbox.close());
        for key in self.devices.all() {
            self.release_commands(key);
            self.forget_calls(key);
            if let Some(present) = self.devices.present_mut(key) {
                present.links.clear();
                present.twin_requests = None;
                present.twin_answers = None;
            }
            self.end_twin(key);
        }
    }

    /// The last of it: the places are given up, and each device's record is left.
    pub(in super::super) fn forget_devices(&mut self, ending: &Ending) {
        for key in self.devices.all() {
            let Some(device) = self.devices.remove(key) else {
                continue;
            };
            if device.present.is_some() {
                let origin = self.origin_of(&device.address);
                self.app.records.leave(origin, ending.outcome(true));
            }
        }
    }
}
