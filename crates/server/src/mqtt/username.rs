//! The user name of a CONNECT: host, device, module and parameters (device-mqtt-https.md 3.1).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A user name taken apart. Ids are raw: not percent-decoded, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Username<'a> {
    /// The hub's host name as written.
    pub(crate) host: &'a str,
    /// The device id as written.
    pub(crate) device: &'a str,
    /// The module id as written.
    pub(crate) module: Option<&'a str>,
    /// The API version, if one was given.
    pub(crate) api_version: Option<Cow<'a, str>>,
    /// The model that the device implements.
    pub(crate) model_id: Option<Cow<'a, str>>,
    /// The user agent.
    pub(crate) client_type: Option<Cow<'a, str>>,
}

/// Why a user name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidUsername {
    /// There is none.
    #[error("the CONNECT packet has no user name")]
    Missing,
    /// There are not two or three segments before the parameters.
    #[error("the user name is not of the form host/device[/module]/?api-version=...")]
    Shape,
    /// The API version is not a date.
    #[error("the api-version in the user name is not of the form 2021-04-12 or 2021-04-12-preview")]
    ApiVersion,
}

impl<'a> Username<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, InvalidUsername> {
        let (path, parameters) = split_parameters(text);
        let mut segments = path.split('/');
        let (Some(host), Some(device)) = (segments.next(), segments.next()) else {
            return Err(InvalidUsername::Shape);
        };
        let module = segments.next();
        if segments.next().is_some() || host.is_empty() || device.is_empty() || module == Some("") {
            return Err(InvalidUsername::Shape);
        }
        let mut username = Self {
            host,
            device,
            module,
            api_version: None,
            model_id: None,
            client_type: None,
        };
        username.read_parameters(parameters);
        match &username.api_version {
            Some(version) if !is_api_version(version) => Err(InvalidUsername::ApiVersion),
            _ => Ok(username),
        }
    }

    /// The first of repeated names counts; unknown names are ignored.
    fn read_parameters(&mut self, parameters: &'a str) {
        for parameter in parameters.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let slot = match name {
                "api-version" => &mut self.api_version,
                "model-id" => &mut self.model_id,
                "DeviceClientType" => &mut self.client_type,
                _ => continue,
            };
            if slot.is_none() {
                *slot = Some(percent_decode_str(value).decode_utf8_lossy());
            }
        }
    }
}

/// The parameters are the last segment if that begins with `?` or holds `api-version=`. A `?` anywhere else belongs to an id.
/// An old client has a `/` inside its parameters; there they begin with the segment that holds `api-version=`.
fn split_parameters(text: &str) -> (&str, &str) {
    if let Some((path, last)) = text.rsplit_once('/') {
        if let Some(parameters) = last.strip_prefix('?') {
            return (path, parameters);
        }
        if last.is_empty() {
            return (path, "");
        }
    }
    // A `?` that begins a segment after the device also ends the path when the parameters hold a raw `/`.
    if let Some(at) = text
        .find("/?api-version=")
        .or_else(|| text.find("/?DeviceClientType="))
    {
        let (path, parameters) = text.split_at(at);
        return (path, parameters.strip_prefix("/?").unwrap_or_default());
    }
    let Some(at) = text.find("api-version=") else {
        return (text, "");
    };
    let start = text.get(..at).and_then(|before| before.rfind('/'));
    match start {
        Some(start) => {
            let (path, parameters) = text.split_at(start);
            (
                path,
                parameters
                    .strip_prefix('/')
                    .unwrap_or_default()
                    .split('/')
                    .next()
                    .unwrap_or_default(),
            )
        }
        None => (text, ""),
    }
}

/// `YYYY-MM-DD`, perhaps followed by `-preview`.
fn is_api_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<String>, Option<String>, Option<String>) {
        let name = Username::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(name.host, "contoso.azure-devices.net");
        (
            name.device.to_owned(),
            name.module.map(str::to_owned),
            name.api_version.map(Cow::into_owned),
            name.model_id.map(Cow::into_owned),
        )
    }

    #[allow(clippy::unnecessary_wraps, reason = "shortens the table below")]
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn reads_every_shape_seen_from_real_clients() {
        let host = "contoso.azure-devices.net";
        let rows = [
            (
                "dev1/?api-version=2021-04-12",
                "dev1",
                None,
                some("2021-04-12"),
                None,
            ),
            (
                "dev1/?api-version=2020-09-30&DeviceClientType=iothubclient%2f1.15.0%20(native%3b%20Linux%3b%20x86_64)",
                "dev1",
                None,
                some("2020-09-30"),
                None,
            ),
            (
                "dev1/mod1/?api-version=2020-09-30&DeviceClientType=x&model-id=dtmi%3acom%3aexample%3aThermostat%3b1",
                "dev1",
                some("mod1"),
                some("2020-09-30"),
                some("dtmi:com:example:Thermostat;1"),
            ),
            (
                "dev1/api-version=2016-11-14",
                "dev1",
                None,
                some("2016-11-14"),
                None,
            ),
            (
                "dev1/DeviceClientType=azure-iot-device%2F1.1.21&api-version=2016-11-14",
                "dev1",
                None,
                some("2016-11-14"),
                None,
            ),
            ("dev1", "dev1", None, None, None),
            ("dev1/", "dev1", None, None, None),
            (
                "dev1/mod1/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003",
                "dev1",
                some("mod1"),
                some("2017-06-30"),
                None,
            ),
            (
                "dev1/?api-version=2018-06-30&DeviceClientType=old/1.0 (raw slash)",
                "dev1",
                None,
                some("2018-06-30"),
                None,
            ),
            (
                "what?x/?api-version=2021-04-12",
                "what?x",
                None,
                some("2021-04-12"),
                None,
            ),
            (
                "a%20b/?api-version=2021-04-12&api-version=1",
                "a%20b",
                None,
                some("2021-04-12"),
                None,
            ),
        ];
        for (rest, device, module, version, model) in rows {
            assert_eq!(
                parsed(&format!("{host}/{rest}")),
                (device.to_owned(), module, version, model),
                "{rest}"
            );
        }
    }

    #[test]
    fn refuses_what_has_no_shape() {
        for bad in [
            "",
            "host",
            "host/",
            "/dev",
            "host/d/m/x/?api-version=2021-04-12",
            "host//m",
        ] {
            assert_eq!(Username::parse(bad), Err(InvalidUsername::Shape), "{bad}");
        }
        for bad in [
            "h/d/?api-version=",
            "h/d/?api-version=latest",
            "h/d/?api-version=2021-4-12",
        ] {
            assert_eq!(Username::parse(bad), Err(InvalidUsername::ApiVersion), "{bad}");
        }
    }
}
