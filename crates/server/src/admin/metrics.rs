//! Metrics in the `OpenMetrics` text format. Everything that is counted is counted where it happens, in plain numbers; here they get
//! their names, all in this file.

use std::fmt::Error;

use engines::segment::SYNC_BUCKET_BOUNDS_MICROS;
use hub::clock::Timestamp;
use hub::limits::Limit;
use hub::log::LogHealth;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::app::App;

/// All metrics of the server.
pub(super) fn text(app: &App) -> Result<String, Error> {
    // A snapshot that lives for one scrape; the library's registry wants owned collectors.
    let mut registry = Registry::with_prefix("ironhub");
    registry.register_collector(Box::new(Snapshot::take(app)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

type Labels = Vec<(&'static str, String)>;

/// A named number.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
    samples: Vec<(Labels, f64)>,
}

#[derive(Debug)]
struct Snapshot {
    families: Vec<Family>,
}

impl Snapshot {
    fn take(app: &App) -> Self {
        let mut snapshot = Self { families: Vec::new() };
        snapshot.server(app);
        snapshot.connections(app);
        snapshot.certificates(app);
        snapshot.revocation(app);
        snapshot.logs(app);
        snapshot.store(app);
        snapshot.limits(app);
        snapshot
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, samples: Vec<(Labels, f64)>) {
        self.families.push(Family {
            name,
            help,
            is_counter: false,
            samples,
        });
    }

    fn counter(&mut self, name: &'static str, help: &'static str, samples: Vec<(Labels, f64)>) {
        self.families.push(Family {
            name,
            help,
            is_counter: true,
            samples,
        });
    }

    fn server(&mut self, app: &App) {
        let uptime = app.clock.now().since(app.started).as_secs_f64();
        self.gauge(
            "uptime_seconds",
            "Time since the server started",
            vec![(Vec::new(), uptime)],
        );
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.gauge("build_info", "The version that runs", vec![(version, 1.0)]);
    }

    fn connections(&mut self, app: &App) {
        let hubs = app.hubs.all();
        let of_hub = |count: &dyn Fn(&hub::hub::Hub) -> usize| {
            hubs.iter()
                .map(|hub| (hub_label(hub.name().as_str()), float(count(hub))))
                .collect()
        };
        self.gauge(
            "connected_devices",
            "Devices that are connected",
            of_hub(&|hub| app.bus.held_devices(hub.name())),
        );
        self.gauge(
            "readers",
            "Readers of the event log",
            of_hub(&|hub| hub.readers().count()),
        );
        let (waiting, evicted) = app.strangers.counts();
        self.gauge(
            "unauthenticated_connections",
            "Connections that have not proven who they are",
            vec![(Vec::new(), float(waiting))],
        );
        self.counter(
            "unauthenticated_connections_evicted",
            "Connections that had to make room before they had proven who they are",
            vec![(Vec::new(), whole(evicted))],
        );
        let records = app.records.totals();
        let samples = records.into_iter().map(|((kind, protocol, reason), count)| {
            let labels = vec![
                ("kind", kind.label().to_owned()),
                ("protocol", protocol.to_owned()),
                ("reason", reason.to_owned()),
            ];
            (labels, whole(count))
        });
        let samples = samples.collect();
        self.counter(
            "connection_records",
            "Connections that were let in, refused and closed, by reason",
            samples,
        );
    }

    fn certificates(&mut self, app: &App) {
        let Some(files) = app.certificates.get() else {
            return;
        };
        let samples = files.status().into_iter().filter_map(|certificate| {
            let labels = vec![
                ("hub", certificate.hub.unwrap_or_default()),
                ("file", certificate.file.display().to_string()),
            ];
            let expires = certificate.expires?.since(Timestamp::from_secs(0));
            Some((labels, expires.as_secs_f64()))
        });
        let samples = samples.collect();
        self.gauge(
            "certificate_expiry_timestamp_seconds",
            "When a certificate of the server expires, in seconds since 1970; hub is empty for those of all hubs",
            samples,
        );
        let result = |result: &str| vec![("result", result.to_owned())];
        let (loaded, refused) = files.counts();
        self.counter(
            "certificate_reloads",
            "Changed certificates that were taken, and that were refused so that the one before stayed in use",
            vec![(result("loaded"), whole(loaded)), (result("refused"), whole(refused))],
        );
    }

    fn revocation(&mut self, app: &App) {
        let now = app.clock.now();
        let (mut blocks, mut refused, mut loads) = (Vec::new(), Vec::new(), Vec::new());
        let (mut entries, mut ages, mut current, mut memory) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut asked, mut answers) = (Vec::new(), Vec::new());
        for hub in app.hubs.all() {
            let revocation = hub.revocation();
            let label = || hub_label(hub.name().as_str());
            let with = |name: &'static str, value: &str| [label(), vec![(name, value.to_owned())]].concat();
            blocks.push((label(), float(revocation.block_count())));
            refused.extend(
                revocation
                    .refusals()
                    .map(|(cause, count)| (with("cause", cause), whole(count))),
            );
            let (loaded, failed) = revocation.loads();
            loads.push((with("result", "loaded"), whole(loaded)));
            loads.push((with("result", "failed"), whole(failed)));
            for status in revocation.responders() {
                let labels = |name, value: &str| {
                    let responder = with("responder", status.definition.name.as_str());
                    [responder, vec![(name, value.to_owned())]].concat()
                };
                let (taken, failed) = status.counts;
                asked.push((labels("result", "taken"), whole(taken)));
                asked.push((labels("result", "failed"), whole(failed)));
                answers.push((labels("kind", "kept"), float(status.answers)));
                answers.push((labels("kind", "watched"), float(status.watched)));
            }
            for status in revocation.lists() {
                let labels = with("list", status.definition.name.as_str());
                let list = status.list.as_deref();
                let is_current = list.is_some_and(|list| !list.is_expired(now));
                current.push((labels.clone(), f64::from(u8::from(is_current))));
                if let Some(list) = list {
                    entries.push((labels.clone(), float(list.entry_count())));
                    memory.push((labels.clone(), float(list.memory_bytes())));
                    ages.push((labels, now.since(list.this_update).as_secs_f64()));
                }
            }
        }
        self.counter(
            "ocsp_questions",
            "Questions to an OCSP responder, by whether an answer was taken",
            asked,
        );
        self.gauge(
            "ocsp_answers",
            "Answers of an OCSP responder that are kept, and those of them that an open connection stands on",
            answers,
        );
        self.gauge("revocation_blocks", "Entries of the block list", blocks);
        self.counter(
            "revocation_refusals",
            "Certificate paths that were refused as revoked, or whose status was not known, by cause",
            refused,
        );
        self.counter(
            "revocation_list_loads",
            "Revocation lists that were loaded, and looks that failed",
            loads,
        );
        self.gauge(
            "revocation_list_current",
            "Whether a revocation list is loaded and has not expired",
            current,
        );
        self.gauge("revocation_list_entries", "Entries of a revocation list", entries);
        self.gauge(
            "revocation_list_memory_bytes",
            "Memory of a revocation list",
            memory,
        );
        self.gauge(
            "revocation_list_age_seconds",
            "Time since a revocation list was issued",
            ages,
        );
    }

    fn logs(&mut self, app: &App) {
        let stats: Vec<_> = app
            .logs
            .iter()
            .map(|(hub, log)| (hub_label(hub.as_str()), log.stats()))
            .collect();
        let each = |value: &dyn Fn(&engines::segment::Stats) -> u64| {
            stats
                .iter()
                .map(|(labels, stats)| (labels.clone(), whole(value(stats))))
                .collect::<Vec<_>>()
        };
        self.counter(
            "log_records",
            "Messages made durable",
            each(&|stats| stats.appended_records),
        );
        self.counter(
            "log_record_bytes",
            "Bytes of messages made durable",
            each(&|stats| stats.appended_bytes),
        );
        self.counter(
            "log_written_bytes",
            "Bytes written to the event log",
            each(&|stats| stats.written_bytes),
        );
        self.counter(
            "log_commits",
            "Writes and syncs of the event log",
            each(&|stats| stats.commits),
        );
        self.counter(
            "log_full",
            "Attempts to write that found the disk full",
            each(&|stats| stats.full),
        );
        self.counter(
            "log_refused_appends",
            "Appends that were refused",
            each(&|stats| stats.refused_appends),
        );
        self.counter(
            "log_damage",
            "Damaged places met in the event log",
            each(&|stats| stats.damage),
        );
        self.counter(
            "log_segments_deleted",
            "Segments that retention deleted",
            each(&|stats| stats.deleted_segments),
        );
        self.gauge(
            "log_queue_bytes",
            "Bytes that wait to be written",
            each(&|stats| stats.queue_bytes),
        );
        self.gauge("log_segments", "Segment files", each(&|stats| stats.segments));
        self.gauge(
            "log_disk_bytes",
            "Bytes of segment files",
            each(&|stats| stats.disk_bytes),
        );
        self.log_commits(&stats);
        let healthy = app.logs.iter().map(|(hub, log)| {
            let writable = *hub::log::Log::health(&**log).borrow() == LogHealth::Writable;
            (hub_label(hub.as_str()), f64::from(u8::from(writable)))
        });
        let healthy = healthy.collect();
        self.gauge("log_writable", "Whether messages can be made durable", healthy);
    }

    /// How long commits of the logs take, and how long the next ones wait.
    fn log_commits(&mut self, stats: &[(Labels, engines::segment::Stats)]) {
        let seconds = |micros: u64| whole(micros) / 1_000_000.0;
        let delay = stats
            .iter()
            .map(|(labels, stats)| (labels.clone(), seconds(stats.delay_micros)))
            .collect();
        self.gauge(
            "log_commit_delay_seconds",
            "How long the next commit waits for more messages",
            delay,
        );
        let total = stats
            .iter()
            .map(|(labels, stats)| (labels.clone(), seconds(stats.sync_micros_total)))
            .collect();
        self.counter("log_commit_seconds", "Time spent in writes and syncs", total);
        let mut buckets = Vec::new();
        for (labels, stats) in stats {
            let mut count = 0;
            for (at, bucket) in stats.sync_buckets.iter().enumerate() {
                count += bucket;
                let bound = SYNC_BUCKET_BOUNDS_MICROS
                    .get(at)
                    .map(|micros| seconds(*micros).to_string());
                let mut labels = labels.clone();
                labels.push(("le", bound.unwrap_or_else(|| "+Inf".to_owned())));
                buckets.push((labels, whole(count)));
            }
        }
        self.counter(
            "log_commit_duration_bucket",
            "Commits that took at most so long, in seconds",
            buckets,
        );
    }

    fn store(&mut self, app: &App) {
        let stats = app.store.stats();
        let one = |value: u64| vec![(Vec::new(), whole(value))];
        self.counter(
            "store_batches",
            "Batches of writes applied to the document store",
            one(stats.applied),
        );
        self.counter(
            "store_conflicts",
            "Batches that met another writer",
            one(stats.conflicts),
        );
        self.counter(
            "store_commits",
            "Transactions of the document store",
            one(stats.commits),
        );
        self.counter("store_full", "Batches that found no room", one(stats.full));
        self.gauge(
            "store_queue_bytes",
            "Bytes that wait to be written",
            one(stats.queue_bytes),
        );
    }

    fn limits(&mut self, app: &App) {
        let label = |limit: &Limit| vec![("limit", limit.name().to_owned())];
        let hits = Limit::ALL
            .iter()
            .map(|limit| (label(limit), whole(app.limits.hits(*limit))))
            .collect();
        self.counter("limit_hits", "How often a limit was hit", hits);
    }
}

fn hub_label(hub: &str) -> Labels {
    vec![("hub", hub.to_owned())]
}

fn float(count: usize) -> f64 {
    whole(u64::try_from(count).unwrap_or(u64::MAX))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "metrics are floating point numbers; 2^53 is enough for a count"
)]
fn whole(count: u64) -> f64 {
    count as f64
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for family in &self.families {
            let kind = if family.is_counter {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    encode_sample(family.is_counter, *value, &mut metric)?;
                } else {
                    let labels = Pairs(labels);
                    encode_labelled(family.is_counter, *value, metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn encode_sample(
    is_counter: bool,
    value: f64,
    metric: &mut prometheus_client::encoding::MetricEncoder<'_>,
) -> Result<(), Error> {
    if is_counter {
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    } else {
        metric.encode_gauge(&value)
    }
}

fn encode_labelled(
    is_counter: bool,
    value: f64,
    metric: prometheus_client::encoding::MetricEncoder<'_>,
) -> Result<(), Error> {
    if is_counter {
        ConstCounter::new(value).encode(metric)
    } else {
        ConstGauge::new(value).encode(metric)
    }
}

/// Labels, as the library wants them.
#[derive(Debug)]
struct Pairs<'l>(&'l Labels);

impl prometheus_client::encoding::EncodeLabelSet for Pairs<'_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>) -> Result<(), Error> {
        use prometheus_client::encoding::{EncodeLabelKey, EncodeLabelValue};
        for (name, value) in self.0 {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            EncodeLabelKey::encode(name, &mut key)?;
            let mut text = key.encode_label_value()?;
            EncodeLabelValue::encode(&value.as_str(), &mut text)?;
            text.finish()?;
        }
        Ok(())
    }
}
