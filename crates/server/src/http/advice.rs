//! The posture of the hub (`ironhub advise`).

use hub::access::operation::Management;
use hub::advice::{ServerCertificateState, Sources, advise};
use hub::error::Error;
use hyper::StatusCode;

use super::reply::{self, Reply};
use super::request::Call;

/// Surveys the hub: every identity is read, so there is one survey of the server at a time.
pub(super) async fn advice(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let app = &call.app;
    let _one_at_a_time = app.surveying.lock().await;
    let shown = app
        .certificates
        .get()
        .map(|files| files.of_hub(call.hub.name().as_str()));
    let shown = shown
        .unwrap_or_default()
        .into_iter()
        .map(|shown| ServerCertificateState {
            name: shown.file.display().to_string(),
            expires: shown.expires,
            is_refused: shown.problem.is_some(),
        });
    let server_certificates: Vec<_> = shown.collect();
    let sources = Sources {
        registry: &app.registry,
        presences: &app.presences,
        gate: call.hub.gate(),
        authorities: call.hub.authorities(),
        server_certificates: &server_certificates,
        observed: call.hub.gate().observed(),
        limits: &app.limits,
        clock: &*app.clock,
        revocation: call.hub.revocation(),
        settings: &call.hub.settings().current().settings,
    };
    reply::json(StatusCode::OK, &advise(&proof, sources).await?)
}
