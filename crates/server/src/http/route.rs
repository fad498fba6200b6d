//! Which operation a request asks for: method and path, taken apart once (service-rest.md 1, 2.3).
//!
//! Fixed words compare without case, a slash at the end does not count, and ids are percent-decoded once; a `+` stays a plus.

use hub::network::Endpoint;
use hyper::Method;
use percent_encoding::percent_decode_str;

/// A device or module as a path names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) device: String,
    pub(crate) module: Option<String>,
}

/// What is asked of the revocation of the hub, below `/$ironhub/v1/revocation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RevocationRoute {
    /// `GET blocks`
    ListBlocks,
    /// `POST blocks`
    Block,
    /// `DELETE blocks/{id}`
    Unblock(String),
    /// `GET lists`
    ListLists,
    /// `PUT lists/{name}`
    DefineList(String),
    /// `PUT lists/{name}/content`
    UploadList(String),
    /// `POST lists/{name}/refresh`
    RefreshList(String),
    /// `DELETE lists/{name}`
    RemoveList(String),
    /// `GET responders`
    ListResponders,
    /// `PUT responders/{name}`
    DefineResponder(String),
    /// `POST responders/{name}/ask`
    AskResponder(String),
    /// `DELETE responders/{name}`
    RemoveResponder(String),
    /// `PUT settings`
    Settings,
}

impl RevocationRoute {
    /// `rest` follows `revocation/`; `id` is its second segment, decoded.
    fn find(rest: &[&str], method: &str, id: String) -> Result<Self, NoRoute> {
        match (rest, method) {
            (["blocks"], "GET") => Ok(Self::ListBlocks),
            (["blocks"], "POST") => Ok(Self::Block),
            (["blocks", _], "DELETE") => Ok(Self::Unblock(id)),
            (["lists"], "GET") => Ok(Self::ListLists),
            (["lists", _], "PUT") => Ok(Self::DefineList(id)),
            (["lists", _], "DELETE") => Ok(Self::RemoveList(id)),
            (["lists", _, "content"], "PUT") => Ok(Self::UploadList(id)),
            (["lists", _, "refresh"], "POST") => Ok(Self::RefreshList(id)),
            (["responders"], "GET") => Ok(Self::ListResponders),
            (["responders", _], "PUT") => Ok(Self::DefineResponder(id)),
            (["responders", _], "DELETE") => Ok(Self::RemoveResponder(id)),
            (["responders", _, "ask"], "POST") => Ok(Self::AskResponder(id)),
            (["settings"], "PUT") => Ok(Self::Settings),
            (
                ["blocks" | "lists" | "responders" | "settings"]
                | ["blocks" | "lists" | "responders", _]
                | ["lists", _, "content" | "refresh"]
                | ["responders", _, "ask"],
                _,
            ) => Err(NoRoute::Method),
            _ => Err(NoRoute::Path),
        }
    }
}

