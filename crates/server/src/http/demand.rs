//! What each route asks of its caller. A route without a row does not compile, and a handler that asks for something else than
//! its row says answers every caller with an error.

use hub::access::operation::{
    BulkDevices, DeleteDevices, InvokeMethods, Management, Operation, PurgeCommands,
    ReadConnectionStatistics, ReadConsumerGroups, ReadDevices, ReadEvents, ReadHub, ReadStatistics,
    ReadTwins, ReceiveFeedback, SendCommands, WriteConsumerGroups, WriteDevices, WriteTwins,
};

use super::route::Route;
pub(crate) use crate::demand::Demand;

/// The demand of an operation.
pub(super) const fn operation<O: Operation>() -> Demand {
    Demand::operation::<O>()
}

const fn or_edge<O: Operation>() -> Demand {
    Demand::OperationOrEdge(O::DEFINITION)
}

impl Route {
    /// What the route asks of its caller (service-rest.md 2.3; device-mqtt-https.md 11).
    pub(crate) const fn demand(&self) -> Demand {
        match self {
            Self::GetDevice(_) | Self::ListDevices | Self::Explain(_) => operation::<ReadDevices>(),
            Self::PutDevice(_) | Self::RegenerateKeys => operation::<WriteDevices>(),
            Self::DeleteDevice(_) => operation::<DeleteDevices>(),
            Self::BulkDevices => operation::<BulkDevices>(),
            Self::ListModules(_) | Self::GetModule(..) => or_edge::<ReadDevices>(),
            Self::PutModule(..) => or_edge::<WriteDevices>(),
            Self::DeleteModule(..) => or_edge::<DeleteDevices>(),
            Self::DeviceStatistics | Self::Status => operation::<ReadStatistics>(),
            Self::ServiceStatistics => operation::<ReadConnectionStatistics>(),
            Self::GetTwin(_) | Self::WatchTwin(_) => operation::<ReadTwins>(),
            Self::PatchTwin(_) | Self::PutTwin(_) => operation::<WriteTwins>(),
            Self::InvokeMethod(_) => operation::<InvokeMethods>(),
            Self::SendCommand(_) => operation::<SendCommands>(),
            Self::PurgeCommands(_) => operation::<PurgeCommands>(),
            Self::ReceiveFeedback | Self::CompleteFeedback(_) | Self::AbandonFeedback(_) => {
                operation::<ReceiveFeedback>()
            }
            Self::Events | Self::GetSettings => operation::<ReadHub>(),
            Self::Monitor => operation::<ReadEvents>(),
            Self::ListConsumerGroups => operation::<ReadConsumerGroups>(),
            Self::PutConsumerGroup(_) | Self::DeleteConsumerGroup(_) => operation::<WriteConsumerGroups>(),
            Self::Advice
            | Self::Audit
            | Self::ExportAudit
            | Self::CheckAudit
            | Self::ExplainAuth
            | Self::Revocation(_)
            | Self::MasterKeyStatus
            | Self::RotateMasterKey
            | Self::PatchSettings
            | Self::ListAuthorities
            | Self::GetAuthority(_)
            | Self::PutAuthority(_)
            | Self::DeleteAuthority(_)
            | Self::DrawAuthorityCode(_)
            | Self::VerifyAuthority(_)
            | Self::ListPolicies
            | Self::CreatePolicy
            | Self::GetPolicy(_)
            | Self::PutPolicy(_)
            | Self::DeletePolicy(_)
            | Self::RotatePolicy(_)
            | Self::ListIssuers
            | Self::PutIssuer(_)
            | Self::DeleteIssuer(_)
            | Self::ListRoles
            | Self::PutRole(_)
            | Self::DeleteRole(_)
            | Self::ListAssignments
            | Self::Assign
            | Self::Unassign(_) => operation::<Management>(),
            Self::SendTelemetry(_)
            | Self::ReceiveCommand(_)
            | Self::SettleCommand(..)
            | Self::AbandonCommand(..)
            | Self::BeginUpload(_)
            | Self::CompleteUpload(..) => Demand::Itself,
        }
    }
}

