//! Ironhub's own additions: status and consumer groups.

use hub::access::operation::{ReadConsumerGroups, ReadStatistics, WriteConsumerGroups};
use hub::error::{Code, Error};
use hub::log::{LogHealth, Partition};
use hub::readers::{GroupError, GroupName};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::request::Call;

/// How the hub is: what `ironhub status` shows.
pub(super) async fn status(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadStatistics>()?;
    let (app, hub) = (&call.app, &call.hub);
    let log = hub.telemetry().log();
    let partitions: Vec<Value> = (0..log.partition_count())
        .filter_map(|number| log.info(Partition(number)).map(|info| (number, info)))
        .map(|(number, info)| {
            json!({
                "id": number.to_string(),
                "firstSequence": info.first.0,
                "nextSequence": info.next.0,
                "lastEnqueued": info.last_enqueued,
            })
        })
        .collect();
    let health = match &*log.health().borrow() {
        LogHealth::Writable => "writable".to_owned(),
        LogHealth::Full(reason) => format!("full: {reason}"),
        LogHealth::Stopped(reason) => format!("stopped: {reason}"),
    };
    let certificates = app
        .certificates
        .get()
        .map_or_else(Vec::new, |files| files.of_hub(hub.name().as_str()));
    let certificates: Vec<Value> = certificates
        .iter()
        .map(|certificate| {
            json!({
                "file": certificate.file.display().to_string(),
                "expires": certificate.expires,
                "problem": certificate.problem,
            })
        })
        .collect();
    let statistics = app.registry.statistics(&proof).await?;
    reply::json(
        StatusCode::OK,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "hub": hub.name().as_str(),
            "hostName": hub.host(),
            "created": hub.created(),
            "uptimeSecs": app.clock.now().since(app.started).as_secs(),
            "connectedDevices": app.bus.held_devices(hub.name()),
            "devices": statistics,
            "readers": hub.readers().count(),
            "certificates": certificates,
            "log": { "health": health, "partitions": partitions },
        }),
    )
}

pub(super) async fn list_groups(call: &Call) -> Result<Reply, Error> {
    call.authorize::<ReadConsumerGroups>()?;
    let groups = call.hub.groups().list().await?;
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    reply::json(StatusCode::OK, &json!({ "consumerGroups": names }))
}

pub(super) async fn put_group(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteConsumerGroups>()?;
    let group = parse_group(name)?;
    let created = call
        .hub
        .groups()
        .create(&proof, &group)
        .await
        .map_err(group_error)?;
    reply::json(
        StatusCode::OK,
        &json!({ "name": group.as_str(), "created": created }),
    )
}

pub(super) async fn delete_group(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteConsumerGroups>()?;
    let group = parse_group(name)?;
    call.hub
        .groups()
        .delete(&proof, &group)
        .await
        .map_err(group_error)?;
    Ok(reply::no_content())
}

pub(super) fn parse_group(name: &str) -> Result<GroupName, Error> {
    GroupName::parse(name).map_err(|invalid| Error::argument(invalid.to_string()))
}

pub(super) fn group_error(error: GroupError) -> Error {
    match error {
        GroupError::Store(error) => error.into(),
        GroupError::Audit(error) => error,
        GroupError::NotFound(_) => Error::peer(Code::GenericNotFound, error.to_string()),
        GroupError::TooMany(_) | GroupError::DefaultStays => Error::argument(error.to_string()),
    }
}
