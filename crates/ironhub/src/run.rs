//! Runs the server until it is told to stop.

use std::future::Future;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use server::Ready;
use server::config::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::logging;
use crate::output::note;
use crate::workers::Workers;

/// Runs until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub(crate) fn run(config: Config, on_ready: impl FnOnce(&Ready)) -> Result<(), Failure> {
    logging::start(&config.log)?;
    if !config.allow_core_dumps {
        forbid_core_dumps()?;
    }
    allow_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))?;
    let _workers = Workers::watch(runtime.handle()).map_err(|error| {
        Failure::failed(format!(
            "the watch over the runtime's threads cannot be started: {error}"
        ))
    })?;
    runtime.block_on(async {
        let shutdown = shutdown()?;
        let announced = |ready: &Ready| {
            on_ready(ready);
            notify(sd_notify::NotifyState::Ready);
        };
        server::run(config, shutdown, announced)
            .await
            .map_err(|error| Failure::failed(error.to_string()))
    })
}

/// Keeps the memory of the process, which holds keys, out of core files and away from other processes of its user.
fn forbid_core_dumps() -> Result<(), Failure> {
    let failed = |error| {
        Failure::failed(format!(
            "core files cannot be forbidden: {error}. With allow_core_dumps the server starts all the same, and a core file shows every key \
             that is in memory"
        ))
    };
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(failed)?;
    // The limit above does not hold for programs that cores are piped into.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)
}

/// Takes as many open files as the system lets us have: each connection is one, and the usual limit, 1,024, is kept low for programs
/// that use `select`.
fn allow_open_files() {
    let limits = getrlimit(Resource::Nofile);
    if limits.current == limits.maximum {
        return;
    }
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(limit = ?limits.current, %error, "the limit of open files cannot be raised; it bounds the connections");
    }
}

/// Resolves at the first signal. The handlers are in place when this returns.
fn shutdown() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be received: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        notify(sd_notify::NotifyState::Stopping);
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            note("stopped at once by a second signal; open connections were cut");
            std::process::exit(1);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Tells systemd, when it started us and wants to know.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!("systemd cannot be told the state of the server: {error}");
    }
}