/// Every route as documentation writes it: `{}` stands for what a caller fills in.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("GET", "/devices/{id}"),
    ("GET", "/devices"),
    ("PUT", "/devices/{id}"),
    ("DELETE", "/devices/{id}"),
    ("POST", "/devices"),
    ("POST", "/devices/keys/regenerate"),
    ("GET", "/devices/{id}/modules"),
    ("GET", "/devices/{id}/modules/{module}"),
    ("PUT", "/devices/{id}/modules/{module}"),
    ("DELETE", "/devices/{id}/modules/{module}"),
    ("GET", "/statistics/devices"),
    ("GET", "/statistics/service"),
    ("GET", "/twins/{id}"),
    ("PATCH", "/twins/{id}"),
    ("PUT", "/twins/{id}"),
    ("GET", "/twins/{id}/modules/{module}"),
    ("PATCH", "/twins/{id}/modules/{module}"),
    ("PUT", "/twins/{id}/modules/{module}"),
    ("POST", "/twins/{id}/methods"),
    ("POST", "/twins/{id}/modules/{module}/methods"),
    ("DELETE", "/devices/{id}/commands"),
    ("DELETE", "/devices/{id}/modules/{module}/commands"),
    ("GET", "/messages/serviceBound/feedback"),
    ("DELETE", "/messages/serviceBound/feedback/{lock}"),
    ("POST", "/messages/serviceBound/feedback/{lock}/abandon"),
    ("GET", "/$ironhub/v1/settings"),
    ("PATCH", "/$ironhub/v1/settings"),
    ("GET", "/$ironhub/v1/status"),
    ("GET", "/$ironhub/v1/events"),
    ("GET", "/$ironhub/v1/advice"),
    ("GET", "/$ironhub/v1/audit"),
    ("GET", "/$ironhub/v1/audit/export"),
    ("GET", "/$ironhub/v1/audit/check"),
    ("GET", "/$ironhub/v1/monitor"),
    ("POST", "/$ironhub/v1/explain-auth"),
    ("GET", "/$ironhub/v1/explain/{id}"),
    ("GET", "/$ironhub/v1/explain/{id}/modules/{module}"),
    ("GET", "/$ironhub/v1/watch/{id}"),
    ("GET", "/$ironhub/v1/watch/{id}/modules/{module}"),
    ("POST", "/$ironhub/v1/commands/{id}"),
    ("POST", "/$ironhub/v1/commands/{id}/modules/{module}"),
    ("GET", "/$ironhub/v1/consumer-groups"),
    ("PUT", "/$ironhub/v1/consumer-groups/{name}"),
    ("DELETE", "/$ironhub/v1/consumer-groups/{name}"),
    ("GET", "/$ironhub/v1/master-key"),
    ("POST", "/$ironhub/v1/master-key/rotate"),
    ("GET", "/$ironhub/v1/authorities"),
    ("GET", "/$ironhub/v1/authorities/{name}"),
    ("PUT", "/$ironhub/v1/authorities/{name}"),
    ("DELETE", "/$ironhub/v1/authorities/{name}"),
    ("POST", "/$ironhub/v1/authorities/{name}/code"),
    ("POST", "/$ironhub/v1/authorities/{name}/verify"),
    ("GET", "/$ironhub/v1/policies"),
    ("POST", "/$ironhub/v1/policies"),
    ("GET", "/$ironhub/v1/policies/{name}"),
    ("PUT", "/$ironhub/v1/policies/{name}"),
    ("POST", "/$ironhub/v1/policies/{name}/rotate"),
    ("DELETE", "/$ironhub/v1/policies/{name}"),
    ("GET", "/$ironhub/v1/issuers"),
    ("PUT", "/$ironhub/v1/issuers/{name}"),
    ("DELETE", "/$ironhub/v1/issuers/{name}"),
    ("GET", "/$ironhub/v1/roles"),
    ("PUT", "/$ironhub/v1/roles/{name}"),
    ("DELETE", "/$ironhub/v1/roles/{name}"),
    ("GET", "/$ironhub/v1/assignments"),
    ("POST", "/$ironhub/v1/assignments"),
    ("DELETE", "/$ironhub/v1/assignments/{id}"),
    ("GET", "/$ironhub/v1/revocation/blocks"),
    ("POST", "/$ironhub/v1/revocation/blocks"),
    ("DELETE", "/$ironhub/v1/revocation/blocks/{id}"),
    ("GET", "/$ironhub/v1/revocation/lists"),
    ("PUT", "/$ironhub/v1/revocation/lists/{name}"),
    ("PUT", "/$ironhub/v1/revocation/lists/{name}/content"),
    ("POST", "/$ironhub/v1/revocation/lists/{name}/refresh"),
    ("DELETE", "/$ironhub/v1/revocation/lists/{name}"),
    ("GET", "/$ironhub/v1/revocation/responders"),
    ("PUT", "/$ironhub/v1/revocation/responders/{name}"),
    ("POST", "/$ironhub/v1/revocation/responders/{name}/ask"),
    ("DELETE", "/$ironhub/v1/revocation/responders/{name}"),
    ("PUT", "/$ironhub/v1/revocation/settings"),
    ("POST", "/devices/{id}/messages/events"),
    ("POST", "/devices/{id}/modules/{module}/messages/events"),
    ("GET", "/devices/{id}/messages/deviceBound"),
    ("GET", "/devices/{id}/modules/{module}/messages/deviceBound"),
    ("DELETE", "/devices/{id}/messages/deviceBound/{lock}"),
    ("POST", "/devices/{id}/messages/deviceBound/{lock}/abandon"),
    ("POST", "/devices/{id}/files"),
    ("POST", "/devices/{id}/files/notifications/{upload}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_route_is_one() {
        for (method, path) in ROUTES {
            let found = Route::find(&method.parse().unwrap(), path);
            assert!(found.is_ok(), "{method} {path}: {found:?}");
        }
    }

    #[test]
    fn a_demand_is_for_its_own_operation_alone() {
        assert!(operation::<ReadTwins>().is_for::<ReadTwins>());
        assert!(!operation::<ReadTwins>().is_for::<WriteTwins>());
        assert!(or_edge::<ReadDevices>().is_for::<ReadDevices>());
        assert!(!Demand::Itself.is_for::<ReadDevices>());
    }
}
