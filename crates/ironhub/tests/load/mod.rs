//! What keeps a server busy while it is killed, and what must be true of it afterwards: telemetry, twins, commands and feedback.
//!
//! Each of these runs until its connection breaks, and goes on in the next round behind what it knows. What they know they check
//! while they run; the rest is checked between rounds, when nothing moves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "part of a test; its helpers are not seen as such"
)]

mod commands;
mod feedback;
mod ledger;
mod telemetry;
mod twins;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::back_end::BackEnd;
use crate::device::{Access, PATIENCE};
use crate::subject::Dev;

use commands::Queue;
use ledger::Ledger;
pub(crate) use telemetry::{Found, Sender};
use twins::Twin;

const SENDERS: usize = 8;
const TWINS: usize = 3;
const QUEUES: usize = 3;

/// Time between two looks at a server that works off what is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Something that runs until its connection breaks; the error says how.
pub(crate) type Running = Pin<Box<dyn Future<Output = io::Error> + Send>>;

/// All of it.
pub(crate) struct Load {
    pub(crate) senders: Vec<Arc<Sender>>,
    twins: Vec<Arc<Twin>>,
    queues: Vec<Arc<Queue>>,
    ledger: Arc<Ledger>,
}

impl Load {
    pub(crate) fn new() -> Self {
        let ledger = Arc::new(Ledger::default());
        let ids = |prefix: &'static str, count| (1..=count).map(move |number| format!("{prefix}{number}"));
        Self {
            senders: ids("d", SENDERS).map(|id| Arc::new(Sender::new(id))).collect(),
            twins: ids("t", TWINS).map(|id| Arc::new(Twin::new(id))).collect(),
            queues: ids("c", QUEUES)
                .map(|id| Arc::new(Queue::new(id, Arc::clone(&ledger))))
                .collect(),
            ledger,
        }
    }

    /// Creates the devices.
    pub(crate) fn create(&self, server: &Dev) {
        let senders = self.senders.iter().map(|sender| &sender.id);
        let twins = self.twins.iter().map(|twin| &twin.id);
        let queues = self.queues.iter().map(|queue| &queue.id);
        for id in senders.chain(twins).chain(queues) {
            server.run(&["device", "create", id]);
        }
    }

    /// Holds what a server has stored of twins and commands against what was acknowledged. Nothing else may be going on.
    pub(crate) async fn check(&self, access: &Access) {
        let mut back_end = BackEnd::connect(access).await.unwrap();
        for twin in &self.twins {
            twin.check(&mut back_end).await;
        }
        self.ledger.begin_round();
        for queue in &self.queues {
            let depth = queue.depth(&mut back_end).await;
            self.ledger.check_depth(&queue.id, depth);
        }
    }

    /// Everything at full speed.
    pub(crate) fn run(&self, access: &Arc<Access>) -> Vec<Running> {
        let mut running = self.receive(access);
        for sender in &self.senders {
            let (sender, access) = (Arc::clone(sender), Arc::clone(access));
            running.push(Box::pin(async move { sender.run(&access).await }));
        }
        for twin in &self.twins {
            running.extend(Twin::run(twin, access));
        }
        for queue in &self.queues {
            running.extend(Queue::send(queue, access));
        }
        running
    }

    /// Devices take their commands, and a back end the feedback.
    fn receive(&self, access: &Arc<Access>) -> Vec<Running> {
        let mut running: Vec<Running> = Vec::new();
        for queue in &self.queues {
            let (queue, access) = (Arc::clone(queue), Arc::clone(access));
            running.push(Box::pin(async move { queue.receive(&access).await }));
        }
        let (ledger, access) = (Arc::clone(&self.ledger), Arc::clone(access));
        running.push(Box::pin(async move { feedback::run(&ledger, &access).await }));
        running
    }

    /// Has all that is left of commands and feedback worked off; everything that was acknowledged must come to its end.
    pub(crate) async fn finish(&self, access: &Arc<Access>) {
        let mut tasks = tokio::task::JoinSet::new();
        for running in self.receive(access) {
            tasks.spawn(running);
        }
        let working = async {
            let mut back_end = BackEnd::connect(access).await.unwrap();
            loop {
                let mut depths = 0;
                for queue in &self.queues {
                    depths += queue.depth(&mut back_end).await;
                }
                if depths == 0 && self.ledger.unsettled().is_none() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            done = tokio::time::timeout(PATIENCE, working) => assert!(
                done.is_ok(),
                "this command was not brought to its end: {:?}",
                self.ledger.unsettled()
            ),
            Some(ended) = tasks.join_next() => panic!("a connection ended: {ended:?}"),
        }
        tasks.shutdown().await;
    }

    /// What was done, in numbers.
    pub(crate) fn told(&self) -> String {
        let (mut reported, mut desired) = (0, 0);
        for twin in &self.twins {
            let counts = twin.acknowledged();
            reported += counts.0;
            desired += counts.1;
        }
        assert!(reported > 0 && desired > 0, "the twins were written");
        format!(
            "{reported} reported and {desired} desired patches acknowledged, {}",
            self.ledger.told()
        )
    }
}

/// As many letters as a number says, below a bound, which tell it from its neighbours.
fn filling(number: u64, bound: u64) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
    let len = usize::try_from(number.wrapping_mul(0x9e37_79b9) % bound).unwrap();
    std::iter::repeat_n(letter, len).collect()
}
