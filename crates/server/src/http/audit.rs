//! The audit trail over HTTPS: a page of it, all of it as lines, and whether its chain holds (`ironhub audit`).

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use hub::access::Authorized;
use hub::access::operation::Management;
use hub::audit::{Filter, Head, Line, Trail};
use hub::clock::Timestamp;
use hub::error::Error;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::events::{line, lines};
use super::reply::{self, Reply};
use super::request::Call;

/// Entries of a page when the caller names no number.
const PAGE_DEFAULT: usize = 100;

/// Most entries of a page.
const PAGE_MAX: usize = 1_000;

#[derive(Serialize)]
struct Page {
    entries: Vec<Line>,
    before: Option<u64>,
}

/// The newest entries that are wanted.
pub(super) async fn page(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let filter = Filter {
        identity: call.query("identity"),
        actor: call.query("actor"),
        operation: call.query("operation"),
        from: time(call, "from")?,
        to: time(call, "to")?,
    };
    let max = number(call, "limit")?.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let before = number(call, "before")?;
    let page = call.app.trail.page(&proof, &filter, before, max).await?;
    reply::json(
        StatusCode::OK,
        &Page {
            entries: page.lines,
            before: page.before,
        },
    )
}

/// All entries behind a number, oldest first, a line each.
pub(super) async fn export(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let after = number(call, "after")?.unwrap_or(0);
    let trail = Arc::clone(&call.app.trail);
    // The first page is read before the answer begins, so that a trail that cannot be read is an error and no empty export.
    let first = trail.lines(&proof, after).await?;
    let pages = stream::unfold((trail, proof, Some(first)), next_page).flatten();
    Ok(lines(pages))
}

type Pages = (
    Arc<Trail>,
    Authorized<Management>,
    Option<Vec<(u64, Option<Line>)>>,
);

/// The lines of a page, and where to go on. A trail that can no longer be read ends with a line that says so.
async fn next_page(
    (trail, proof, page): Pages,
) -> Option<(impl futures_util::Stream<Item = bytes::Bytes> + Send, Pages)> {
    let page = page?;
    let (last, _) = page.last()?;
    let mut shown: Vec<_> = page
        .iter()
        .map(|(position, entry)| match entry {
            Some(entry) => line(entry),
            None => line(&json!({ "unreadable": { "position": position } })),
        })
        .collect();
    let next = match trail.lines(&proof, *last).await {
        Ok(next) => Some(next),
        Err(error) => {
            tracing::error!(detail = error.detail(), "an export of the audit trail broke off");
            shown.push(line(&json!({ "brokeOff": { "after": last } })));
            None
        }
    };
    Some((stream::iter(shown), (trail, proof, next)))
}

/// Whether the chain holds.
pub(super) async fn check(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let expected = call.query("expect").map(|text| text.parse::<Head>());
    let expected = expected
        .transpose()
        .map_err(|error| Error::argument(error.to_string()))?;
    let report = call.app.trail.check(&proof, expected).await?;
    reply::json(StatusCode::OK, &report)
}

fn time(call: &Call, name: &'static str) -> Result<Option<Timestamp>, Error> {
    let text = call.query(name);
    let invalid = |error| Error::argument(format!("{name}: {error}"));
    text.map(|text| text.parse().map_err(invalid)).transpose()
}

fn number<T: std::str::FromStr>(call: &Call, name: &'static str) -> Result<Option<T>, Error> {
    let text = call.query(name);
    let invalid = |_| Error::argument(format!("{name} is no number"));
    text.map(|text| text.parse().map_err(invalid)).transpose()
}
