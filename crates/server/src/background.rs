//! What a server does by itself while it runs: writing behind, ending what is due, reading again, sealing again.

use std::sync::Arc;
use std::time::Duration;

use hub::trust::revocation::Revocation;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::config::Mode;
use crate::tls::CertificateFiles;

/// How often presence is written behind.
const PRESENCE_FLUSH_PERIOD: Duration = Duration::from_secs(1);

/// How often commands and feedback are looked through for what is due.
const COMMAND_SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// How often blocks that became no file are looked for.
const BLOB_SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How often the audit trails are looked through for entries that are over age or count.
const TRAIL_SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How often the answers of OCSP responders are looked through for what is due.
const ANSWER_REFRESH_PERIOD: Duration = Duration::from_secs(1);

/// How often the files of certificates are looked at. What changed is taken when it has not changed further by the next look.
const CERTIFICATE_LOOK_PERIOD: Duration = Duration::from_secs(5);

/// How often revocation lists are looked through for what is due.
const LIST_REFRESH_PERIOD: Duration = Duration::from_secs(1);

/// How often it is written what logins showed: a crash forgets as much at most.
const OBSERVED_PERIOD: Duration = Duration::from_secs(600);

/// The tasks of a running server.
pub(crate) struct Background(Vec<JoinHandle<()>>);

impl Background {
    /// Ends them where they stand: each begins again with the next start.
    pub(crate) fn stop(self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts them.
pub(crate) fn start(app: &Arc<App>, mode: Mode) -> Background {
    let mut tasks = vec![
        tokio::spawn(flush_presence(Arc::clone(app))),
        tokio::spawn(sweep_commands(Arc::clone(app))),
        tokio::spawn(sweep_blobs(Arc::clone(app))),
        tokio::spawn(reseal(Arc::clone(app))),
        tokio::spawn(sweep_trails(Arc::clone(app))),
        tokio::spawn(keep_observed(Arc::clone(app))),
    ];
    if let Some(files) = app.certificates.get() {
        tasks.push(tokio::spawn(keep_certificates(
            Arc::clone(app),
            Arc::clone(files),
            mode,
        )));
    }
    let hubs = app.hubs.all();
    let refreshers = hubs.iter().map(|hub| refresh_lists(Arc::clone(hub.revocation())));
    tasks.extend(refreshers.map(tokio::spawn));
    let askers = hubs
        .iter()
        .map(|hub| refresh_answers(Arc::clone(hub.revocation())));
    tasks.extend(askers.map(tokio::spawn));
    Background(tasks)
}

/// Writes presence behind.
async fn flush_presence(app: Arc<App>) {
    let mut period = tokio::time::interval(PRESENCE_FLUSH_PERIOD);
    loop {
        period.tick().await;
        if let Err(error) = app.presences.flush().await {
            tracing::warn!(%error, "connection times were not written; trying again");
        }
    }
}

/// Reads certificates again when their files change, and in production also when SIGHUP says so: in development the terminal sends it
/// when it is closed, and the server shall end with it.
async fn keep_certificates(app: Arc<App>, files: Arc<CertificateFiles>, mode: Mode) {
    let mut hangup = match mode {
        Mode::Development => None,
        Mode::Production => match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be received; certificates are read again when their files change");
                None
            }
        },
    };
    let mut period = tokio::time::interval(CERTIFICATE_LOOK_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_told = match &mut hangup {
            None => {
                period.tick().await;
                false
            }
            Some(hangup) => tokio::select! {
                told = hangup.recv() => told.is_some(),
                _ = period.tick() => false,
            },
        };
        let (files, now) = (Arc::clone(&files), app.clock.now());
        let looked = tokio::task::spawn_blocking(move || {
            if is_told {
                files.reload(now);
            } else {
                files.look(now);
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "the files of the certificates were not looked at; trying again");
        }
    }
}

/// Keeps everything sealed under the current master key.
async fn reseal(app: Arc<App>) {
    app.master_keys.serve(&app.hubs).await;
}

/// Ends what is due of commands and feedback: locks, lives. A hub that cannot be worked on does not keep the others from it.
async fn sweep_commands(app: Arc<App>) {
    let mut period = tokio::time::interval(COMMAND_SWEEP_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        app.commands.end_locks();
        for hub in app.hubs.all() {
            let swept = app.commands.expire(hub.name()).await;
            let swept = swept.and(app.feedback.sweep(hub.name()).await);
            if let Err(error) = swept.and(app.files.sweep(hub.name()).await) {
                let detail = error.detail().unwrap_or_else(|| error.message());
                tracing::warn!(hub = %hub.name(), detail, "expired commands, feedback or notifications remain; trying again");
            }
        }
    }
}

/// Reads the revocation lists of a hub again when it is time. A task for each hub: one that waits keeps no other one waiting.
async fn refresh_lists(revocation: Arc<Revocation>) {
    let mut period = tokio::time::interval(LIST_REFRESH_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        revocation.refresh_due().await;
    }
}

/// Asks OCSP responders again about what open connections of a hub stand on. Apart from the lists, which may take long to read.
async fn refresh_answers(revocation: Arc<Revocation>) {
    let mut period = tokio::time::interval(ANSWER_REFRESH_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        revocation.refresh_answers().await;
    }
}

/// Removes blocks of files that nobody finished.
async fn sweep_blobs(app: Arc<App>) {
    let mut period = tokio::time::interval(BLOB_SWEEP_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        for hub in app.hubs.all() {
            if let Err(error) = app.files.sweep_blobs(hub.name()).await {
                let detail = error.detail().unwrap_or_else(|| error.message());
                tracing::warn!(hub = %hub.name(), detail, "blocks of unfinished files remain; trying again");
            }
        }
    }
}

/// Keeps the audit trails within their limits. Their heads are told first: kept with the log, they prove the trails up to there.
async fn sweep_trails(app: Arc<App>) {
    for hub in app.hubs.all() {
        match app.trail.head(hub.name()).await {
            Ok(Some(head)) => tracing::info!(hub = %hub.name(), %head, "the last entry of the audit trail"),
            Ok(None) => {}
            Err(error) => {
                let detail = error.detail().unwrap_or_else(|| error.message());
                tracing::error!(hub = %hub.name(), detail, "the audit trail cannot be read");
            }
        }
    }
    let mut period = tokio::time::interval(TRAIL_SWEEP_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        for hub in app.hubs.all() {
            if let Err(error) = app.trail.sweep(hub.name()).await {
                let detail = error.detail().unwrap_or_else(|| error.message());
                tracing::warn!(hub = %hub.name(), detail, "old entries of the audit trail remain; trying again");
            }
        }
    }
}

/// Writes what logins showed. The server does so once more when it stops.
async fn keep_observed(app: Arc<App>) {
    let mut period = tokio::time::interval(OBSERVED_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        keep_all_observed(&app).await;
    }
}

/// The same, once.
pub(crate) async fn keep_all_observed(app: &App) {
    for hub in app.hubs.all() {
        if let Err(error) = hub.gate().keep_observed().await {
            let detail = error.detail().unwrap_or_else(|| error.message());
            tracing::warn!(hub = %hub.name(), detail, "what logins showed was not written; advice may know less after a restart");
        }
    }
}
