//! What the hub has to say to devices of the connection.

use std::task::{Context, Poll};

use hub::bus::{Address, Mail};
use hub::methods::Undelivered;

use super::super::connection::Connection;
use super::super::reader::OUTPUT_BYTES_HIGH;
use super::DeviceKey;

impl Connection {
    /// Takes mail, as much of it as the peer reads; says whether there was some.
    pub(in super::super) fn poll_mail(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        loop {
            let waiting = self.machine.output().len().saturating_sub(self.sent);
            let room = OUTPUT_BYTES_HIGH.saturating_sub(waiting);
            let Poll::Ready(mail) = self.mailbox.poll_take(room, context) else {
                return moved;
            };
            moved = true;
            for (address, mail) in mail {
                self.take_mail(&address, mail);
            }
        }
    }

    fn take_mail(&mut self, address: &Address, mail: Mail) {
        let Some(key) = self.devices.find(address) else {
            // It left; a call that is dropped says so.
            return;
        };
        if self.devices.present(key).is_none() {
            return self.note_mail(key, mail);
        }
        match mail {
            Mail::Displaced { by } => self.displace(key, by),
            Mail::Recheck => self.prove_anew(key),
            Mail::Desired { version, document } => self.tell_desired(key, version, &document),
            Mail::Method(invocation) => self.call(key, invocation),
            Mail::Commands => self.commands_came(key),
            Mail::Overflow => self.desired_lost(key),
        }
    }

    /// Mail for a device that is being let in.
    fn note_mail(&mut self, key: DeviceKey, mail: Mail) {
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        match mail {
            Mail::Displaced { by } => device.displaced_by = Some(by),
            Mail::Recheck => device.proves_again = true,
            Mail::Method(invocation) => invocation.answer(Err(Undelivered::NotSubscribed)),
            // Its links look for themselves once they are there.
            Mail::Desired { .. } | Mail::Commands | Mail::Overflow => {}
        }
    }
}