/// An operation on the HTTPS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `PUT /devices/{id}`
    PutDevice(String),
    /// `GET /devices/{id}`
    GetDevice(String),
    /// `DELETE /devices/{id}`
    DeleteDevice(String),
    /// `GET, POST /$ironhub/v1/revocation/blocks`, ..
    Revocation(RevocationRoute),
    /// `GET /devices?top=`
    ListDevices,
    /// `POST /devices`
    BulkDevices,
    /// `POST /devices/keys/regenerate`
    RegenerateKeys,
    /// `GET /devices/{id}/modules`
    ListModules(String),
    /// `PUT /devices/{id}/modules/{module}`
    PutModule(String, String),
    /// `GET /devices/{id}/modules/{module}`
    GetModule(String, String),
    /// `DELETE /devices/{id}/modules/{module}`
    DeleteModule(String, String),
    /// `GET /statistics/devices`
    DeviceStatistics,
    /// `GET /statistics/service`
    ServiceStatistics,
    /// `GET /twins/{id}[/modules/{module}]`
    GetTwin(Target),
    /// `PATCH /twins/{id}[/modules/{module}]`
    PatchTwin(Target),
    /// `PUT /twins/{id}[/modules/{module}]`
    PutTwin(Target),
    /// `POST /twins/{id}[/modules/{module}]/methods`
    InvokeMethod(Target),
    /// `DELETE /devices/{id}/commands`
    PurgeCommands(Target),
    /// `POST /devices/{id}[/modules/{module}]/messages/events`
    SendTelemetry(Target),
    /// `GET /devices/{id}[/modules/{module}]/messages/deviceBound`
    ReceiveCommand(Target),
    /// `DELETE /devices/{id}[/modules/{module}]/messages/deviceBound/{lock}[?reject]`
    SettleCommand(Target, String),
    /// `POST /devices/{id}[/modules/{module}]/messages/deviceBound/{lock}/abandon`
    AbandonCommand(Target, String),
    /// `POST /devices/{id}/files`
    BeginUpload(Target),
    /// `POST /devices/{id}/files/notifications[/{correlation id}]`
    CompleteUpload(Target, Option<String>),
    /// `GET /messages/serviceBound/feedback`
    ReceiveFeedback,
    /// `DELETE /messages/serviceBound/feedback/{lock}`
    CompleteFeedback(String),
    /// `POST /messages/serviceBound/feedback/{lock}/abandon`
    AbandonFeedback(String),
    /// `GET /$ironhub/v1/settings`
    GetSettings,
    /// `PATCH /$ironhub/v1/settings`
    PatchSettings,
    /// `GET /$ironhub/v1/status`
    Status,
    /// `GET /$ironhub/v1/advice`
    Advice,
    /// `GET /$ironhub/v1/audit`
    Audit,
    /// `GET /$ironhub/v1/audit/export`
    ExportAudit,
    /// `GET /$ironhub/v1/audit/check`
    CheckAudit,
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
    /// `GET /$ironhub/v1/authorities`
    ListAuthorities,
    /// `GET /$ironhub/v1/authorities/{name}`
    GetAuthority(String),
    /// `PUT /$ironhub/v1/authorities/{name}`
    PutAuthority(String),
    /// `DELETE /$ironhub/v1/authorities/{name}`
    DeleteAuthority(String),
    /// `POST /$ironhub/v1/authorities/{name}/code`
    DrawAuthorityCode(String),
    /// `POST /$ironhub/v1/authorities/{name}/verify`
    VerifyAuthority(String),
    /// `GET /$ironhub/v1/policies`
    ListPolicies,
    /// `POST /$ironhub/v1/policies`
    CreatePolicy,
    /// `GET /$ironhub/v1/policies/{name}`
    GetPolicy(String),
    /// `PUT /$ironhub/v1/policies/{name}`
    PutPolicy(String),
    /// `DELETE /$ironhub/v1/policies/{name}`
    DeletePolicy(String),
    /// `POST /$ironhub/v1/policies/{name}/rotate`
    RotatePolicy(String),
    /// `GET /$ironhub/v1/issuers`
    ListIssuers,
    /// `PUT /$ironhub/v1/issuers/{name}`
    PutIssuer(String),
    /// `DELETE /$ironhub/v1/issuers/{name}`
    DeleteIssuer(String),
    /// `GET /$ironhub/v1/roles`
    ListRoles,
    /// `PUT /$ironhub/v1/roles/{name}`
    PutRole(String),
    /// `DELETE /$ironhub/v1/roles/{name}`
    DeleteRole(String),
    /// `GET /$ironhub/v1/assignments`
    ListAssignments,
    /// `POST /$ironhub/v1/assignments`
    Assign,
    /// `DELETE /$ironhub/v1/assignments/{id}`
    Unassign(String),
    /// `POST /$ironhub/v1/commands/{id}[/modules/{module}]`
    SendCommand(Target),
    /// `GET /$ironhub/v1/explain/{id}[/modules/{module}]`
    Explain(Target),
    /// `GET /$ironhub/v1/watch/{id}[/modules/{module}]`
    WatchTwin(Target),
    /// `POST /$ironhub/v1/explain-auth`
    ExplainAuth,
    /// `GET /$ironhub/v1/master-key`
    MasterKeyStatus,
    /// `POST /$ironhub/v1/master-key/rotate`
    RotateMasterKey,
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
        let target = |at: usize, has_module: bool| Target {
            device: id(at),
            module: has_module.then(|| id(at + 2)),
        };
        match (words.as_slice(), method.as_str()) {
            (["devices"], "GET") => Ok(Self::ListDevices),
            (["devices"], "POST") => Ok(Self::BulkDevices),
            (["devices", "keys", "regenerate"], "POST") => Ok(Self::RegenerateKeys),
            (["devices", _], "PUT") => Ok(Self::PutDevice(id(1))),
            (["devices", _], "GET") => Ok(Self::GetDevice(id(1))),
            (["devices", _], "DELETE") => Ok(Self::DeleteDevice(id(1))),
            (["devices", _, "modules"], "GET") => Ok(Self::ListModules(id(1))),
            (["devices", _, "modules", _], "PUT") => Ok(Self::PutModule(id(1), id(3))),
            (["devices", _, "modules", _], "GET") => Ok(Self::GetModule(id(1), id(3))),
            (["devices", _, "modules", _], "DELETE") => Ok(Self::DeleteModule(id(1), id(3))),
            (["devices", _, "commands"], "DELETE") => Ok(Self::PurgeCommands(target(1, false))),
            (["devices", _, "modules", _, "commands"], "DELETE") => Ok(Self::PurgeCommands(target(1, true))),
            (["devices", _, "messages", rest @ ..], method) => {
                Self::find_messages(rest, method, target(1, false), id(4))
            }
            (["devices", _, "modules", _, "messages", rest @ ..], method) => {
                Self::find_messages(rest, method, target(1, true), id(6))
            }
            (["devices", _, "files"], "POST") => Ok(Self::BeginUpload(target(1, false))),
            (["devices", _, "files", "notifications"], "POST") => {
                Ok(Self::CompleteUpload(target(1, false), None))
            }
            (["devices", _, "files", "notifications", _], "POST") => {
                Ok(Self::CompleteUpload(target(1, false), Some(id(4))))
            }
            (["statistics", "devices"], "GET") => Ok(Self::DeviceStatistics),
            (["statistics", "service"], "GET") => Ok(Self::ServiceStatistics),
            (["twins", _], method) => Self::find_twin(method, target(1, false)),
            (["twins", _, "modules", _], method) => Self::find_twin(method, target(1, true)),
            (["twins", _, "methods"], "POST") => Ok(Self::InvokeMethod(target(1, false))),
            (["twins", _, "modules", _, "methods"], "POST") => Ok(Self::InvokeMethod(target(1, true))),
            (["messages", "servicebound", "feedback"], "GET") => Ok(Self::ReceiveFeedback),
            (["messages", "servicebound", "feedback", _], "DELETE") => Ok(Self::CompleteFeedback(id(3))),
            (["messages", "servicebound", "feedback", _, "abandon"], "POST") => {
                Ok(Self::AbandonFeedback(id(3)))
            }
            (["$ironhub", "v1", rest @ ..], method) => Self::find_own(rest, method, &id, &target),
            (
                ["devices"]
                | ["devices", _]
                | ["devices", "keys", "regenerate"]
                | ["devices", _, "modules" | "commands" | "files"]
                | ["devices", _, "files", "notifications"]
                | ["devices", _, "files", "notifications", _]
                | ["devices", _, "modules", _]
                | ["devices", _, "modules", _, "commands"]
                | ["statistics", "devices" | "service"]
                | ["twins", _, "methods"]
                | ["twins", _, "modules", _, "methods"]
                | ["messages", "servicebound", "feedback"]
                | ["messages", "servicebound", "feedback", _]
                | ["messages", "servicebound", "feedback", _, "abandon"],
                _,
            ) => Err(NoRoute::Method),
            _ => Err(NoRoute::Path),
        }
    }

    fn find_twin(method: &str, target: Target) -> Result<Self, NoRoute> {
        match method {
            "GET" => Ok(Self::GetTwin(target)),
            "PATCH" => Ok(Self::PatchTwin(target)),
            "PUT" => Ok(Self::PutTwin(target)),
            _ => Err(NoRoute::Method),
        }
    }

    /// What devices and modules themselves ask for (device-mqtt-https.md 11).
    fn find_messages(rest: &[&str], method: &str, target: Target, lock: String) -> Result<Self, NoRoute> {
        match (rest, method) {
            (["events"], "POST") => Ok(Self::SendTelemetry(target)),
            (["devicebound"], "GET") => Ok(Self::ReceiveCommand(target)),
            (["devicebound", _], "DELETE") => Ok(Self::SettleCommand(target, lock)),
            (["devicebound", _, "abandon"], "POST") => Ok(Self::AbandonCommand(target, lock)),
            (["events" | "devicebound"] | ["devicebound", _] | ["devicebound", _, "abandon"], _) => {
                Err(NoRoute::Method)
            }
            _ => Err(NoRoute::Path),
        }
    }

    /// Ironhub's own additions.
    fn find_own(
        rest: &[&str],
        method: &str,
        id: &dyn Fn(usize) -> String,
        target: &dyn Fn(usize, bool) -> Target,
    ) -> Result<Self, NoRoute> {
        match (rest, method) {
            (["commands", _], "POST") => Ok(Self::SendCommand(target(3, false))),
            (["commands", _, "modules", _], "POST") => Ok(Self::SendCommand(target(3, true))),
            (["explain", _], "GET") => Ok(Self::Explain(target(3, false))),
            (["explain", _, "modules", _], "GET") => Ok(Self::Explain(target(3, true))),
            (["explain-auth"], "POST") => Ok(Self::ExplainAuth),
            (["watch", _], "GET") => Ok(Self::WatchTwin(target(3, false))),
            (["watch", _, "modules", _], "GET") => Ok(Self::WatchTwin(target(3, true))),
            (["advice"], "GET") => Ok(Self::Advice),
            (["audit"], "GET") => Ok(Self::Audit),
            (["audit", "export"], "GET") => Ok(Self::ExportAudit),
            (["audit", "check"], "GET") => Ok(Self::CheckAudit),
            (["revocation", rest @ ..], method) => {
                RevocationRoute::find(rest, method, id(4)).map(Self::Revocation)
            }
            (["settings"], "GET") => Ok(Self::GetSettings),
            (["settings"], "PATCH") => Ok(Self::PatchSettings),
            (["status"], "GET") => Ok(Self::Status),
            (["events"], "GET") => Ok(Self::Events),
            (["monitor"], "GET") => Ok(Self::Monitor),
            (["master-key"], "GET") => Ok(Self::MasterKeyStatus),
            (["master-key", "rotate"], "POST") => Ok(Self::RotateMasterKey),
            (["consumer-groups"], "GET") => Ok(Self::ListConsumerGroups),
            (["consumer-groups", _], "PUT") => Ok(Self::PutConsumerGroup(id(3))),
            (["issuers"], "GET") => Ok(Self::ListIssuers),
            (["issuers", _], "PUT") => Ok(Self::PutIssuer(id(3))),
            (["issuers", _], "DELETE") => Ok(Self::DeleteIssuer(id(3))),
            (["roles"], "GET") => Ok(Self::ListRoles),
            (["roles", _], "PUT") => Ok(Self::PutRole(id(3))),
            (["roles", _], "DELETE") => Ok(Self::DeleteRole(id(3))),
            (["assignments"], "GET") => Ok(Self::ListAssignments),
            (["assignments"], "POST") => Ok(Self::Assign),
            (["assignments", _], "DELETE") => Ok(Self::Unassign(id(3))),
            (["consumer-groups", _], "DELETE") => Ok(Self::DeleteConsumerGroup(id(3))),
            (["authorities"], "GET") => Ok(Self::ListAuthorities),
            (["authorities", _], "GET") => Ok(Self::GetAuthority(id(3))),
            (["authorities", _], "PUT") => Ok(Self::PutAuthority(id(3))),
            (["authorities", _], "DELETE") => Ok(Self::DeleteAuthority(id(3))),
            (["authorities", _, "code"], "POST") => Ok(Self::DrawAuthorityCode(id(3))),
            (["authorities", _, "verify"], "POST") => Ok(Self::VerifyAuthority(id(3))),
            (["policies"], "GET") => Ok(Self::ListPolicies),
            (["policies"], "POST") => Ok(Self::CreatePolicy),
            (["policies", _], "GET") => Ok(Self::GetPolicy(id(3))),
            (["policies", _], "PUT") => Ok(Self::PutPolicy(id(3))),
            (["policies", _], "DELETE") => Ok(Self::DeletePolicy(id(3))),
            (["policies", _, "rotate"], "POST") => Ok(Self::RotatePolicy(id(3))),
            (
                [
                    "settings" | "status" | "events" | "monitor" | "consumer-groups" | "policies"
                    | "authorities" | "master-key" | "issuers" | "roles" | "assignments" | "audit" | "advice"
                    | "explain-auth",
                ]
                | ["audit", "export" | "check"]
                | [
                    "consumer-groups" | "commands" | "explain" | "watch" | "policies" | "authorities"
                    | "issuers" | "roles" | "assignments",
                    _,
                ]
                | ["policies", _, "rotate"]
                | ["authorities", _, "code" | "verify"]
                | ["master-key", "rotate"]
                | ["commands" | "explain" | "watch", _, "modules", _],
                _,
            ) => Err(NoRoute::Method),
            _ => Err(NoRoute::Path),
        }
    }

    /// The device whose modules are asked for.
    pub(crate) fn device_of_modules(&self) -> Option<&str> {
        match self {
            Self::ListModules(device)
            | Self::PutModule(device, _)
            | Self::GetModule(device, _)
            | Self::DeleteModule(device, _) => Some(device),
            _ => None,
        }
    }

    /// The endpoints of which one must be open to the peer's address: modules are looked after by services and by edge devices.
    pub(crate) fn endpoints(&self) -> &'static [Endpoint] {
        match self {
            Self::SendTelemetry(_)
            | Self::ReceiveCommand(_)
            | Self::SettleCommand(..)
            | Self::AbandonCommand(..)
            | Self::BeginUpload(_)
            | Self::CompleteUpload(..) => &[Endpoint::Device],
            Self::ListModules(_) | Self::PutModule(..) | Self::GetModule(..) | Self::DeleteModule(..) => {
                &[Endpoint::Service, Endpoint::Device]
            }
            Self::Monitor => &[Endpoint::Reader],
            _ => &[Endpoint::Service],
        }
    }
}

