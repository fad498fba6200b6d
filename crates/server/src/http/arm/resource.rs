//! A hub as a resource: what it is, and what of it may be changed (service-rest.md 16.1).
//!
//! A client that changes a resource reads it, changes a member and writes all of it back. What a hub does not have is therefore
//! taken when it is as it was read, and refused when it is something else: a change that is taken and has no effect would mislead.
//! What is not given stays as it is, so that a client that knows less than the hub takes nothing from it.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub::access::operation::{Management, ReadHub, ReadStatistics};
use hub::description::Description;
use hub::error::{Code, Error};
use hub::identity::IfMatch;
use hub::limits::Limit;
use hub::network::{IpFilterRule, NetworkRuleSets};
use hub::settings::{CipherSuites, Settings, TlsVersion};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::reply::{self, Reply};
use crate::http::request::Call;
use crate::http::settings::{check_caller, check_tls};

use super::address::{Group, HUB_TYPE};
use super::keys::GivenRule;
use super::{fixed, list as list_of};

/// Where a hub of one's own is.
const LOCATION: &str = "local";

/// What is shown where the hub leaves it to the server.
const LOWEST_TLS: TlsVersion = TlsVersion::V1_2;

/// The one tier that has everything.
const SKU: &str = "S1";

pub(super) async fn get(call: &Call, group: &Group) -> Result<Reply, Error> {
    call.authorize::<ReadHub>()?;
    show(call, group).await
}

async fn show(call: &Call, group: &Group) -> Result<Reply, Error> {
    reply::json(StatusCode::OK, &describe(call, group).await?)
}

/// The hub as the resource manager writes it.
pub(super) async fn describe(call: &Call, group: &Group) -> Result<Value, Error> {
    let description = call.hub.descriptions().get().await?;
    Ok(resource(call, group, &description))
}

