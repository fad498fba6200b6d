//! Paths of the resource manager: which hub they name, and what is asked of it (service-rest.md 16).
//!
//! Subscription and resource group may be any: a server has neither, and answers with those that it was asked with. Fixed words
//! compare without case; a `$` comes plain and escaped.

use hyper::Method;

use crate::http::route::{NoRoute, decode};

/// What the resource manager calls the hubs' part of its paths.
const PROVIDER: &str = "microsoft.devices";

/// The type of a hub.
pub(super) const HUB_TYPE: &str = "Microsoft.Devices/IotHubs";

/// The resource group that a list of a whole subscription shows.
const ANY_GROUP: &str = "ironhub";

/// Whether a path is one of the resource manager's.
pub(crate) fn is_address(path: &str) -> bool {
    let mut segments = path.trim_start_matches('/').split('/');
    let first = segments.next().unwrap_or_default();
    first.eq_ignore_ascii_case("subscriptions")
        || (first.eq_ignore_ascii_case("providers")
            && segments
                .next()
                .is_some_and(|second| second.eq_ignore_ascii_case(PROVIDER)))
}

/// A request of the resource manager, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// About the server as a whole.
    Server(Group, ServerOperation),
    /// About one hub.
    Hub(Group, String, HubOperation),
}

/// Where a client says that a hub lies; kept as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    subscription: String,
    name: String,
}

impl Group {
    /// The id of a hub as a resource.
    pub(super) fn hub_id(&self, hub: &str) -> String {
        let Self { subscription, name } = self;
        format!("/subscriptions/{subscription}/resourceGroups/{name}/providers/{HUB_TYPE}/{hub}")
    }

    /// The subscription.
    pub(super) fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The resource group.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// What is asked of the server as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerOperation {
    /// `GET /providers/Microsoft.Devices/operations`
    Operations,
    /// `GET /subscriptions/{s}/providers/Microsoft.Devices/usages`
    Usages,
    /// `POST /subscriptions/{s}/providers/Microsoft.Devices/checkNameAvailability`
    CheckName,
    /// `GET /subscriptions/{s}[/resourceGroups/{g}]/providers/Microsoft.Devices/IotHubs`
    ListHubs,
}

/// What is asked of a hub; paths are below its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HubOperation {
    /// `GET`
    Get,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `POST /listkeys`
    ListKeys,
    /// `POST /IotHubKeys/{name}/listkeys`
    KeysOf(String),
    /// `GET /IotHubStats`
    Statistics,
    /// `GET /skus`
    Skus,
    /// `GET /quotaMetrics`
    QuotaMetrics,
    /// `GET /eventHubEndpoints/events/ConsumerGroups`
    ListGroups,
    /// `GET /eventHubEndpoints/events/ConsumerGroups/{name}`
    GetGroup(String),
    /// `PUT /eventHubEndpoints/events/ConsumerGroups/{name}`
    PutGroup(String),
    /// `DELETE /eventHubEndpoints/events/ConsumerGroups/{name}`
    DeleteGroup(String),
    /// `GET /certificates`
    ListCertificates,
    /// `GET /certificates/{name}`
    GetCertificate(String),
    /// `PUT /certificates/{name}`
    PutCertificate(String),
    /// `DELETE /certificates/{name}`
    DeleteCertificate(String),
    /// `POST /certificates/{name}/generateVerificationCode`
    DrawCode(String),
    /// `POST /certificates/{name}/verify`
    VerifyCertificate(String),
    /// A list that has nothing in it here: `jobs`, `routingEndpointsHealth`, `privateLinkResources`.
    EmptyList,
    /// `GET /privateEndpointConnections`, which is answered with an array alone.
    PrivateEndpoints,
    /// Something that hubs of this server do not have.
    Missing(&'static str),
}

