//! Checks a configuration as a whole: everything that no single value can show.

use std::collections::BTreeMap;
use std::time::Duration;

use engines::external::ExternalBlobs;

use super::problem::{ConfigError, Place, Problem};
use super::{Config, HubConfig, Mode, TlsFiles};

/// Most partitions of a hub (service-rest.md 16).
const PARTITIONS_MAX: u16 = 32;

/// Sizes of a segment that make sense: it must hold many messages, and retention works by whole segments.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Shortest retention: a reader must have a chance.
const RETENTION_AGE_MIN: Duration = Duration::from_secs(60);

/// Longest wait of a commit: a device waits for its acknowledgement as long.
const COMMIT_WITHIN_MAX: Duration = Duration::from_secs(1);

/// Checks all but the certificate files.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    let mut texts = Vec::new();
    check_listeners(config, &mut texts);
    check_tls(config, &mut texts);
    if config.hubs.is_empty() {
        texts.push("there is no hub: add a table [hubs.NAME] with host_names".to_owned());
    }
    for hub in &config.hubs {
        check_hub(hub, &mut texts);
    }
    check_host_names_unique(config, &mut texts);
    let problem = |text| Problem {
        place: Place::Whole,
        text,
    };
    ConfigError::unless_empty(texts.into_iter().map(problem).collect())
}

fn check_listeners(config: &Config, texts: &mut Vec<String>) {
    let listeners = &config.listeners;
    if listeners.mqtt.is_empty() && listeners.amqp.is_empty() && listeners.https.is_empty() {
        texts.push(
            "there is no listener: give listeners.mqtt, listeners.amqp or listeners.https an address"
                .to_owned(),
        );
    }
    if config.mode == Mode::Production && !listeners.amqp_plain.is_empty() {
        texts.push(
            "listeners.amqp_plain is not encrypted and exists in `ironhub dev` only: remove it and use listeners.amqp"
                .to_owned(),
        );
    }
    for address in &listeners.amqp_plain {
        if !address.ip().is_loopback() {
            texts.push(format!(
                "listeners.amqp_plain: {address} is not a loopback address, and plain AMQP must not leave the machine"
            ));
        }
    }
    let mut seen = BTreeMap::new();
    for (kind, addresses) in listeners.kinds() {
        for address in addresses.iter().filter(|address| address.port() != 0) {
            if let Some(other) = seen.insert(*address, kind) {
                texts.push(format!(
                    "{address} is given to listeners.{other} and listeners.{kind}"
                ));
            }
        }
    }
}

fn check_tls(config: &Config, texts: &mut Vec<String>) {
    let all_have_own = !config.hubs.is_empty() && config.hubs.iter().all(|hub| !hub.tls.is_empty());
    if !(all_have_own && config.tls.is_empty()) {
        check_files("", &config.tls, texts);
    }
    for hub in config.hubs.iter().filter(|hub| !hub.tls.is_empty()) {
        check_files(&format!("hubs.{}.", hub.name), &hub.tls, texts);
    }
}

/// Each certificate needs its key.
fn check_files(section: &str, files: &TlsFiles, texts: &mut Vec<String>) {
    let (certificates, keys) = (files.certificate.len(), files.key.len());
    for (key, count) in [("tls.certificate", certificates), ("tls.key", keys)] {
        if count == 0 {
            texts.push(format!(
                "{section}{key} is missing: every listener but the plain ones needs a certificate"
            ));
        }
    }
    if certificates != keys && certificates != 0 && keys != 0 {
        texts.push(format!(
            "{section}tls.certificate and {section}tls.key must be as many, in the same order: there are {certificates} and {keys}"
        ));
    }
}

fn check_hub(hub: &HubConfig, texts: &mut Vec<String>) {
    let mut add = |key: &str, text: String| texts.push(format!("hubs.{}.{key}: {text}", hub.name));
    if hub.host_names.is_empty() {
        add(
            "host_names",
            "at least one name is needed, such as \"hub1.example.com\"".to_owned(),
        );
    }
    for name in &hub.host_names {
        if !is_host_name(name) {
            add(
                "host_names",
                format!("\"{name}\" is not a host name or an address, without scheme and port"),
            );
        }
    }
    if !(1..=PARTITIONS_MAX).contains(&hub.partition_count) {
        add(
            "partition_count",
            format!("{} is not between 1 and {PARTITIONS_MAX}", hub.partition_count),
        );
    }
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&hub.segment_bytes) {
        add("segment_bytes", "give a size between 1 MiB and 1 GiB".to_owned());
    }
    if hub.retention_age < RETENTION_AGE_MIN {
        add("retention_age", "give at least 1 min".to_owned());
    }
    if hub.retention_bytes.is_some_and(|bytes| bytes < hub.segment_bytes) {
        add(
            "retention_bytes",
            "give at least segment_bytes: telemetry is removed by whole segments".to_owned(),
        );
    }
    let usable = hub.storage.external().and_then(|settings| {
        let opened = settings.map(ExternalBlobs::open).transpose();
        opened.map_err(|error| error.to_string())
    });
    if let Err(text) = usable {
        add("storage", text);
    }
    if hub.commit_within > COMMIT_WITHIN_MAX {
        add(
            "commit_within",
            "give at most 1 s: devices wait for it".to_owned(),
        );
    }
}

fn check_host_names_unique(config: &Config, texts: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    for hub in &config.hubs {
        for name in &hub.host_names {
            match seen.insert(name.as_str(), hub.name.as_str()) {
                Some(other) if other == hub.name => {
                    texts.push(format!("hubs.{other}.host_names: \"{name}\" is there twice"));
                }
                Some(other) => texts.push(format!(
                    "\"{name}\" is given to the hubs {other} and {}: a host name names one hub",
                    hub.name
                )),
                None => {}
            }
        }
    }
}

/// A DNS name without a trailing dot, or an IP address.
pub(crate) fn is_host_name(name: &str) -> bool {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
