//! Who reads a partition: at most five readers without an epoch, or one with (amqp.md C.4).
//!
//! A slot is a value: dropping it frees the place, however the reader ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::log::Partition;

use super::GroupName;

/// A reader that asks for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The name it gave itself, for messages to people.
    pub name: Option<String>,
    /// Its epoch ("owner level"); with one it reads alone.
    pub epoch: Option<i64>,
}

impl Reader {
    fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or("nil")
    }
}

/// Told to a reader whose place was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displacement {
    /// The reader that took the place.
    pub by: Reader,
    /// The reader that lost it.
    pub reader: Reader,
}

impl std::fmt::Display for Displacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "New receiver '{}' with higher epoch of '{}' is created hence current receiver '{}' with epoch '{}' is \
             getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.",
            self.by.display_name(),
            self.by.epoch.unwrap_or(-1),
            self.reader.display_name(),
            self.reader.epoch.unwrap_or(-1),
        )
    }
}

/// Why a reader gets no place. The texts are matched by clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReaderRefusal {
    /// As many readers as allowed are there.
    #[error(
        "Exceeded the maximum number of allowed receivers per partition in a consumer group which is {max}. \
         List of connected receivers - {}.", names.join(", ")
    )]
    TooMany {
        /// How many are allowed.
        max: usize,
        /// Who is there.
        names: Vec<String>,
    },
    /// A reader with a higher epoch is there.
    #[error(
        "Receiver '{holder}' with a higher epoch '{holder_epoch}' already exists. Receiver '{reader}' with epoch {epoch} \
         cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or \
         ensure all old epoch receivers are closed or disconnected."
    )]
    LowerEpoch {
        /// Who is there.
        holder: String,
        /// With which epoch.
        holder_epoch: i64,
        /// Who asked.
        reader: String,
        /// With which epoch.
        epoch: i64,
    },
    /// A reader with an epoch is there, and this one has none.
    #[error(
        "At least one receiver for the endpoint is created with epoch of '{0}', and so non-epoch receiver is not \
         allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected."
    )]
    EpochRequired(i64),
}

#[derive(Debug)]
struct Seat {
    number: u64,
    reader: Reader,
    displaced: oneshot::Sender<Displacement>,
}

type Seats = HashMap<(GroupName, Partition), Vec<Seat>>;

/// All readers of one hub.
#[derive(Debug)]
pub struct ReaderSlots {
    seats: Arc<Mutex<Seats>>,
    next_number: std::sync::atomic::AtomicU64,
    readers_max: usize,
}

/// A reader's place; freed when dropped.
#[derive(Debug)]
pub struct ReaderSlot {
    seats: Arc<Mutex<Seats>>,
    key: (GroupName, Partition),
    number: u64,
}

/// Resolves when the place is taken by another reader; an error means that it was given back.
pub type Displaced = oneshot::Receiver<Displacement>;

impl ReaderSlots {
    /// Places for `readers_max` readers without an epoch per partition and consumer group.
    pub fn new(readers_max: usize) -> Self {
        Self {
            seats: Arc::default(),
            next_number: 0.into(),
            readers_max,
        }
    }

    /// Takes a place, perhaps from others, who are told.
    pub fn take(
        &self,
        group: &GroupName,
        partition: Partition,
        reader: Reader,
    ) -> Result<(ReaderSlot, Displaced), ReaderRefusal> {
        let key = (group.clone(), partition);
        let mut all = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = all.entry(key.clone()).or_default();
        if let Err(refusal) = self.admit(seats, &reader) {
            if seats.is_empty() {
                all.remove(&key);
            }
            return Err(refusal);
        }
        if reader.epoch.is_some() {
            for seat in seats.drain(..) {
                let displacement = Displacement {
                    by: reader.clone(),
                    reader: seat.reader,
                };
                // A reader that just ended no longer listens; its place is free either way.
                let _ = seat.displaced.send(displacement);
            }
        }
        let number = self
            .next_number
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (sender, displaced) = oneshot::channel();
        seats.push(Seat {
            number,
            reader,
            displaced: sender,
        });
        drop(all);
        let slot = ReaderSlot {
            seats: Arc::clone(&self.seats),
            key,
            number,
        };
        Ok((slot, displaced))
    }