impl Address {
    pub(super) fn find(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<String> = path.split('/').map(decode).collect();
        let words: Vec<String> = segments
            .iter()
            .map(|segment| segment.to_ascii_lowercase())
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let at = |index: usize| segments.get(index).cloned().unwrap_or_default();
        let group = |name: Option<String>| Group {
            subscription: at(1),
            name: name.unwrap_or_else(|| ANY_GROUP.to_owned()),
        };
        let server = |operation, offered: &Method, group: Group| {
            if method == offered {
                Ok(Self::Server(group, operation))
            } else {
                Err(NoRoute::Method)
            }
        };
        match words.as_slice() {
            ["providers", PROVIDER, "operations"] => {
                server(ServerOperation::Operations, &Method::GET, group(None))
            }
            ["subscriptions", _, "providers", PROVIDER, "usages"] => {
                server(ServerOperation::Usages, &Method::GET, group(None))
            }
            ["subscriptions", _, "providers", PROVIDER, "checknameavailability"] => {
                server(ServerOperation::CheckName, &Method::POST, group(None))
            }
            ["subscriptions", _, "providers", PROVIDER, "iothubs"] => {
                server(ServerOperation::ListHubs, &Method::GET, group(None))
            }
            [
                "subscriptions",
                _,
                "resourcegroups",
                _,
                "providers",
                PROVIDER,
                "iothubs",
            ] => server(ServerOperation::ListHubs, &Method::GET, group(Some(at(3)))),
            [
                "subscriptions",
                _,
                "resourcegroups",
                _,
                "providers",
                PROVIDER,
                "iothubs",
                _,
                rest @ ..,
            ] => {
                let names = segments.get(8..).unwrap_or_default();
                let operation = HubOperation::find(method.as_str(), rest, names)?;
                Ok(Self::Hub(group(Some(at(3))), at(7), operation))
            }
            _ => Err(NoRoute::Path),
        }
    }
}

impl HubOperation {
    /// `words` is the path below the hub in lower case, `names` the same as it came.
    fn find(method: &str, words: &[&str], names: &[String]) -> Result<Self, NoRoute> {
        let name = |index: usize| names.get(index).cloned().unwrap_or_default();
        match (words, method) {
            ([], "GET") => Ok(Self::Get),
            ([], "PUT") => Ok(Self::Put),
            ([], "PATCH") => Ok(Self::Patch),
            ([], "DELETE") => Ok(Self::Delete),
            (["listkeys"], "POST") => Ok(Self::ListKeys),
            (["iothubkeys", _, "listkeys"], "POST") => Ok(Self::KeysOf(name(1))),
            (["iothubstats"], "GET") => Ok(Self::Statistics),
            (["skus"], "GET") => Ok(Self::Skus),
            (["quotametrics"], "GET") => Ok(Self::QuotaMetrics),
            (["eventhubendpoints", "events", "consumergroups"], "GET") => Ok(Self::ListGroups),
            (["eventhubendpoints", "events", "consumergroups", _], "GET") => Ok(Self::GetGroup(name(3))),
            (["eventhubendpoints", "events", "consumergroups", _], "PUT") => Ok(Self::PutGroup(name(3))),
            (["eventhubendpoints", "events", "consumergroups", _], "DELETE") => {
                Ok(Self::DeleteGroup(name(3)))
            }
            (["certificates"], "GET") => Ok(Self::ListCertificates),
            (["certificates", _], "GET") => Ok(Self::GetCertificate(name(1))),
            (["certificates", _], "PUT") => Ok(Self::PutCertificate(name(1))),
            (["certificates", _], "DELETE") => Ok(Self::DeleteCertificate(name(1))),
            (["certificates", _, "generateverificationcode"], "POST") => Ok(Self::DrawCode(name(1))),
            (["certificates", _, "verify"], "POST") => Ok(Self::VerifyCertificate(name(1))),
            (["jobs" | "routingendpointshealth" | "privatelinkresources"], "GET") => Ok(Self::EmptyList),
            (["privateendpointconnections"], "GET") => Ok(Self::PrivateEndpoints),
            (["failover"], "POST") => Ok(Self::Missing("A hub of one server has no other region")),
            (["exportdevices" | "importdevices"] | ["jobs", _], _) => {
                Ok(Self::Missing("There are no import and export jobs"))
            }
            (["routing", "routes", "$testall" | "$testnew"], "POST") => {
                Ok(Self::Missing("There is no message routing"))
            }
            (["privateendpointconnections" | "privatelinkresources", _], _) => {
                Ok(Self::Missing("There are no private endpoints"))
            }
            (
                []
                | [
                    "listkeys"
                    | "iothubstats"
                    | "skus"
                    | "quotametrics"
                    | "jobs"
                    | "routingendpointshealth"
                    | "privatelinkresources"
                    | "privateendpointconnections"
                    | "failover"
                    | "certificates",
                ]
                | ["certificates", _]
                | ["certificates", _, "generateverificationcode" | "verify"]
                | ["iothubkeys", _, "listkeys"]
                | ["eventhubendpoints", "events", "consumergroups"]
                | ["eventhubendpoints", "events", "consumergroups", _]
                | ["routing", "routes", "$testall" | "$testnew"],
                _,
            ) => Err(NoRoute::Method),
            _ => Err(NoRoute::Path),
        }
    }
}

