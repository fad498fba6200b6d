//! The table of keys: one row is all it takes to add one. Limits have their own table, in [`hub::limits`].

use std::path::Path;

use super::form::{self, Raw};
use super::{Config, HubConfig};

/// A key of the configuration, or of one hub.
pub(super) struct Row<C> {
    /// The whole key, or for a hub what follows `hubs.NAME.`.
    pub(super) key: &'static str,
    /// What kind of value it takes.
    pub(super) form: &'static str,
    /// What it is for, in one sentence.
    pub(super) meaning: &'static str,
    /// Reads a value into its place; relative paths are relative to the folder.
    pub(super) read: fn(&mut C, &Raw, Option<&Path>) -> Result<(), String>,
    /// Writes the value as TOML; none when it is not set.
    pub(super) write: fn(&C) -> Option<String>,
}

macro_rules! rows {
    ($($key:literal $form:ident $($field:ident).+, $meaning:literal;)*) => {
        &[$(Row {
            key: $key,
            form: form::$form().name,
            meaning: $meaning,
            read: |config, raw, folder| {
                config.$($field).+ = (form::$form().read)(raw, folder)?;
                Ok(())
            },
            write: |config| (form::$form().write)(&config.$($field).+),
        },)*]
    };
}

/// The keys of the server. Those of one section stand together.
pub(super) const KEYS: &[Row<Config>] = rows! {
    "data_dir" path data_dir,
        "Folder that holds everything the server keeps; only its owner may look inside.";
    "master_key_file" path master_key_file,
        "File with the master key that the keys in the data folder are sealed under; without it, a file beside that folder is made.";
    "allow_core_dumps" switch allow_core_dumps,
        "Whether core files may be written and debuggers may attach; both show every key that is in memory.";
    "fidelity" fidelity fidelity,
        "How closely quotas follow Azure's: \"azure\" takes them number for number, \"native\" lifts those that hurt.";
    "listeners.mqtt" addresses listeners.mqtt,
        "Addresses for MQTT over TLS. SDKs know port 8883 only.";
    "listeners.amqp" addresses listeners.amqp,
        "Addresses for AMQP over TLS. SDKs know port 5671 only.";
    "listeners.https" addresses listeners.https,
        "Addresses for HTTPS. Most SDKs know port 443 only.";
    "listeners.amqp_plain" addresses listeners.amqp_plain,
        "Addresses for AMQP without TLS, for the emulator mode of SDKs: only in `ironhub dev` and only on loopback.";
    "listeners.admin" addresses listeners.admin,
        "Addresses for health and metrics: plain HTTP without credentials, so keep them private.";
    "tls.certificate" paths tls.certificate,
        "PEM file with the certificate of the server and its chain, leaf first; several for keys of several kinds, the preferred first.";
    "tls.key" paths tls.key,
        "PEM file with the private key of the certificate; as many as there are certificates, in the same order.";
    "log.level" filter log.level,
        "What the server logs: error, warn, info, debug or trace, for all or by part.";
    "log.format" log_format log.format,
        "How log lines look: \"auto\" writes text on a terminal and JSON elsewhere.";
};

/// The keys of each hub.
pub(super) const HUB_KEYS: &[Row<HubConfig>] = rows! {
    "host_names" names host_names,
        "Names under which clients reach the hub, all of them in the certificate; it calls itself by the first.";
    "tls.certificate" paths tls.certificate,
        "Certificates of the hub's own, for clients that ask for one of its host names; without, those of the server serve.";
    "tls.key" paths tls.key,
        "Private keys of the hub's certificates, in the same order.";
    "partition_count" count partition_count,
        "Partitions of the hub's telemetry, 1 to 32. Fixed once the hub exists.";
    "retention_age" duration retention_age,
        "How long telemetry is kept.";
    "retention_bytes" optional_size retention_bytes,
        "How many bytes of telemetry are kept; the oldest go first.";
    "segment_bytes" size segment_bytes,
        "Size of one file of the telemetry log; the oldest telemetry is removed by whole files.";
    "commit_within" duration commit_within,
        "How long a message may take to be on disk: a commit waits for more messages for what the disk leaves of it. \"0 s\" never waits.";
    "event_sources" event_sources event_sources,
        "What readers see beside the telemetry: changes of twins, identities and connections that come and go.";
    "file_notifications" switch file_notifications,
        "Whether services are notified of files that devices have uploaded.";
    "storage.kind" storage_kind storage.kind,
        "Where uploaded files are kept: \"local\" in the data folder, served by the hub; else in a store that devices write to directly.";
    "storage.endpoint" optional_address storage.endpoint,
        "Address of the store, if it is not Azure's or Amazon's own; HTTPS only.";
    "storage.container" name storage.container,
        "Container of Azure Blob Storage, or bucket of S3, that holds the files.";
    "storage.account" name storage.account,
        "Storage account, or id of the access key of S3.";
    "storage.key" secret storage.key,
        "Key of the account, or secret of the access key; better given in the environment or with storage.key_file.";
    "storage.key_file" path storage.key_file,
        "File that holds the key of the account, or the secret of the access key.";
    "storage.region" name storage.region,
        "Region of S3.";
    "storage.authorities" path storage.authorities,
        "PEM file of the authorities to trust for the store instead of the system's.";
};

/// The environment variable of a key: `listeners.mqtt` is `IRONHUB_LISTENERS_MQTT`.
///
/// ```
/// # use server::config::environment_name;
/// assert_eq!(environment_name("hubs.plant-1.host_names"), "IRONHUB_HUBS_PLANT_1_HOST_NAMES");
/// ```
pub fn environment_name(key: &str) -> String {
    let upper = key.to_ascii_uppercase();
    format!("IRONHUB_{}", upper.replace(['.', '-'], "_"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hub::limits::Limit;

    use super::*;

    #[test]
    fn keys_and_variables_are_unique() {
        let keys: Vec<String> = KEYS
            .iter()
            .map(|row| row.key.to_owned())
            .chain(HUB_KEYS.iter().map(|row| format!("hubs.hub1.{}", row.key)))
            .chain(Limit::ALL.iter().map(|limit| format!("limits.{}", limit.name())))
            .collect();
        let variables: BTreeSet<String> = keys.iter().map(|key| environment_name(key)).collect();
        assert_eq!(variables.len(), keys.len());
    }

    #[test]
    fn meanings_are_sentences() {
        let hub = HUB_KEYS.iter().map(|row| row.meaning);
        for meaning in KEYS.iter().map(|row| row.meaning).chain(hub) {
            assert!(meaning.ends_with('.'), "{meaning}");
        }
    }
}
