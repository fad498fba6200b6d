//! The edge devices above a device (service-rest.md 4.5).

use crate::error::{Code, Error};
use crate::limits::Limit;
use crate::store::{Expect, Version, Write};
use crate::tenancy::HubName;

use super::placement::{EdgeScope, Placement, unknown_scope};
use super::registry::{key, load};
use super::{Device, Registry};

impl Registry {
    /// Follows the parents upwards: each must be an edge device of exactly that scope, none the device itself, and not too many.
    /// Gives the checks that hold them still until the change is durable.
    pub(super) async fn check_parents(&self, hub: &HubName, device: &Device) -> Result<Vec<Write>, Error> {
        let mut checks = Vec::new();
        let mut above = device.placement.parent().cloned();
        let mut levels = u64::from(device.placement.is_edge());
        while let Some(scope) = above {
            levels = levels.saturating_add(1);
            self.limits
                .check(Limit::EdgeLevelsMax, levels)
                .map_err(|exceeded| Error::peer(Code::InvalidDeviceScope, exceeded.to_string()))?;
            let (parent, version) = self.edge_device(hub, &scope).await?;
            if parent.id == device.id {
                return Err(Error::peer(
                    Code::InvalidDeviceScope,
                    "A device cannot stand below itself",
                ));
            }
            checks.push(Write::Check {
                key: key(hub, &parent.id),
                expect: Expect::Version(version),
            });
            above = parent.placement.parent().cloned();
        }
        Ok(checks)
    }

    async fn edge_device(&self, hub: &HubName, scope: &EdgeScope) -> Result<(Device, Version), Error> {
        let id = scope.device().ok_or_else(unknown_scope)?;
        let found = load(&*self.store, &self.vault, hub, &id)
            .await?
            .ok_or_else(unknown_scope)?;
        match &found.0.placement {
            Placement::Edge { scope: own, .. } if own == scope => Ok(found),
            _ => Err(unknown_scope()),
        }
    }
}