/// Whether the text is an `api-version` as the resource manager has them: a date from 2016 on, previews as well. Shapes that
/// changed between versions are understood in all of their forms, so no version is told from another.
pub(super) fn is_api_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    let mut parts = date.split('-');
    let mut number = |digits: usize| {
        let part = parts.next().filter(|part| part.len() == digits)?;
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (year, month, day) = (number(4), number(2), number(2));
    parts.next().is_none()
        && year.is_some_and(|year| (2016..2100).contains(&year))
        && month.is_some_and(|month| (1..=12).contains(&month))
        && day.is_some_and(|day| (1..=31).contains(&day))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "/subscriptions/S1/resourceGroups/Rg/providers/Microsoft.Devices/IotHubs/Hub1";

    fn find(method: &str, path: &str) -> Result<Address, NoRoute> {
        Address::find(&method.parse().unwrap(), path)
    }

    fn of_hub(method: &str, rest: &str) -> Result<HubOperation, NoRoute> {
        match find(method, &format!("{HUB}{rest}"))? {
            Address::Hub(group, name, operation) => {
                assert_eq!(
                    (group.subscription(), group.name(), name.as_str()),
                    ("S1", "Rg", "Hub1")
                );
                Ok(operation)
            }
            Address::Server(..) => panic!("{rest}"),
        }
    }

    #[test]
    fn words_compare_without_case_and_names_are_kept() {
        assert_eq!(of_hub("GET", ""), Ok(HubOperation::Get));
        assert_eq!(of_hub("POST", "/listKeys/"), Ok(HubOperation::ListKeys));
        assert_eq!(
            of_hub("POST", "/iothubkeys/My%20Policy/LISTKEYS"),
            Ok(HubOperation::KeysOf("My Policy".to_owned()))
        );
        let groups = "/eventHubEndpoints/events/ConsumerGroups";
        assert_eq!(
            of_hub("PUT", &format!("{groups}/Cg1")),
            Ok(HubOperation::PutGroup("Cg1".to_owned()))
        );
        assert_eq!(
            of_hub("GET", &format!("{groups}/%24Default")),
            Ok(HubOperation::GetGroup("$Default".to_owned()))
        );
        let lower = HUB.to_ascii_lowercase();
        assert!(matches!(find("GET", &lower), Ok(Address::Hub(_, name, _)) if name == "hub1"));
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        assert_eq!(of_hub("POST", ""), Err(NoRoute::Method));
        assert_eq!(of_hub("GET", "/listkeys"), Err(NoRoute::Method));
        assert_eq!(of_hub("GET", "/nothing"), Err(NoRoute::Path));
        assert_eq!(
            of_hub("GET", "/eventHubEndpoints/other/ConsumerGroups"),
            Err(NoRoute::Path)
        );
        assert!(matches!(
            of_hub("POST", "/routing/routes/$testall"),
            Ok(HubOperation::Missing(_))
        ));
    }

    #[test]
    fn the_server_as_a_whole() {
        let list = "/subscriptions/S1/providers/Microsoft.Devices/IotHubs";
        let Ok(Address::Server(group, ServerOperation::ListHubs)) = find("GET", list) else {
            panic!("no list");
        };
        assert_eq!(
            group.hub_id("h"),
            "/subscriptions/S1/resourceGroups/ironhub/providers/Microsoft.Devices/IotHubs/h"
        );
        assert!(matches!(
            find("GET", "/providers/microsoft.devices/operations"),
            Ok(Address::Server(_, ServerOperation::Operations))
        ));
        assert_eq!(find("POST", list), Err(NoRoute::Method));
        for (path, expected) in [
            (list, true),
            ("/Subscriptions/x", true),
            ("/providers/Microsoft.Devices/operations", true),
            ("/providers/Other/operations", false),
            ("/devices/subscriptions", false),
            ("/", false),
        ] {
            assert_eq!(is_address(path), expected, "{path}");
        }
    }

    #[test]
    fn versions_are_dates() {
        for good in [
            "2016-02-03",
            "2023-06-30",
            "2025-08-01-preview",
            "2019-03-22-preview",
        ] {
            assert!(is_api_version(good), "{good}");
        }
        for bad in [
            "",
            "2015-01-01",
            "2023-13-01",
            "2023-06-32",
            "2023-6-30",
            "2023-06-30-beta",
            "2023-06-30-01",
            "latest",
            "+023-06-30",
        ] {
            assert!(!is_api_version(bad), "{bad}");
        }
    }
}