pub(super) fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// Whether a query names a flag, with or without a value. Some clients write a second question mark before it.
pub(crate) fn query_flag(query: Option<&str>, name: &str) -> bool {
    query.unwrap_or_default().split('&').any(|pair| {
        let key = decode(pair.split_once('=').map_or(pair, |(key, _)| key));
        key.strip_prefix('?').unwrap_or(&key).eq_ignore_ascii_case(name)
    })
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
        assert_eq!(
            find("POST", "/Devices/Keys/Regenerate"),
            Ok(Route::RegenerateKeys)
        );
        assert_eq!(find("GET", "/devices/keys/regenerate"), Err(NoRoute::Method));
        assert_eq!(
            find("GET", "/devices/keys"),
            Ok(Route::GetDevice("keys".to_owned()))
        );
        assert_eq!(find("GET", "/"), Err(NoRoute::Path));
        assert_eq!(find("GET", "/devices/a/b"), Err(NoRoute::Path));
        assert_eq!(
            find("PUT", "/$ironhub/v1/consumer-groups/Cg1"),
            Ok(Route::PutConsumerGroup("Cg1".to_owned()))
        );
        assert_eq!(find("POST", "/$ironhub/v1/status"), Err(NoRoute::Method));
        assert_eq!(
            find("POST", "/$ironhub/v1/master-key/rotate"),
            Ok(Route::RotateMasterKey)
        );
        assert_eq!(find("GET", "/$ironhub/v1/master-key"), Ok(Route::MasterKeyStatus));
        assert_eq!(
            find("GET", "/$ironhub/v1/master-key/rotate"),
            Err(NoRoute::Method)
        );
        assert_eq!(
            find("PUT", "/$ironhub/v1/revocation/lists/Root-1/content"),
            Ok(Route::Revocation(RevocationRoute::UploadList(
                "Root-1".to_owned()
            )))
        );
        assert_eq!(
            find("GET", "/$ironhub/v1/revocation/lists/x"),
            Err(NoRoute::Method)
        );
        assert_eq!(
            find("POST", "/$ironhub/v1/revocation/responders/Root-1/ask"),
            Ok(Route::Revocation(RevocationRoute::AskResponder(
                "Root-1".to_owned()
            )))
        );
        assert_eq!(
            find("GET", "/$ironhub/v1/revocation/responders/x/ask"),
            Err(NoRoute::Method)
        );
        assert_eq!(find("GET", "/$ironhub/v1/revocation"), Err(NoRoute::Path));
    }

    #[test]
    fn uploads_are_below_their_device() {
        let find = |path: &str| Route::find(&Method::POST, path);
        let device = || Target {
            device: "a@b".to_owned(),
            module: None,
        };
        assert_eq!(find("/devices/a@b/files/"), Ok(Route::BeginUpload(device())));
        let path = "/Devices/a%40b/Files/Notifications";
        assert_eq!(find(path), Ok(Route::CompleteUpload(device(), None)));
        assert_eq!(
            find(&format!("{path}/MjAy%3D%3D")),
            Ok(Route::CompleteUpload(device(), Some("MjAy==".to_owned())))
        );
        assert_eq!(Route::find(&Method::GET, path), Err(NoRoute::Method));
        assert_eq!(find("/devices/a/files/other"), Err(NoRoute::Path));
    }

    #[test]
    fn modules_are_below_their_device() {
        let find = |method: &str, path: &str| Route::find(&method.parse().unwrap(), path);
        let ids = || ("D".to_owned(), "$edgeAgent".to_owned());
        let path = "/Devices/D/Modules/%24edgeAgent";
        assert_eq!(find("PUT", path), Ok(Route::PutModule(ids().0, ids().1)));
        assert_eq!(find("GET", path), Ok(Route::GetModule(ids().0, ids().1)));
        assert_eq!(find("DELETE", path), Ok(Route::DeleteModule(ids().0, ids().1)));
        assert_eq!(
            find("GET", "/devices/D/modules/"),
            Ok(Route::ListModules(ids().0))
        );
        assert_eq!(find("PATCH", path), Err(NoRoute::Method));
        assert_eq!(find("DELETE", "/devices/D/modules"), Err(NoRoute::Method));
        assert_eq!(find("GET", "/devices/D/modules/m/x"), Err(NoRoute::Path));
    }

    #[test]
    fn paths_of_devices() {
        let find = |method: &str, path: &str| Route::find(&method.parse().unwrap(), path);
        let device = || Target {
            device: "d@1".to_owned(),
            module: None,
        };
        let module = || Target {
            device: "d".to_owned(),
            module: Some("M".to_owned()),
        };
        assert_eq!(
            find("POST", "/devices/d%401/messages/events/"),
            Ok(Route::SendTelemetry(device()))
        );
        assert_eq!(
            find("POST", "/devices/d/modules/M/messages/events"),
            Ok(Route::SendTelemetry(module()))
        );
        let bound = "/devices/d@1/messages/deviceBound";
        assert_eq!(find("GET", bound), Ok(Route::ReceiveCommand(device())));
        assert_eq!(
            find("DELETE", &format!("{bound}/Lock-1")),
            Ok(Route::SettleCommand(device(), "Lock-1".to_owned()))
        );
        assert_eq!(
            find("POST", "/devices/d/modules/M/messages/devicebound/L/Abandon"),
            Ok(Route::AbandonCommand(module(), "L".to_owned()))
        );
        assert_eq!(find("GET", "/devices/d/messages/events"), Err(NoRoute::Method));
        assert_eq!(find("GET", "/devices/d/messages/other"), Err(NoRoute::Path));
    }

    #[test]
    fn query_flags() {
        for query in ["api-version=x&reject", "api-version=x&%3Freject=true", "Reject="] {
            assert!(query_flag(Some(query), "reject"), "{query}");
        }
        for query in [None, Some("api-version=reject&rejected"), Some("")] {
            assert!(!query_flag(query, "reject"), "{query:?}");
        }
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
