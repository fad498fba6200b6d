//! The administration listener, on loopback: health for orchestrators and metrics for Prometheus. It tells nothing about any
//! identity and changes nothing, so it asks for no credential; everything that does lies on the HTTPS listener.

mod metrics;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hub::log::LogHealth;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::app::App;
use crate::http::{Reply, whole};
use crate::listen::Arrival;

const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// Media type of the `OpenMetrics` text format, which Prometheus reads.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves one connection.
pub(crate) async fn serve(arrival: Arrival, app: Arc<App>) {
    let Arrival {
        stream,
        peer,
        mut draining,
        ..
    } = arrival;
    let service = service_fn(|request: Request<Incoming>| {
        let reply = answer(&request, &app);
        async move { Ok::<_, Infallible>(reply) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(16 * 1_024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "administration connection ended");
    }
}

fn answer(request: &Request<Incoming>, app: &App) -> Reply {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is served here\n".to_owned(),
        );
    }
    match request.uri().path() {
        "/health/live" => text(StatusCode::OK, "live\n".to_owned()),
        "/health/ready" => ready(app),
        "/metrics" => match metrics::text(app) {
            Ok(metrics) => {
                let mut reply = text(StatusCode::OK, metrics);
                reply
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
                reply
            }
            Err(error) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot write metrics: {error}\n"),
            ),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there is /health/live, /health/ready and /metrics\n".to_owned(),
        ),
    }
}

/// Ready means that telemetry can be acknowledged on every hub.
fn ready(app: &App) -> Reply {
    let mut problems = Vec::new();
    for hub in app.hubs.all() {
        match &*hub.telemetry().log().health().borrow() {
            LogHealth::Writable => {}
            LogHealth::Full(reason) => problems.push(format!(
                "hub {}: the disk is full, nothing is acknowledged: {reason}\n",
                hub.name()
            )),
            LogHealth::Stopped(reason) => problems.push(format!(
                "hub {}: the event log stopped, restart to recover: {reason}\n",
                hub.name()
            )),
        }
    }
    if problems.is_empty() {
        text(StatusCode::OK, "ready\n".to_owned())
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, problems.concat())
    }
}

fn text(status: StatusCode, body: String) -> Reply {
    let mut reply = Response::new(whole(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    reply
}
