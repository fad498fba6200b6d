//! What each operation of the resource manager asks of its caller.

use hub::access::operation::{Management, ReadConsumerGroups, ReadHub, ReadStatistics, WriteConsumerGroups};

use crate::http::demand::{Demand, operation};

use super::address::{HubOperation, ServerOperation};

impl ServerOperation {
    /// What a caller must be allowed in one of the hubs.
    pub(super) const fn demand(self) -> Demand {
        match self {
            Self::Operations | Self::Usages | Self::ListHubs => operation::<ReadHub>(),
            // It tells names of hubs that the caller knows nothing of.
            Self::CheckName => operation::<Management>(),
        }
    }
}

impl HubOperation {
    /// What a caller must be allowed in the hub (service-rest.md 16.2).
    pub(super) const fn demand(&self) -> Demand {
        match self {
            Self::Get | Self::Skus | Self::EmptyList | Self::PrivateEndpoints => operation::<ReadHub>(),
            Self::Statistics | Self::QuotaMetrics => operation::<ReadStatistics>(),
            Self::ListGroups | Self::GetGroup(_) => operation::<ReadConsumerGroups>(),
            Self::PutGroup(_) | Self::DeleteGroup(_) => operation::<WriteConsumerGroups>(),
            Self::Put
            | Self::Patch
            | Self::Delete
            | Self::ListKeys
            | Self::KeysOf(_)
            | Self::ListCertificates
            | Self::GetCertificate(_)
            | Self::PutCertificate(_)
            | Self::DeleteCertificate(_)
            | Self::DrawCode(_)
            | Self::VerifyCertificate(_)
            | Self::Missing(_) => operation::<Management>(),
        }
    }
}

/// Every request as documentation writes it. A path that begins with a dot is below that of a hub.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("GET", "/providers/Microsoft.Devices/operations"),
    ("GET", "/subscriptions/{s}/providers/Microsoft.Devices/usages"),
    (
        "POST",
        "/subscriptions/{s}/providers/Microsoft.Devices/checkNameAvailability",
    ),
    ("GET", "/subscriptions/{s}/providers/Microsoft.Devices/IotHubs"),
    (
        "GET",
        "/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.Devices/IotHubs",
    ),
    ("GET", "."),
    ("PUT", "."),
    ("PATCH", "."),
    ("DELETE", "."),
    ("POST", "./listkeys"),
    ("POST", "./IotHubKeys/{name}/listkeys"),
    ("GET", "./IotHubStats"),
    ("GET", "./quotaMetrics"),
    ("GET", "./skus"),
    ("GET", "./eventHubEndpoints/events/ConsumerGroups"),
    ("GET", "./eventHubEndpoints/events/ConsumerGroups/{name}"),
    ("PUT", "./eventHubEndpoints/events/ConsumerGroups/{name}"),
    ("DELETE", "./eventHubEndpoints/events/ConsumerGroups/{name}"),
    ("GET", "./certificates"),
    ("GET", "./certificates/{name}"),
    ("PUT", "./certificates/{name}"),
    ("DELETE", "./certificates/{name}"),
    ("POST", "./certificates/{name}/generateVerificationCode"),
    ("POST", "./certificates/{name}/verify"),
    ("GET", "./jobs"),
    ("GET", "./routingEndpointsHealth"),
    ("GET", "./privateLinkResources"),
    ("GET", "./privateEndpointConnections"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::arm::{HUB_PATH, demand_of};

    #[test]
    fn every_documented_request_is_one() {
        for (method, path) in ROUTES {
            let whole = path.replacen('.', HUB_PATH, usize::from(path.starts_with('.')));
            let demand = demand_of(&method.parse().unwrap(), &whole);
            assert!(demand.is_some(), "{method} {path}");
        }
    }
}
