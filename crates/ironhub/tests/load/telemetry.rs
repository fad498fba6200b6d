//! Devices that send numbered messages.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::device::Access;
use crate::stored::Message;

use super::filling;

/// Messages of a device that wait for their acknowledgement.
const WINDOW: usize = 64;

/// Longest body: large enough that a kill may interrupt a write in the middle.
const BODY_BYTES_MAX: u64 = 2_048;

/// The message of a number; each can be told from every other in all its length.
fn body(number: u64) -> String {
    format!("{number}:{}", filling(number, BODY_BYTES_MAX))
}

fn body_number(body: &str) -> u64 {
    body.split(':').next().unwrap().parse().unwrap()
}

/// A device over all rounds. It sends 1, 2, 3, ... and begins each round behind the last number that was acknowledged, as a client
/// does that keeps what it was not told about.
pub(crate) struct Sender {
    pub(crate) id: String,
    pub(crate) acknowledged: AtomicU64,
}

impl Sender {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            acknowledged: AtomicU64::new(0),
        }
    }

    /// Sends as fast as the server takes it, until the connection breaks.
    pub(super) async fn run(&self, access: &Access) -> io::Error {
        let mut device = match access.connect(&self.id).await {
            Ok(device) => device,
            Err(error) => return error,
        };
        let mut next = self.acknowledged.load(Ordering::Relaxed) + 1;
        loop {
            while device.waiting() < WINDOW {
                device.stage(next, &body(next));
                next += 1;
            }
            if let Err(error) = device.flush().await {
                return error;
            }
            match device.acknowledgements().await {
                Ok(numbers) => numbers
                    .last()
                    .into_iter()
                    .for_each(|last| self.acknowledged.store(*last, Ordering::Relaxed)),
                Err(error) => return error,
            }
        }
    }
}

/// What is found of a device.
#[derive(Default)]
pub(crate) struct Found {
    /// All numbers up to this are there.
    pub(crate) last: u64,
    /// Messages that are there more than once.
    pub(crate) again: u64,
}

impl Found {
    /// Takes the next stored message. Whatever was sent before it for the first time must have come before it.
    pub(crate) fn take(&mut self, message: &Message) {
        let number = body_number(&message.body);
        assert_eq!(message.body, body(number), "{}", message.device);
        if number <= self.last {
            self.again += 1;
        } else {
            assert_eq!(number, self.last + 1, "{}: out of order", message.device);
            self.last = number;
        }
    }
}
