//! How many devices there are, counted in the same batch as the change that is counted (service-rest.md 4.7).

use serde::Serialize;

use crate::store::{Collection, Key, Store, StoreError, Write};
use crate::tenancy::HubName;

use super::Status;

/// Devices of a hub; modules are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// All of them: always the sum of the other two.
    pub total_device_count: u64,
    /// Those that may connect.
    pub enabled_device_count: u64,
    /// Those that may not.
    pub disabled_device_count: u64,
}

pub(super) async fn read(store: &dyn Store, hub: &HubName) -> Result<Statistics, StoreError> {
    let enabled = store.counter(&counter(hub, Status::Enabled)).await?;
    let disabled = store.counter(&counter(hub, Status::Disabled)).await?;
    let (enabled, disabled) = (
        u64::try_from(enabled).unwrap_or_default(),
        u64::try_from(disabled).unwrap_or_default(),
    );
    Ok(Statistics {
        total_device_count: enabled.saturating_add(disabled),
        enabled_device_count: enabled,
        disabled_device_count: disabled,
    })
}

/// The writes that keep the counters right when a device's status goes from one to the other; `None` is "does not exist".
pub(super) fn moves(hub: &HubName, before: Option<Status>, after: Option<Status>) -> Vec<Write> {
    if before == after {
        return Vec::new();
    }
    let add = |status: Option<Status>, delta: i64| {
        status.map(|status| Write::Add {
            key: counter(hub, status),
            delta,
        })
    };
    add(before, -1).into_iter().chain(add(after, 1)).collect()
}

fn counter(hub: &HubName, status: Status) -> Key {
    let id = match status {
        Status::Enabled => "devices-enabled",
        Status::Disabled => "devices-disabled",
    };
    Key::new(Collection::Counters, hub, id)
}
