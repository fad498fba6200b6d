//! Which operation a request asks for: method and path, taken apart once (service-rest.md 1, 2.3).
//!
//! Fixed words compare without case, a slash at the end does not count, and ids are percent-decoded once; a `+` stays a plus.

use hyper::Method;
use percent_encoding::percent_decode_str;

/// An operation on the HTTPS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `PUT /devices/{id}`
    PutDevice(String),
    /// `GET /devices/{id}`
    GetDevice(String),
    /// `DELETE /devices/{id}`
    DeleteDevice(String),
    /// `GET /devices?top=`
    ListDevices,
    /// `POST /devices`
    BulkDevices,
    /// `GET /statistics/devices`
    DeviceStatistics,
    /// `GET /statistics/service`
    ServiceStatistics,
    /// `GET /$ironhub/v1/status`
    Status,
    /// `GET /$ironhub/v1/events`
    Events,
    /// `GET /$ironhub/v1/monitor`
    Monitor,
    /// `GET /$ironhub/v1/consumer-groups`
    ListConsumerGroups,
    /// `PUT /$ironhub/v1/consumer-groups/{name}`
    PutConsumerGroup(String),
    /// `DELETE /$ironhub/v1/consumer-groups/{name}`
    DeleteConsumerGroup(String),
}

/// A request for nothing that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No such path.
    Path,
    /// The path exists, the method is not one of its own.
    Method,
}

impl Route {
    pub(crate) fn find(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        let words: Vec<String> = segments
            .iter()
            .map(|segment| segment.to_ascii_lowercase())
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let id = |at: usize| decode(segments.get(at).copied().unwrap_or_default());
        match (words.as_slice(), method.as_str()) {
            (["devices"], "GET") => Ok(Self::ListDevices),
            (["devices"], "POST") => Ok(Self::BulkDevices),
            (["devices", _], "PUT") => Ok(Self::PutDevice(id(1))),
            (["devices", _], "GET") => Ok(Self::GetDevice(id(1))),
            (["devices", _], "DELETE") => Ok(Self::DeleteDevice(id(1))),
            (["statistics", "devices"], "GET") => Ok(Self::DeviceStatistics),
            (["statistics", "service"], "GET") => Ok(Self::ServiceStatistics),
            (["$ironhub", "v1", rest @ ..], method) => Self::find_own(rest, method, &id),
            (["devices"] | ["devices", _] | ["statistics", "devices" | "service"], _) => Err(NoRoute::Method),
            _ => Err(NoRoute::Path),
        }
    }

    /// Ironhub's own additions.
    fn find_own(rest: &[&str], method: &str, id: &dyn Fn(usize) -> String) -> Result<Self, NoRoute> {
        match (rest, method) {
            (["status"], "GET") => Ok(Self::Status),
            (["events"], "GET") => Ok(Self::Events),
            (["monitor"], "GET") => Ok(Self::Monitor),
            (["consumer-groups"], "GET") => Ok(Self::ListConsumerGroups),
            (["consumer-groups", _], "PUT") => Ok(Self::PutConsumerGroup(id(3))),
            (["consumer-groups", _], "DELETE") => Ok(Self::DeleteConsumerGroup(id(3))),
            (["status" | "events" | "monitor" | "consumer-groups"] | ["consumer-groups", _], _) => {
                Err(NoRoute::Method)
            }
            _ => Err(NoRoute::Path),
        }
    }

    /// Whether the path is one of Azure's, which need an `api-version`.
    pub(crate) fn needs_api_version(&self) -> bool {
        matches!(
            self,
            Self::PutDevice(_)
                | Self::GetDevice(_)
                | Self::DeleteDevice(_)
                | Self::ListDevices
                | Self::BulkDevices
                | Self::DeviceStatistics
                | Self::ServiceStatistics
        )
    }
}

fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// A query parameter, percent-decoded; the first of that name. Names compare without case.
pub(crate) fn query_parameter(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        key.eq_ignore_ascii_case(name).then(|| decode(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_quirks() {
        let find = |method: &str, path: &str| Route::find(&method.parse().unwrap(), path);
        assert_eq!(find("GET", "/devices"), Ok(Route::ListDevices));
        assert_eq!(find("GET", "/devices/"), Ok(Route::ListDevices));
        assert_eq!(
            find("PUT", "/Devices/A%40b+c"),
            Ok(Route::PutDevice("A@b+c".to_owned()))
        );
        assert_eq!(find("GET", "/statistics/Devices"), Ok(Route::DeviceStatistics));
        assert_eq!(find("PATCH", "/devices/a"), Err(NoRoute::Method));
        assert_eq!(find("GET", "/"), Err(NoRoute::Path));
        assert_eq!(find("GET", "/devices/a/b"), Err(NoRoute::Path));
        assert_eq!(
            find("PUT", "/$ironhub/v1/consumer-groups/Cg1"),
            Ok(Route::PutConsumerGroup("Cg1".to_owned()))
        );
        assert_eq!(find("POST", "/$ironhub/v1/status"), Err(NoRoute::Method));
    }

    #[test]
    fn query_parameters() {
        let query = Some("api-version=2021-04-12&Top=5&x=%C3%A4&flag");
        assert_eq!(query_parameter(query, "top").as_deref(), Some("5"));
        assert_eq!(query_parameter(query, "x").as_deref(), Some("ä"));
        assert_eq!(query_parameter(query, "flag").as_deref(), Some(""));
        assert_eq!(query_parameter(query, "none"), None);
        assert_eq!(query_parameter(None, "top"), None);
    }
}