/// A resource as a client writes it. Members that are not named have no meaning here.
#[derive(Deserialize)]
#[serde(default)]
struct Given {
    tags: Option<BTreeMap<String, String>>,
    identity: Value,
    properties: GivenProperties,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            tags: None,
            identity: Value::Null,
            properties: GivenProperties::default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GivenProperties {
    authorization_policies: Option<Vec<GivenRule>>,
    comments: Option<String>,
    disable_local_auth: Option<bool>,
    #[serde(rename = "disableDeviceSAS")]
    disable_device_sas: Option<bool>,
    #[serde(rename = "disableModuleSAS")]
    disable_module_sas: Option<bool>,
    min_tls_version: Option<String>,
    // An addition of ours; clients that do not know it leave it out, and it stays.
    cipher_suites: Option<Vec<String>>,
    ip_filter_rules: Option<Vec<IpFilterRule>>,
    network_rule_sets: Option<NetworkRuleSets>,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

/// Changes what is given. Everything is looked at before anything is changed.
pub(super) async fn put(mut call: Call, group: &Group) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let given: Given = call.json().await?;
    let description = call.hub.descriptions().get().await?;
    let policies = call.hub.gate().policies();
    let revision = policies.revision();
    let current = resource(&call, group, &description);
    check_etag(&call, &current)?;
    fixed::check(&given.properties.others, &given.identity, &current)?;
    let settings = call.hub.settings().current();
    let changed = given.properties.settings(settings.settings.clone())?;
    if changed.network != settings.settings.network {
        check_caller(&call, &changed)?;
    }
    check_tls(&call, &changed)?;
    let rules = given
        .properties
        .authorization_policies
        .map(|rules| {
            let rules = rules.into_iter().map(|rule| {
                let before = policies.get(rule.name());
                rule.policy(before.as_deref(), &*call.app.entropy)
            });
            rules.collect::<Result<Vec<_>, Error>>()
        })
        .transpose()?;
    let tags = given.tags.unwrap_or_else(|| description.tags.clone());
    let comment = given.properties.comments.or_else(|| description.comment.clone());
    let descriptions = call.hub.descriptions();
    descriptions.check(&tags, comment.as_deref())?;

    if changed != settings.settings {
        let if_match = IfMatch::Etag(settings.etag.to_string());
        call.hub
            .update_settings(&proof, |_| Ok(changed), &if_match)
            .await?;
    }
    if let Some(rules) = rules {
        policies.replace(&proof, rules, Some(&revision)).await?;
    }
    descriptions.put(&proof, &description, tags, comment).await?;
    show(&call, group).await
}

impl GivenProperties {
    /// The settings with what is given in its place.
    fn settings(&self, mut settings: Settings) -> Result<Settings, Error> {
        let put = |given: Option<bool>, place: &mut bool| *place = given.unwrap_or(*place);
        put(self.disable_local_auth, &mut settings.disable_local_auth);
        put(self.disable_device_sas, &mut settings.disable_device_sas);
        put(self.disable_module_sas, &mut settings.disable_module_sas);
        if let Some(version) = self.min_tls_version.as_deref().filter(|text| !text.is_empty()) {
            let version = TlsVersion::from_azure(version)
                .map_err(|unknown| Error::argument(format!("properties.minTlsVersion: {unknown}")))?;
            // What the server demands by itself is no setting of the hub.
            if settings.tls.min_tls_version.is_some() || version != LOWEST_TLS {
                settings.tls.min_tls_version = Some(version);
            }
        }
        if let Some(names) = &self.cipher_suites {
            let suites = CipherSuites::parse(names.iter().map(String::as_str))
                .map_err(|unknown| Error::argument(format!("properties.cipherSuites: {unknown}")))?;
            // All that the server has are no choice of the hub.
            settings.tls.cipher_suites = Some(suites).filter(|suites| *suites != CipherSuites::ALL);
        }
        if self.ip_filter_rules.is_some() || self.network_rule_sets.is_some() {
            let mut filters = settings.network.to_azure();
            if let Some(rules) = &self.ip_filter_rules {
                filters.ip_filter_rules.clone_from(rules);
            }
            if let Some(sets) = &self.network_rule_sets {
                filters.network_rule_sets = Some(sets.clone());
            }
            settings.network = settings.network.with_azure(&filters)?;
        }
        Ok(settings)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    tags: Option<BTreeMap<String, String>>,
}

/// Changes tags, which is all that a patch may.
pub(super) async fn patch(mut call: Call, group: &Group) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let patch: Patch = call.json().await?;
    let description = call.hub.descriptions().get().await?;
    check_etag(&call, &resource(&call, group, &description))?;
    let tags = patch.tags.unwrap_or_else(|| description.tags.clone());
    let comment = description.comment.clone();
    let descriptions = call.hub.descriptions();
    descriptions.put(&proof, &description, tags, comment).await?;
    show(&call, group).await
}

/// Hubs come and go with the configuration.
pub(super) fn delete(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    Err(Error::peer(
        Code::InvalidOperation,
        format!(
            "The hub '{}' cannot be deleted over the network, because its telemetry and devices would go with it. Take it out of the \
             configuration and start the server anew",
            call.hub.name()
        ),
    ))
}

pub(super) async fn statistics(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadStatistics>()?;
    reply::json(StatusCode::OK, &call.app.registry.statistics(&proof).await?)
}

pub(super) fn skus(call: &Call) -> Result<Reply, Error> {
    call.authorize::<ReadHub>()?;
    list_of(&[json!({
        "resourceType": HUB_TYPE,
        "sku": sku(),
        "capacity": { "minimum": 1, "maximum": 1, "default": 1, "scaleType": "None" },
    })])
}

/// Messages are not counted by the day, so they have no quota to show.
pub(super) async fn quota_metrics(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadStatistics>()?;
    let devices = call.app.registry.statistics(&proof).await?;
    let most = call.app.limits.size(Limit::DevicesPerHubMax);
    list_of(&[json!({
        "name": "TotalDeviceCount",
        "currentValue": devices.total_device_count,
        "maxValue": i64::try_from(most).unwrap_or(i64::MAX),
    })])
}

fn check_etag(call: &Call, current: &Value) -> Result<(), Error> {
    match IfMatch::parse(call.if_match()) {
        IfMatch::Absent | IfMatch::Any => Ok(()),
        IfMatch::Etag(etag) if current.get("etag").and_then(Value::as_str) == Some(&etag) => Ok(()),
        IfMatch::Etag(_) => Err(Error::peer(
            Code::PreconditionFailed,
            "The hub has another etag than the request names: read it again and decide anew",
        )),
    }
}

fn sku() -> Value {
    json!({ "name": SKU, "tier": "Standard", "capacity": 1 })
}

fn resource(call: &Call, group: &Group, description: &Description) -> Value {
    let hub = &call.hub;
    let name = hub.name().as_str();
    json!({
        "id": group.hub_id(name),
        "name": name,
        "type": HUB_TYPE,
        "location": LOCATION,
        "tags": description.tags,
        "etag": etag(call, description),
        "subscriptionid": group.subscription(),
        "resourcegroup": group.name(),
        "sku": sku(),
        "identity": { "type": "None" },
        "properties": properties(call, description),
    })
}

/// Another one after each change of anything that a client may change.
fn etag(call: &Call, description: &Description) -> String {
    let state = format!(
        "{}/{}/{}",
        call.hub.gate().policies().revision(),
        call.hub.settings().current().etag,
        description.revision()
    );
    let digest = digest::digest(&digest::SHA256, state.as_bytes());
    STANDARD.encode(digest.as_ref().get(..9).unwrap_or_default())
}

fn properties(call: &Call, description: &Description) -> Value {
    let (app, hub) = (&call.app, &call.hub);
    let current = hub.settings().current();
    let settings = &current.settings;
    let filters = settings.network.to_azure();
    let partitions = hub.telemetry().log().partition_count();
    let ids: Vec<String> = (0..partitions).map(|number| number.to_string()).collect();
    let port = match app.amqp_port() {
        crate::config::AMQP_PORT => String::new(),
        port => format!(":{port}"),
    };
    let duration = |limit| iso_duration(app.limits.time(limit).as_secs());
    let count = |limit| app.limits.size(limit);
    json!({
        "state": "Active",
        "provisioningState": "Succeeded",
        "hostName": hub.host(),
        "eventHubEndpoints": { "events": {
            "retentionTimeInDays": retention_days(call),
            "partitionCount": partitions,
            "partitionIds": ids,
            "path": hub.name().as_str(),
            "endpoint": format!("sb://{}{port}/", hub.host()),
        } },
        "routing": {
            "endpoints": { "serviceBusQueues": [], "serviceBusTopics": [], "eventHubs": [], "storageContainers": [],
                           "cosmosDBSqlContainers": [] },
            "routes": [],
            "fallbackRoute": { "name": "$fallback", "source": "DeviceMessages", "condition": "true",
                               "endpointNames": ["events"], "isEnabled": true },
            "enrichments": [],
        },
        "storageEndpoints": { "$default": {
            "sasTtlAsIso8601": duration(Limit::FileSasLifeSecs), "connectionString": "", "containerName": "" } },
        "messagingEndpoints": { "fileNotifications": {
            "lockDurationAsIso8601": duration(Limit::FileNotificationLockSecs),
            "ttlAsIso8601": duration(Limit::FileNotificationLifeSecs),
            "maxDeliveryCount": count(Limit::FileNotificationDeliveriesMax),
        } },
        "enableFileUploadNotifications": app.files.notifies(hub.name()),
        "cloudToDevice": {
            "maxDeliveryCount": count(Limit::CommandDeliveriesMax),
            "defaultTtlAsIso8601": duration(Limit::CommandDefaultLifeSecs),
            "feedback": {
                "lockDurationAsIso8601": duration(Limit::FeedbackLockSecs),
                "ttlAsIso8601": duration(Limit::FeedbackLifeSecs),
                "maxDeliveryCount": count(Limit::FeedbackDeliveriesMax),
            },
        },
        "disableLocalAuth": settings.disable_local_auth,
        "disableDeviceSAS": settings.disable_device_sas,
        "disableModuleSAS": settings.disable_module_sas,
        "minTlsVersion": settings.tls.min_tls_version.unwrap_or(LOWEST_TLS).name(),
        "cipherSuites": settings.tls.cipher_suites.unwrap_or(CipherSuites::ALL),
        "ipFilterRules": filters.ip_filter_rules,
        "networkRuleSets": filters.network_rule_sets,
        "features": "None",
        "comments": description.comment,
        "locations": [{ "location": LOCATION, "role": "primary" }],
    })
}

/// Whole days, at least one: the resource knows no shorter time.
fn retention_days(call: &Call) -> u64 {
    let log = call.app.logs.iter().find(|(name, _)| name == call.hub.name());
    let age = log.map_or(0, |(_, log)| log.retention().age.as_secs());
    age.div_ceil(24 * 60 * 60).max(1)
}

/// `PT1H`, `P1DT30S`: as short as it can be written.
fn iso_duration(secs: u64) -> String {
    let days = secs / 86_400;
    let parts = [(secs / 3_600 % 24, 'H'), (secs / 60 % 60, 'M'), (secs % 60, 'S')];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let time: Vec<String> = parts.map(|(count, unit)| format!("{count}{unit}")).collect();
    match (days, time.concat().as_str()) {
        (0, "") => "PT0S".to_owned(),
        (0, time) => format!("PT{time}"),
        (days, "") => format!("P{days}D"),
        (days, time) => format!("P{days}DT{time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (secs, text) in [
            (0, "PT0S"),
            (60, "PT1M"),
            (3_600, "PT1H"),
            (90, "PT1M30S"),
            (172_800, "P2D"),
            (90_061, "P1DT1H1M1S"),
        ] {
            assert_eq!(iso_duration(secs), text);
        }
    }
}
