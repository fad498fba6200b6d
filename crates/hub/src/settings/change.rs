//! A change of settings as JSON says it: only what is named changes, `null` gives the default back.

use serde::{Deserialize, Deserializer};

use crate::error::Error;
use crate::network::NetworkRules;

use super::{CipherSuites, Settings, TlsVersion};

/// What happens to one setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// It stays; the JSON does not name it.
    #[default]
    Same,
    /// It gets its default back: `null`.
    Default,
    /// It becomes this.
    To(T),
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Change {
    /// See [`Settings::disable_local_auth`].
    pub disable_local_auth: Field<bool>,
    /// See [`Settings::disable_device_sas`].
    #[serde(rename = "disableDeviceSAS")]
    pub disable_device_sas: Field<bool>,
    /// See [`Settings::disable_module_sas`].
    #[serde(rename = "disableModuleSAS")]
    pub disable_module_sas: Field<bool>,
    /// See [`super::TlsSettings::min_tls_version`].
    pub min_tls_version: Field<TlsVersion>,
    /// See [`super::TlsSettings::cipher_suites`].
    pub cipher_suites: Field<CipherSuites>,
    /// See [`Settings::network`]; all of the rules are replaced.
    pub network: Field<NetworkRules>,
}

/// The JSON is no change of settings. The caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The settings cannot be read: {0}")]
pub struct InvalidChange(String);

impl From<InvalidChange> for Error {
    fn from(invalid: InvalidChange) -> Self {
        Self::argument(invalid.to_string())
    }
}

impl Change {
    /// Reads a change. A name that is not known is refused: a setting that was misspelt would else seem to be in force.
    pub fn from_json(body: &[u8]) -> Result<Self, InvalidChange> {
        // serde would take a list of values, too.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(InvalidChange("a JSON object is expected".to_owned()));
        }
        serde_json::from_slice(body).map_err(|error| InvalidChange(error.to_string()))
    }

    /// The settings after it.
    pub fn apply(self, mut settings: Settings) -> Settings {
        let default = Settings::default();
        let Self {
            disable_local_auth,
            disable_device_sas,
            disable_module_sas,
            min_tls_version,
            cipher_suites,
            network,
        } = self;
        disable_local_auth.put(&mut settings.disable_local_auth, default.disable_local_auth);
        disable_device_sas.put(&mut settings.disable_device_sas, default.disable_device_sas);
        disable_module_sas.put(&mut settings.disable_module_sas, default.disable_module_sas);
        min_tls_version
            .map(Some)
            .put(&mut settings.tls.min_tls_version, default.tls.min_tls_version);
        cipher_suites
            .map(Some)
            .put(&mut settings.tls.cipher_suites, default.tls.cipher_suites);
        network.put(&mut settings.network, default.network);
        settings
    }
}

impl<T> Field<T> {
    fn put(self, place: &mut T, default: T) {
        match self {
            Self::Same => {}
            Self::Default => *place = default,
            Self::To(value) => *place = value,
        }
    }

    fn map<U>(self, to: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Same => Field::Same,
            Self::Default => Field::Default,
            Self::To(value) => Field::To(to(value)),
        }
    }
}

/// A field that is there, with a value or with `null`.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<T>::deserialize(deserializer)?;
        Ok(value.map_or(Self::Default, Self::To))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> Result<Settings, InvalidChange> {
        let before = Settings {
            disable_local_auth: true,
            ..Settings::default()
        };
        Change::from_json(json.as_bytes()).map(|change| change.apply(before))
    }

    #[test]
    fn only_what_is_named_changes() {
        let settings = change(r#"{"disableDeviceSAS":true,"minTlsVersion":"1.3"}"#).unwrap();
        assert!(settings.disable_local_auth && settings.disable_device_sas && !settings.disable_module_sas);
        assert_eq!(settings.tls.min_tls_version, Some(TlsVersion::V1_3));
        assert_eq!(
            change(r#"{"disableLocalAuth":null}"#).unwrap(),
            Settings::default()
        );
        assert!(change("{}").unwrap().disable_local_auth);
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        for bad in [
            "",
            "[]",
            "[true]",
            r#"{"disableDeviceSas":true}"#,
            r#"{"disableLocalAuth":"yes"}"#,
            r#"{"minTlsVersion":"1.1"}"#,
            r#"{"cipherSuites":"aes"}"#,
            r#"{"cipherSuites":["RC4"]}"#,
            r#"{"network":{"rules":[{"name":"a","action":"deny","source":"10.0.0.0/99"}]}}"#,
            r#"{"network":{"rules":[{"name":"a","action":"reject","source":"any"}]}}"#,
            r#"{"network":{"rules":[{"name":"a","action":"deny","source":"any","endpoints":[]}]}}"#,
            r#"{"network":{"rules":[{"name":"a","action":"deny","source":"any","endpoint":["device"]}]}}"#,
            r#"{"network":{"default":"deny"}}"#,
        ] {
            assert!(change(bad).is_err(), "{bad}");
        }
    }
}
