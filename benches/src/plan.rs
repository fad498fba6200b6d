//! What a run does, in which order: rounds alternate between the servers, and who is first changes with every round.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum as _;
use tokio::runtime::{Builder, Runtime};

use crate::alone::Alone;
use crate::certificate::{self, TlsFiles};
use crate::devices;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::peer::Mosquitto;
use crate::report::Report;
use crate::rounds::{connects, idle, load, paced, registry, storm};
use crate::running::Running;
use crate::subject::Ironhub;

/// A server that a round has left gets so long to clean up before the next one is measured.
pub(crate) const PAUSE: Duration = Duration::from_millis(1_500);

/// A part of a run that may be measured without the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Memory of idle connections
    Idle,
    /// Full load
    Load,
    /// Paced load
    Paced,
    /// Connects
    Connects,
    /// Storm of connects
    Storm,
    /// Memory of connections that have subscribed to everything
    Subscribed,
    /// Direct methods
    Methods,
    /// Reported properties
    Reported,
    /// Desired properties
    Desired,
    /// Commands that wait
    Commands,
    /// Reader of the built-in endpoint
    Reader,
    /// Telemetry over AMQP and HTTPS beside that over MQTT
    Transports,
    /// Memory of devices that share AMQP connections
    Multiplexed,
    /// Connects with client certificates, beside a bare TLS server
    X509,
    /// A large revocation list
    Revocation,
    /// Decisions who may do what
    Authorization,
}

impl Part {
    /// Whether the peer is measured beside it.
    fn has_peer(self) -> bool {
        matches!(
            self,
            Self::Idle | Self::Load | Self::Paced | Self::Connects | Self::Storm
        )
    }
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    /// Rounds, of which the median counts.
    pub(crate) rounds: usize,
    /// Length of a measured window.
    pub(crate) window: Duration,
    /// Connections that are weighed.
    pub(crate) idle_connections: usize,
    /// Clients of a storm.
    pub(crate) storm_connections: usize,
    /// Devices with full command queues.
    pub(crate) queue_devices: usize,
    /// Messages that a reader takes.
    pub(crate) reader_messages: usize,
    /// Serial numbers of a revocation list.
    pub(crate) revoked: usize,
    /// Devices of the large registry, when it is measured.
    pub(crate) registry_devices: Option<usize>,
}

/// A run.
pub(crate) struct Plan {
    /// Ironhub's program; without it, mosquitto is measured alone.
    pub(crate) program: Option<PathBuf>,
    /// For all files.
    pub(crate) folder: PathBuf,
    /// The parts of it; none are all.
    pub(crate) only: Vec<Part>,
    /// How much.
    pub(crate) sizes: Sizes,
}

/// The servers of a round.
struct Pair {
    ironhub: Option<Ironhub>,
    mosquitto: Mosquitto,
}

