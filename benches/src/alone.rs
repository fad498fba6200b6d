//! What is measured without mosquitto, which has no such thing: each part on a hub and a data folder of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::devices;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::plan::{PAUSE, Part, Sizes, runtime};
use crate::report::Report;
use crate::rounds::{
    DEVICES, amqp_load, authorization, commands, desired, https_load, load, methods, multiplexed, reader,
    reported, revocation, subscribed, x509,
};
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
            Part::Transports => self.measure_transports(report),
            Part::Multiplexed => self.measure_multiplexed(report),
            Part::X509 => {
                let sizes = (self.sizes.window, self.sizes.rounds);
                x509::measure(self.program, self.folder, sizes, report)
            }
            Part::Revocation => {
                let sizes = (self.sizes.revoked, self.sizes.rounds);
                revocation::measure(self.program, self.folder, sizes, report)
            }
            Part::Authorization => authorization::measure(self.folder, self.sizes.rounds, report),
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

    /// One transport after the other on one server, so that each message meets the same disk and the same registry.
    fn measure_transports(&self, report: &mut Report) -> Result<(), Failure> {
        let data_dir = self.data_dir("transports");
        self.create(&data_dir, DEVICES)?;
        let hub = Arc::new(Ironhub::start(self.program, &data_dir)?);
        let time = self.sizes.window;
        for round in 0..self.sizes.rounds {
            eprintln!("transports, round {}", round + 1);
            let metrics = |rate, cpu| load::Metrics { rate, cpu };
            let mqtt = metrics(Metric::MqttRate, Metric::MqttCpu);
            let mqtt = runtime(1)?.block_on(load::measure(&hub.running, time, mqtt, report))?;
            std::thread::sleep(PAUSE);
            let amqp = metrics(Metric::AmqpRate, Metric::AmqpCpu);
            let amqp = runtime(1)?.block_on(amqp_load::measure(&hub, time, amqp, report))?;
            report.record(NAME, Metric::AmqpByMqtt, amqp / mqtt);
            std::thread::sleep(PAUSE);
            let https = metrics(Metric::HttpsRate, Metric::HttpsCpu);
            let https = runtime(1)?.block_on(https_load::measure(&hub, time, https, report))?;
            report.record(NAME, Metric::HttpsByMqtt, https / mqtt);
            std::thread::sleep(PAUSE);
        }
        stop(hub)
    }

    fn measure_multiplexed(&self, report: &mut Report) -> Result<(), Failure> {
        let data_dir = self.data_dir("multiplexed");
        self.create(&data_dir, usize::from(multiplexed::REGISTERED))?;
        for round in 0..self.sizes.rounds {
            eprintln!("multiplexed devices, round {}", round + 1);
            let hub = Arc::new(Ironhub::start(self.program, &data_dir)?);
            std::thread::sleep(PAUSE);
            runtime(2)?.block_on(multiplexed::measure(&hub, report))?;
            stop(hub)?;
        }
        Ok(())
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

/// The runtime of a round has ended, and its clients with it.
fn stop(hub: Arc<Ironhub>) -> Result<(), Failure> {
    match Arc::into_inner(hub) {
        Some(hub) => hub.running.stop(),
        None => Err(Failure::Environment("a client is left over".to_owned())),
    }
}
