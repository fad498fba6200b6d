//! The measurements: each puts one server under one kind of load and records what it cost.

pub(crate) mod amqp_load;
pub(crate) mod authorization;
pub(crate) mod commands;
pub(crate) mod connects;
pub(crate) mod desired;
mod disk;
pub(crate) mod https_load;
pub(crate) mod idle;
pub(crate) mod load;
pub(crate) mod methods;
pub(crate) mod multiplexed;
mod pace;
pub(crate) mod paced;
pub(crate) mod reader;
pub(crate) mod registry;
pub(crate) mod reported;
pub(crate) mod revocation;
pub(crate) mod storm;
pub(crate) mod subscribed;
mod window;
pub(crate) mod x509;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{self, Client};
use crate::endpoint::Endpoint;
use crate::failure::Failure;

/// Clients that publish.
const PUBLISHERS: usize = 100;

/// Devices that twins and methods are measured with.
pub(crate) const DEVICES: usize = 100;

/// Services that call over HTTPS, each on a connection of its own.
const CALLERS: usize = 50;

/// A server is under load for so long before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// Connects that run at the same time where their number is not what is measured.
const CONNECTS_AT_ONCE: usize = 32;

/// Connects devices 0 to `count`, all of which have to be let in; gives each with its number, in the order they were let in.
async fn connect_all(endpoint: &Arc<Endpoint>, count: usize) -> Result<Vec<(usize, Client)>, Failure> {
    let gate = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
    let mut tasks = JoinSet::new();
    for device in 0..count {
        let (endpoint, gate) = (Arc::clone(endpoint), Arc::clone(&gate));
        tasks.spawn(async move {
            let _permit = gate.acquire().await;
            (device, client::connect(&endpoint, device).await)
        });
    }
    let mut clients = Vec::with_capacity(count);
    while let Some(result) = tasks.join_next().await {
        let (device, connected) = result.map_err(|error| Failure::environment("a client ended", error))?;
        let refused = |refused| Failure::server(endpoint.name, format!("a client is refused: {refused}"));
        clients.push((device, connected.map_err(refused)?));
    }
    Ok(clients)
}

/// Waits for all tasks, none of which may fail.
async fn joined<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(result) = tasks.join_next().await {
        results.push(result.map_err(|error| Failure::environment("a client ended", error))??);
    }
    Ok(results)
}

/// Waits while the clients of a round work; the first of them that ends, ends the round.
async fn work_for(
    time: Duration,
    clients: &mut JoinSet<Result<(), String>>,
    endpoint: &Endpoint,
) -> Result<(), Failure> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        Some(ended) = clients.join_next() => {
            let why = match ended {
                Ok(Ok(())) => "it stopped".to_owned(),
                Ok(Err(why)) => why,
                Err(error) => error.to_string(),
            };
            Err(Failure::server(endpoint.name, format!("a client broke off: {why}")))
        }
    }
}
