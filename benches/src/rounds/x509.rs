//! Connects with client certificates, beside a server that checks them and does nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::connects;
use crate::endpoint::{Credentials, Endpoint};
use crate::failure::Failure;
use crate::fleet::{Fleet, Half};
use crate::metric::Metric;
use crate::plan::{PAUSE, runtime};
use crate::report::Report;
use crate::running::Running;
use crate::subject::Ironhub;
use crate::{bare_tls, devices};

/// Devices of each half of the fleet.
const DEVICES: usize = 1_000;

/// Registers a fleet, and connects its halves in turn to Ironhub and to the bare server, for so long and so often.
pub(crate) fn measure(
    program: &Path,
    folder: &Path,
    (time, rounds): (Duration, usize),
    report: &mut Report,
) -> Result<(), Failure> {
    let fleet = Arc::new(Fleet::make(DEVICES)?);
    let hub = Ironhub::start(program, &folder.join("x509"))?;
    runtime(2)?.block_on(register(&hub, &fleet))?;
    let bare = bare_tls::start(folder, &hub.tls_files, fleet.root())?;
    for round in 0..rounds {
        eprintln!("connects with certificates, round {}", round + 1);
        let mut servers = [&hub.running, &bare];
        if !round.is_multiple_of(2) {
            servers.reverse();
        }
        for (half, per_cpu_sec) in [
            (Half::Authority, Metric::AuthorityConnectsPerCpu),
            (Half::Thumbprint, Metric::ThumbprintConnectsPerCpu),
        ] {
            let endpoints = servers.map(|server| Arc::new(with_certificates(server, &hub, &fleet, half)));
            let [first, second] = &endpoints;
            let [first_server, second_server] = servers;
            let metrics = connects::Metrics {
                per_cpu_sec,
                rate: None,
            };
            let in_turn = [(first, first_server.process()), (second, second_server.process())];
            connects::measure(&in_turn, (time, DEVICES), &metrics, report)?;
            std::thread::sleep(PAUSE);
        }
    }
    bare.stop()?;
    hub.running.stop()
}

async fn register(hub: &Ironhub, fleet: &Arc<Fleet>) -> Result<(), Failure> {
    let mut owner = hub.service.connect().await?;
    let path = "/$ironhub/v1/authorities/fleet";
    owner.call(hyper::Method::PUT, path, fleet.upload()).await?;
    let of = Arc::clone(fleet);
    devices::create_with(&hub.service, 2 * DEVICES, move |device| of.authentication(device)).await
}

/// A server as the devices of a half of the fleet reach it.
fn with_certificates(server: &Running, hub: &Ironhub, fleet: &Fleet, half: Half) -> Endpoint {
    let endpoint = server.endpoint();
    endpoint.with_credentials(Credentials::Certificates {
        host: hub.service.host.clone(),
        first: fleet.devices(half).start,
        clients: fleet.clients(half, &endpoint.tls).into(),
    })
}