impl Plan {
    /// Runs everything.
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let mut report = Report::default();
        if self.only.is_empty() || self.only.iter().any(|part| part.has_peer()) {
            self.measure_beside_peer(&mut report)?;
        }
        if let Some(program) = &self.program {
            let alone = Alone {
                program,
                folder: &self.folder,
                sizes: &self.sizes,
            };
            for part in Part::value_variants() {
                if self.has(*part) {
                    alone.measure(*part, &mut report)?;
                }
            }
        }
        if let (Some(program), Some(count)) = (&self.program, self.sizes.registry_devices) {
            eprintln!("registry");
            let sizes = (count, self.sizes.rounds);
            registry::measure(program, &self.folder, sizes, &runtime(2)?, &mut report)?;
        }
        Ok(report)
    }

    fn measure_beside_peer(&self, report: &mut Report) -> Result<(), Failure> {
        let tls = self.prepare()?;
        self.measure_empty(&tls, report)?;
        if self.has(Part::Idle) {
            self.measure_idle(&tls, report)?;
        }
        self.measure_work(&tls, report)
    }

    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// The rounds of a part: none when it is left out.
    fn rounds(&self, part: Part) -> std::ops::Range<usize> {
        0..if self.has(part) { self.sizes.rounds } else { 0 }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.join("ironhub")
    }

    fn devices(&self) -> usize {
        self.sizes.idle_connections.max(self.sizes.storm_connections)
    }

    /// Makes the data folder, and with it the certificate of both servers.
    fn prepare(&self) -> Result<TlsFiles, Failure> {
        let Some(program) = &self.program else {
            return certificate::make(&self.folder);
        };
        let ironhub = Ironhub::start(program, &self.data_dir())?;
        let tls = ironhub.tls_files.clone();
        ironhub.running.stop()?;
        Ok(tls)
    }

    /// Start and weight of servers without devices; afterwards there are devices.
    fn measure_empty(&self, tls: &TlsFiles, report: &mut Report) -> Result<(), Failure> {
        eprintln!("empty servers");
        for round in 0..self.sizes.rounds {
            let pair = self.start(tls)?;
            std::thread::sleep(PAUSE);
            let starts = pair
                .ironhub
                .iter()
                .map(|ironhub| (&ironhub.running, ironhub.start));
            for (running, start) in starts.chain([(&pair.mosquitto.running, pair.mosquitto.start)]) {
                report.record(running.name(), Metric::StartMillis, start.as_secs_f64() * 1e3);
                let bytes = running.process().resident_bytes()? as f64;
                report.record(running.name(), Metric::EmptyMib, bytes / 1_048_576.0);
            }
            if let (Some(ironhub), true) = (&pair.ironhub, round + 1 == self.sizes.rounds) {
                runtime(2)?.block_on(devices::create(&ironhub.service, self.devices()))?;
            }
            pair.stop()?;
        }
        Ok(())
    }

    /// Fresh servers in every round: memory that an allocator keeps from the round before would not show.
    fn measure_idle(&self, tls: &TlsFiles, report: &mut Report) -> Result<(), Failure> {
        for round in 0..self.sizes.rounds {
            eprintln!("idle connections, round {}", round + 1);
            let pair = self.start(tls)?;
            for running in pair.in_turn(round) {
                runtime(2)?.block_on(idle::measure(running, self.sizes.idle_connections, report))?;
                std::thread::sleep(PAUSE);
            }
            pair.stop()?;
        }
        Ok(())
    }

    fn measure_work(&self, tls: &TlsFiles, report: &mut Report) -> Result<(), Failure> {
        let pair = self.start(tls)?;
        let window = self.sizes.window;
        for round in self.rounds(Part::Load) {
            eprintln!("full load, round {}", round + 1);
            for running in pair.in_turn(round) {
                // One thread sends: the server has the other core for itself.
                let metrics = load::Metrics {
                    rate: Metric::LoadRate,
                    cpu: Metric::LoadCpu,
                };
                runtime(1)?.block_on(load::measure(running, window, metrics, report))?;
                std::thread::sleep(PAUSE);
            }
        }
        for round in self.rounds(Part::Paced) {
            eprintln!("paced load, round {}", round + 1);
            for running in pair.in_turn(round) {
                runtime(1)?.block_on(paced::measure(running, window, report))?;
                std::thread::sleep(PAUSE);
            }
        }
        for round in self.rounds(Part::Connects) {
            eprintln!("connects, round {}", round + 1);
            self.measure_connects(&pair, round, report)?;
        }
        for round in self.rounds(Part::Storm) {
            eprintln!("storm, round {}", round + 1);
            for running in pair.in_turn(round) {
                runtime(2)?.block_on(storm::measure(running, self.sizes.storm_connections, report))?;
                std::thread::sleep(PAUSE);
            }
        }
        pair.stop()
    }

    fn measure_connects(&self, pair: &Pair, round: usize, report: &mut Report) -> Result<(), Failure> {
        let sizes = (self.sizes.window, self.devices());
        let servers: Vec<_> = pair
            .in_turn(round)
            .into_iter()
            .map(|running| (running.endpoint(), running.process()))
            .collect();
        let metrics = connects::Metrics {
            per_cpu_sec: Metric::ConnectsPerCpu,
            rate: Some(Metric::ConnectRate),
        };
        connects::measure(&servers, sizes, &metrics, report)?;
        std::thread::sleep(PAUSE);
        if let Some(ironhub) = &pair.ironhub {
            let metrics = connects::Metrics {
                per_cpu_sec: Metric::DeviceKeyConnectsPerCpu,
                rate: None,
            };
            let endpoint = Arc::new(ironhub.with_device_keys());
            let server = (&endpoint, ironhub.running.process());
            connects::measure(&[server], sizes, &metrics, report)?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn start(&self, tls: &TlsFiles) -> Result<Pair, Failure> {
        let start = |program: &PathBuf| Ironhub::start(program, &self.data_dir());
        Ok(Pair {
            ironhub: self.program.as_ref().map(start).transpose()?,
            mosquitto: Mosquitto::start(self.folder.as_path(), tls)?,
        })
    }
}

impl Pair {
    /// Both, Ironhub first in even rounds.
    fn in_turn(&self, round: usize) -> Vec<&Running> {
        let mut servers: Vec<&Running> = self.ironhub.iter().map(|ironhub| &ironhub.running).collect();
        servers.push(&self.mosquitto.running);
        if !round.is_multiple_of(2) {
            servers.reverse();
        }
        servers
    }

    fn stop(self) -> Result<(), Failure> {
        if let Some(ironhub) = self.ironhub {
            ironhub.running.stop()?;
        }
        self.mosquitto.running.stop()
    }
}

/// A runtime of its own for each measurement: its end closes whatever the measurement left open.
pub(crate) fn runtime(threads: usize) -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::environment("starting threads", error))
}

/// Whether so many files may be open at a time.
pub(crate) fn check_open_files(connections: usize) -> Result<(), Failure> {
    /// Files of a process besides its connections.
    const OTHERS: u64 = 200;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let needed = connections as u64 + OTHERS;
    match limit {
        Some(limit) if limit < needed => {
            let what = format!("{limit} open files are allowed, {needed} are needed: raise `ulimit -n`");
            Err(Failure::Environment(what))
        }
        _ => Ok(()),
    }
}

/// Where a run keeps its files: beside the program, which is a real disk where `/tmp` may not be.
pub(crate) fn folder() -> Result<tempfile::TempDir, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::environment("finding a folder", error))?;
    let beside = program.parent().unwrap_or_else(|| Path::new("."));
    tempfile::Builder::new()
        .prefix("broker-bench-")
        .tempdir_in(beside)
        .map_err(|error| Failure::environment("making a folder", error))
}
