//! Simulated devices: each a connection of its own, over MQTT and TLS as real ones, with acknowledged messages.
//!
//! The devices are let in by the policy of the service connection string, so that nothing about a device that exists already is
//! changed. Refused: keys derived from their ids, which would overwrite the keys of such devices.

mod conversation;
mod device;
mod latency;
mod packets;

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub::clock::{Clock as _, SystemClock};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{note, printable};
pub(crate) use conversation::Roles;
use latency::Histogram;
pub(crate) use latency::Summary;

/// Most entries of a bulk request (service-rest.md 4.6).
const BULK_MAX: usize = 100;

/// Handshakes under way at one time: a server bounds them too.
const HANDSHAKES_MAX: usize = 16;

/// What is to be simulated.
pub(crate) struct Plan {
    /// Ids of the devices.
    pub(crate) ids: Vec<String>,
    /// Time between two messages of a device.
    pub(crate) interval: Duration,
    /// Size of a message.
    pub(crate) body_bytes: usize,
    /// How long; none for until it is stopped.
    pub(crate) duration: Option<Duration>,
    /// What the devices do beside sending.
    pub(crate) roles: Roles,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) devices: usize,
    pub(crate) seconds: f64,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) acknowledged_per_second: f64,
    pub(crate) failed_connections: u64,
    pub(crate) properties_reported: u64,
    pub(crate) desired_answered: u64,
    pub(crate) refused_requests: u64,
    pub(crate) methods_answered: u64,
    pub(crate) commands_taken: u64,
    pub(crate) latency_millis: Summary,
    pub(crate) last_error: Option<String>,
}

/// What the devices share.
struct Shared {
    client: Client,
    mqtt_port: u16,
    clock: SystemClock,
    interval: Duration,
    body_bytes: usize,
    roles: Roles,
    handshakes: Semaphore,
    tally: Tally,
}

/// What is counted.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    failed_connections: AtomicU64,
    // Reports of the devices' own that the twin took.
    properties_reported: AtomicU64,
    // Desired changes that were reported back, and that the twin took.
    desired_answered: AtomicU64,
    // Requests that the twin refused.
    refused_requests: AtomicU64,
    methods_answered: AtomicU64,
    commands_taken: AtomicU64,
    latency: Mutex<Histogram>,
    last_error: Mutex<Option<String>>,
}

impl Tally {
    fn count_acknowledged(&self, latency: Duration) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(latency);
    }

    fn count_failure(&self, error: &str) {
        self.failed_connections.fetch_add(1, Ordering::Relaxed);
        self.keep_error(error);
    }

    fn count_refused_request(&self, error: &str) {
        self.refused_requests.fetch_add(1, Ordering::Relaxed);
        self.keep_error(error);
    }

    fn keep_error(&self, error: &str) {
        let text = printable(error);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

/// Simulates until the time is over or Ctrl-C is pressed.
pub(crate) async fn run(context: &Context, plan: Plan) -> Result<Report, Failure> {
    let client = Client::new(context)?;
    create(&client, &plan.ids).await?;
    let shared = Arc::new(Shared {
        client,
        mqtt_port: context.ports.mqtt.unwrap_or(server::config::MQTT_PORT),
        clock: SystemClock::new(),
        interval: plan.interval,
        body_bytes: plan.body_bytes,
        roles: plan.roles,
        handshakes: Semaphore::new(HANDSHAKES_MAX),
        tally: Tally::default(),
    });
    let (stop, stopped) = watch::channel(false);
    let started = shared.clock.elapsed();
    let devices = plan.ids.len();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, id) in plan.ids.into_iter().enumerate() {
        // The devices send one after the other, not all in the same instant.
        let share =
            f64::from(u32::try_from(number).unwrap_or(0)) / f64::from(u32::try_from(devices).unwrap_or(1));
        let offset = plan.interval.mul_f64(share);
        tasks.spawn(device::run(Arc::clone(&shared), id, offset, stopped.clone()));
    }
    wait(&shared, plan.duration).await;
    let elapsed = shared.clock.elapsed().saturating_sub(started);
    // Every device drops its receiver when it ends; none is left when the send fails.
    let _ = stop.send(true);
    while tasks.join_next().await.is_some() {}
    Ok(report(&shared.tally, devices, elapsed))
}

/// Creates the devices that do not exist.
async fn create(client: &Client, ids: &[String]) -> Result<(), Failure> {
    for ids in ids.chunks(BULK_MAX) {
        let entry =
            |id: &String| json!({ "id": id, "importMode": "create", "authentication": { "type": "sas" } });
        let result = client.bulk(&ids.iter().map(entry).collect()).await?;
        let empty = Vec::new();
        let errors = result.get("errors").and_then(Value::as_array).unwrap_or(&empty);
        let code = |error: &Value| error.get("errorCode").map(Value::to_string).unwrap_or_default();
        if let Some(error) = errors
            .iter()
            .find(|error| !code(error).contains("DeviceAlreadyExists"))
        {
            let text = printable(&error.to_string());
            return Err(Failure::failed(format!("the devices cannot be created: {text}")));
        }
    }
    Ok(())
}

/// Waits for the end, and shows progress when somebody is watching.
async fn wait(shared: &Shared, duration: Option<Duration>) {
    let end = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = end => {}
        () = interrupted => {}
        () = progress(&shared.tally) => {}
    }
}

async fn progress(tally: &Tally) {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let acknowledged = tally.acknowledged.load(Ordering::Relaxed);
        note(&format!(
            "{acknowledged} acknowledged, {} in the last second",
            acknowledged - before
        ));
        before = acknowledged;
    }
}

fn report(tally: &Tally, devices: usize, elapsed: Duration) -> Report {
    let acknowledged = tally.acknowledged.load(Ordering::Relaxed);
    let seconds = elapsed.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let acknowledged_per_second = if seconds > 0.0 {
        acknowledged as f64 / seconds
    } else {
        0.0
    };
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Report {
        devices,
        seconds,
        sent: count(&tally.sent),
        acknowledged,
        acknowledged_per_second,
        failed_connections: count(&tally.failed_connections),
        properties_reported: count(&tally.properties_reported),
        desired_answered: count(&tally.desired_answered),
        refused_requests: count(&tally.refused_requests),
        methods_answered: count(&tally.methods_answered),
        commands_taken: count(&tally.commands_taken),
        latency_millis: tally
            .latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .summary(),
        last_error: tally
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
    }
}
