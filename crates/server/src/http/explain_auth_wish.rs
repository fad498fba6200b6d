//! What is asked of an explanation: as whom a peer comes, with what, and what it wants.

use std::net::IpAddr;

use hub::access::operation::{self, Definition};
use hub::error::Error;
use hub::identity::{DeviceId, IdentityId};
use hub::network::Endpoint;
use hyper::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::demand::Demand;
use super::explain_auth_told::Protocol;
use super::registry::parse_id;
use super::request::Call;
use super::route::{Route, Target};

/// Longest host name, and longest path, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Where devices send over HTTPS, unless the caller says otherwise.
const DEVICE_PATH: &str = "messages/events";

/// Without `Debug`: it holds a credential.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Given {
    pub(super) host: Option<String>,
    pub(super) protocol: Option<Protocol>,
    /// The address that the peer comes from; without one the network rules are not asked.
    pub(super) address: Option<IpAddr>,
    pub(super) device: Option<String>,
    pub(super) module: Option<String>,
    pub(super) token: Option<String>,
    /// Leaf first.
    #[serde(default)]
    pub(super) certificates: Vec<String>,
    pub(super) operation: Option<String>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
}

/// What the peer wants.
pub(super) enum Wish {
    /// To speak for an identity; over HTTPS, for a path below it.
    Identity(IdentityId, String),
    /// An operation of the service side, at a path as tokens name it.
    Service {
        row: &'static Definition,
        path: String,
        endpoints: &'static [Endpoint],
    },
    /// The same, of the modules of a device, which an edge device may do for itself.
    Modules {
        row: &'static Definition,
        device: DeviceId,
        path: String,
        endpoints: &'static [Endpoint],
    },
}

/// Reads it.
pub(super) fn wish(given: &Given) -> Result<Wish, Error> {
    for (name, text) in [("host", &given.host), ("path", &given.path)] {
        if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Error::argument(format!("{name} has over {TEXT_BYTES_MAX} bytes")));
        }
    }
    match (&given.device, &given.module) {
        (Some(device), module) => {
            if given.operation.is_some() {
                return Err(Error::argument(
                    "An operation is of services, and a device is named",
                ));
            }
            let target = Target {
                device: device.clone(),
                module: module.clone(),
            };
            let path = given.path.as_deref().unwrap_or(DEVICE_PATH);
            let path = path.strip_prefix('/').unwrap_or(path).to_owned();
            Ok(Wish::Identity(Call::identity(&target)?, path))
        }
        (None, Some(_)) => Err(Error::argument("A module is named and its device is not")),
        (None, None) => service_wish(given),
    }
}

fn service_wish(given: &Given) -> Result<Wish, Error> {
    if given.protocol == Some(Protocol::Mqtt) {
        return Err(Error::argument(
            "Services come over HTTPS and AMQP, not over MQTT",
        ));
    }
    let named = given.operation.as_deref().map(|name| {
        let found = operation::ALL
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name));
        found.copied().ok_or_else(|| {
            let names: Vec<_> = operation::ALL.iter().map(|row| row.name).collect();
            Error::argument(format!("The operations are {}", names.join(", ")))
        })
    });
    let named = named.transpose()?;
    let url = given.path.as_deref().unwrap_or_default();
    let url = url.split_once('?').map_or(url, |(path, _)| path);
    let path = url.strip_prefix('/').unwrap_or(url);
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    if let Some(row) = named {
        let endpoints: &[Endpoint] = match row.name {
            "ReadEvents" => &[Endpoint::Reader],
            _ => &[Endpoint::Service],
        };
        return Ok(Wish::Service { row, path, endpoints });
    }
    if given.path.is_none() {
        return Err(Error::argument(
            "Name a device, or an operation or a path of services",
        ));
    }
    let method = given.method.as_deref().unwrap_or("GET");
    let method: Method = method
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| Error::argument("method is no method of HTTP"))?;
    let route = Route::find(&method, url)
        .map_err(|_| Error::argument("The hub has no such path, or not with this method"))?;
    match route.demand() {
        Demand::OperationOrEdge(row) if route.device_of_modules().is_some() => Ok(Wish::Modules {
            row,
            device: parse_id(route.device_of_modules().unwrap_or_default())?,
            path,
            endpoints: route.endpoints(),
        }),
        Demand::Operation(row) | Demand::OperationOrEdge(row) => Ok(Wish::Service {
            row,
            path,
            endpoints: route.endpoints(),
        }),
        Demand::Itself => Err(Error::argument(
            "The path is for the device itself: name the device",
        )),
        Demand::AnyToken | Demand::Nothing | Demand::Never => {
            Err(Error::argument("Nothing is decided about this path"))
        }
    }
}
