//! Connection strings of the service side: `HostName=..;SharedAccessKeyName=..;SharedAccessKey=..` (service-rest.md 2.1).

use hub::access::sas;
use hub::clock::{Clock as _, SystemClock};
use hub::secret::SymmetricKey;
use std::time::Duration;

use crate::failure::Failure;

/// A service connection string, taken apart. Without `Debug`: it holds a key.
pub(crate) struct ConnectionString {
    /// Where the hub is, without a port.
    pub(crate) host: String,
    /// The port, when the string names one.
    pub(crate) port: Option<u16>,
    policy: String,
    key: SymmetricKey,
}

impl ConnectionString {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| {
            Failure::usage(format!(
                "the service connection string {what}; it has the form \
                 \"HostName=..;SharedAccessKeyName=..;SharedAccessKey=..\", as `ironhub dev` prints it"
            ))
        };
        // A key ends in `=`, so only the first one of a field separates.
        let field = |wanted: &str| {
            text.trim()
                .split(';')
                .filter_map(|field| field.split_once('='))
                .find_map(|(name, value)| name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim()))
        };
        let missing = |name: &'static str| move || wrong(&format!("has no {name}"));
        let host = field("HostName").ok_or_else(missing("HostName"))?;
        let policy = field("SharedAccessKeyName").ok_or_else(missing("SharedAccessKeyName"))?;
        let key = field("SharedAccessKey").ok_or_else(missing("SharedAccessKey"))?;
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (
                name,
                Some(port.parse().map_err(|_| wrong("has a port that is no number"))?),
            ),
            _ => (host, None),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            policy: policy.to_owned(),
            key: SymmetricKey::parse(key).map_err(|error| wrong(&format!("has an unusable key: {error}")))?,
        })
    }

    /// A token for a resource, such as `{host}` or `{host}/devices/{id}`.
    pub(crate) fn token(&self, resource: &str, valid_for: Duration) -> String {
        sas::create(
            resource,
            SystemClock::new().now().plus(valid_for),
            &self.key,
            Some(&self.policy),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn fields_in_any_order_and_case() {
        let text =
            format!("SharedAccessKey={KEY}; hostname=hub.example:8443;SharedAccessKeyName=iothubowner;");
        let parsed = ConnectionString::parse(&text).ok().unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port), ("hub.example", Some(8443)));
        let token = parsed.token("hub.example", Duration::from_secs(60));
        assert!(
            token.starts_with("SharedAccessSignature sr=hub.example&sig="),
            "{token}"
        );
        assert!(token.ends_with("&skn=iothubowner"), "{token}");
    }

    #[test]
    fn an_address_of_version_6_is_no_port() {
        let text = format!("HostName=::1;SharedAccessKeyName=p;SharedAccessKey={KEY}");
        let parsed = ConnectionString::parse(&text).ok().unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port), ("::1", None));
    }

    #[test]
    fn mistakes_are_named_without_the_key() {
        for (text, expected) in [
            ("", "has no HostName"),
            ("HostName=h", "has no SharedAccessKeyName"),
            (
                "HostName=h;SharedAccessKeyName=p;SharedAccessKey=canary",
                "has an unusable key",
            ),
            (
                "HostName=h:x;SharedAccessKeyName=p;SharedAccessKey=canary",
                "has a port that is no number",
            ),
        ] {
            let failure = ConnectionString::parse(text).err().unwrap();
            let told = format!("{failure:?}");
            assert!(told.contains(expected) && !told.contains("canary"), "{told}");
        }
    }
}
