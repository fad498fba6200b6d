//! The posture of the hub (`ironhub advise`).

use hub::access::operation::Management;
use hub::advice::{Sources, advise};
use hub::error::Error;
use hyper::StatusCode;

use super::reply::{self, Reply};
use super::request::Call;

/// Surveys the hub: every identity is read, so there is one survey of the server at a time.
pub(super) async fn advice(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let app = &call.app;
    let _one_at_a_time = app.surveying.lock().await;
    let sources = Sources {
        registry: &app.registry,
        presences: &app.presences,
        gate: call.hub.gate(),
        authorities: call.hub.authorities(),
        observed: call.hub.gate().observed(),
        limits: &app.limits,
        clock: &*app.clock,
        revocation: call.hub.revocation(),
        settings: &call.hub.settings().current().settings,
    };
    reply::json(StatusCode::OK, &advise(&proof, sources).await?)
}
