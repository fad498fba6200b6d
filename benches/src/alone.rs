//! What is measured of Ironhub alone, because the peer has no such thing: each part on a hub and a data folder of its own.

use std::path::{Path, PathBuf};

use crate::devices;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::plan::{PAUSE, Part, Sizes, runtime};
use crate::report::Report;
use crate::rounds::{DEVICES, commands, desired, methods, reader, reported, subscribed};
use crate::subject::{Ironhub, NAME};

/// The program, and where its data folders are made.
pub(crate) struct Alone<'a> {
    /// Ironhub's program.
    pub(crate) program: &'a Path,
    /// For the data folders.
    pub(crate) folder: &'a Path,
    /// How much.
    pub(crate) sizes: &'a Sizes,
}

impl Alone<'_> {
    /// Measures a part in all its rounds; one that has a peer is none of ours.
    pub(crate) fn measure(&self, part: Part, report: &mut Report) -> Result<(), Failure> {
        match part {
            Part::Subscribed => self.measure_subscribed(report),
            Part::Methods | Part::Reported | Part::Desired => self.measure_conversation(part, report),
            Part::Commands => self.measure_commands(report),
            Part::Reader => self.measure_reader(report),
            Part::Idle | Part::Load | Part::Paced | Part::Connects | Part::Storm => Ok(()),
        }
    }

    /// A fresh server for each weighing, as for the connections of the telemetry benchmark.
    fn measure_subscribed(&self, report: &mut Report) -> Result<(), Failure> {
        let data_dir = self.data_dir("subscribed");
        self.create(&data_dir, self.sizes.idle_connections)?;
        for round in 0..self.sizes.rounds {
            eprintln!("subscribed connections, round {}", round + 1);
            let mut weigh = |wants| {
                let hub = Ironhub::start(self.program, &data_dir)?;
                std::thread::sleep(PAUSE);
                let count = self.sizes.idle_connections;
                let each = runtime(2)?.block_on(subscribed::measure(&hub, count, wants, report))?;
                hub.running.stop().map(|()| each)
            };
            let (without, with) = (
                weigh(subscribed::Wants::Nothing)?,
                weigh(subscribed::Wants::Everything)?,
            );
            report.record(NAME, Metric::SubscriptionsKib, with - without);
        }
        Ok(())
    }

    fn measure_conversation(&self, part: Part, report: &mut Report) -> Result<(), Failure> {
        let data_dir = self.data_dir(&format!("{part:?}").to_lowercase());
        self.create(&data_dir, DEVICES)?;
        let hub = Ironhub::start(self.program, &data_dir)?;
        for round in 0..self.sizes.rounds {
            eprintln!("{part:?}, round {}", round + 1);
            // One thread for services and devices: the server has the other core for itself.
            let runtime = runtime(1)?;
            match part {
                Part::Methods => runtime.block_on(methods::measure(&hub, self.sizes.window, report))?,
                Part::Reported => runtime.block_on(reported::measure(&hub, self.sizes.window, report))?,
                _ => runtime.block_on(desired::measure(&hub, self.sizes.window, report))?,
            }
            drop(runtime);
            std::thread::sleep(PAUSE);
        }
        hub.running.stop()
    }

    fn measure_commands(&self, report: &mut Report) -> Result<(), Failure> {
        for round in 0..self.sizes.rounds {
            eprintln!("commands, round {}", round + 1);
            let data_dir = self.data_dir(&format!("commands-{round}"));
            let count = self.sizes.queue_devices;
            commands::measure(self.program, &data_dir, count, &runtime(2)?, report)?;
        }
        Ok(())
    }

    fn measure_reader(&self, report: &mut Report) -> Result<(), Failure> {
        let data_dir = self.data_dir("reader");
        self.create(&data_dir, DEVICES)?;
        let hub = Ironhub::start(self.program, &data_dir)?;
        eprintln!("reader: the log is filled");
        let messages = runtime(1)?.block_on(reader::fill(&hub, self.sizes.reader_messages))?;
        for round in 0..self.sizes.rounds {
            eprintln!("reader, round {}", round + 1);
            runtime(1)?.block_on(reader::measure(&hub, messages, report))?;
            std::thread::sleep(PAUSE);
        }
        hub.running.stop()
    }

    fn data_dir(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Creates devices with a server of its own, so that the one that is measured has only read them.
    fn create(&self, data_dir: &Path, count: usize) -> Result<(), Failure> {
        let hub = Ironhub::start(self.program, data_dir)?;
        runtime(2)?.block_on(devices::create(&hub.service, count))?;
        hub.running.stop()
    }
}