    /// Number of readers that hold a place.
    pub fn count(&self) -> usize {
        self.seats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(Vec::len)
            .sum()
    }

    fn admit(&self, seats: &[Seat], reader: &Reader) -> Result<(), ReaderRefusal> {
        let holder = seats
            .iter()
            .find_map(|seat| seat.reader.epoch.map(|epoch| (epoch, &seat.reader)));
        match (holder, reader.epoch) {
            (Some((holder_epoch, holder)), Some(epoch)) if epoch < holder_epoch => {
                Err(ReaderRefusal::LowerEpoch {
                    holder: holder.display_name().to_owned(),
                    holder_epoch,
                    reader: reader.display_name().to_owned(),
                    epoch,
                })
            }
            (Some((holder_epoch, _)), None) => Err(ReaderRefusal::EpochRequired(holder_epoch)),
            (None, None) if seats.len() >= self.readers_max => Err(ReaderRefusal::TooMany {
                max: self.readers_max,
                names: seats
                    .iter()
                    .map(|seat| seat.reader.display_name().to_owned())
                    .collect(),
            }),
            _ => Ok(()),
        }
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        let mut all = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seats) = all.get_mut(&self.key) {
            seats.retain(|seat| seat.number != self.number);
            if seats.is_empty() {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> ReaderSlots {
        ReaderSlots::new(5)
    }

    type Taken = Result<(ReaderSlot, Displaced), ReaderRefusal>;

    fn take(slots: &ReaderSlots, name: &str, epoch: Option<i64>) -> Taken {
        let group = GroupName::parse("$Default").unwrap();
        slots.take(
            &group,
            Partition(0),
            Reader {
                name: Some(name.to_owned()),
                epoch,
            },
        )
    }

    #[test]
    fn the_sixth_reader_is_refused_until_one_leaves() {
        let slots = slots();
        let mut held: Vec<_> = (0..5)
            .map(|n| take(&slots, &format!("r{n}"), None).unwrap())
            .collect();
        let refusal = take(&slots, "r5", None).unwrap_err();
        assert!(
            refusal
                .to_string()
                .ends_with("which is 5. List of connected receivers - r0, r1, r2, r3, r4.")
        );
        held.pop();
        assert!(take(&slots, "r5", None).is_ok());
    }

    #[test]
    fn an_equal_or_higher_epoch_takes_the_place() {
        let slots = slots();
        let mut first = take(&slots, "a", Some(1)).unwrap();
        let mut second = take(&slots, "b", Some(1)).unwrap();
        assert_eq!(first.1.try_recv().unwrap().by.name.as_deref(), Some("b"));
        let _third = take(&slots, "c", Some(7)).unwrap();
        assert!(
            second
                .1
                .try_recv()
                .unwrap()
                .to_string()
                .starts_with("New receiver 'c' with higher epoch of '7'")
        );
        // A displaced slot that is dropped late does not free the new reader's place.
        drop((first, second));
        assert!(matches!(
            take(&slots, "d", Some(6)),
            Err(ReaderRefusal::LowerEpoch { .. })
        ));
        assert_eq!(slots.count(), 1);
    }

    #[test]
    fn readers_without_epoch_yield_to_one_with_and_stay_out() {
        let slots = slots();
        let mut plain = take(&slots, "a", None).unwrap();
        let epoch = take(&slots, "b", Some(0)).unwrap();
        assert!(plain.1.try_recv().is_ok());
        assert_eq!(
            take(&slots, "c", None).unwrap_err(),
            ReaderRefusal::EpochRequired(0)
        );
        drop(epoch);
        assert!(take(&slots, "c", None).is_ok());
    }
}
