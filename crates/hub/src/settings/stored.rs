//! The stored form of settings (docs/formats/settings.md). A reader that does not know all of a document refuses it: a switch that is
//! overlooked would be one that is open.

use serde::{Deserialize, Serialize};

use crate::identity::Etag;
use crate::network::NetworkRules;
use crate::store::StoreError;

use super::keeper::Current;
use super::{CipherSuites, Settings, TlsSettings, TlsVersion};

/// The version that is written.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    v: u8,
    etag: u32,
    disable_local_auth: bool,
    disable_device_sas: bool,
    disable_module_sas: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_tls_version: Option<TlsVersion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cipher_suites: Option<CipherSuites>,
    network: NetworkRules,
}

pub(super) fn encode(current: &Current) -> Result<Vec<u8>, StoreError> {
    let settings = &current.settings;
    let record = Record {
        v: VERSION,
        etag: current.etag.counter(),
        disable_local_auth: settings.disable_local_auth,
        disable_device_sas: settings.disable_device_sas,
        disable_module_sas: settings.disable_module_sas,
        min_tls_version: settings.tls.min_tls_version,
        cipher_suites: settings.tls.cipher_suites,
        network: settings.network.clone(),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

pub(super) fn decode(body: &[u8]) -> Result<Current, StoreError> {
    let record: Record = serde_json::from_slice(body).map_err(|error| {
        StoreError::Unreadable(format!("the settings of the hub cannot be read: {error}"))
    })?;
    if record.v != VERSION {
        let text = "the settings of the hub were written by a newer version";
        return Err(StoreError::Unreadable(text.to_owned()));
    }
    Ok(Current {
        etag: Etag::from_counter(record.etag),
        settings: Settings {
            disable_local_auth: record.disable_local_auth,
            disable_device_sas: record.disable_device_sas,
            disable_module_sas: record.disable_module_sas,
            tls: TlsSettings {
                min_tls_version: record.min_tls_version,
                cipher_suites: record.cipher_suites,
            },
            network: record.network,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Endpoints;

    const FIXTURE: &str = r#"{"v":1,"etag":727894863,"disableLocalAuth":false,"disableDeviceSas":true,"disableModuleSas":false,"minTlsVersion":"1.3","network":{"deniedByDefault":["reader"],"rules":[{"name":"site","action":"allow","source":"10.0.0.0/8","endpoints":["device","service","reader"]},{"name":"rest","action":"deny","source":"any","endpoints":["device"]}]}}"#;

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let current = decode(FIXTURE.as_bytes()).unwrap();
        assert_eq!(current.etag, Etag::from_counter(727_894_863));
        assert!(current.settings.disable_device_sas && !current.settings.disable_local_auth);
        assert_eq!(current.settings.tls.min_tls_version, Some(TlsVersion::V1_3));
        assert_eq!(current.settings.network.rules().len(), 2);
        assert!(
            !current
                .settings
                .network
                .denied_by_default()
                .contains(crate::network::Endpoint::Device)
        );
        assert!(
            current
                .settings
                .network
                .denied_by_default()
                .intersects(Endpoints::ALL)
        );
        assert_eq!(encode(&current).unwrap(), FIXTURE.as_bytes());
    }

    #[test]
    fn chosen_suites_are_kept() {
        let text = FIXTURE.replacen(
            r#""minTlsVersion":"1.3","#,
            r#""minTlsVersion":"1.3","cipherSuites":["TLS_AES_256_GCM_SHA384"],"#,
            1,
        );
        let current = decode(text.as_bytes()).unwrap();
        let suites = current.settings.tls.cipher_suites.unwrap();
        assert_eq!(suites.to_string(), "TLS_AES_256_GCM_SHA384");
        assert_eq!(encode(&current).unwrap(), text.as_bytes());
        let damaged = text.replacen("AES_256", "DES_56", 1);
        assert!(decode(damaged.as_bytes()).is_err());
    }

    #[test]
    fn damaged_documents_are_refused() {
        for (from, to) in [
            (r#""v":1"#, r#""v":2"#),
            (r#""disableDeviceSas":true,"#, ""),
            (r#""v":1"#, r#""v":1,"disableBearer":true"#),
            ("10.0.0.0/8", "10.0.0.0/80"),
            (r#""1.3""#, r#""1.4""#),
            (r#""deny""#, r#""drop""#),
        ] {
            let damaged = FIXTURE.replacen(from, to, 1);
            assert_ne!(damaged, FIXTURE);
            assert!(decode(damaged.as_bytes()).is_err(), "{damaged}");
        }
    }
}
