//! What the audit trail tells of a change of an identity: what became different, never what it became where that is a secret.

use crate::access::Caller;
use crate::audit::{Act, Entry, Subject};

use super::change::Change;
use super::{Authentication, IdentityRef, Status};

/// The entry of a change.
pub(super) fn entry<'a>(caller: &'a Caller, change: Change<'_>) -> Entry<'a> {
    let is_module = matches!(change.identity(), IdentityRef::Module(_));
    let act = match (change, is_module) {
        (Change::Created { .. }, false) => Act::DeviceCreate,
        (Change::Created { .. }, true) => Act::ModuleCreate,
        (Change::Updated { .. }, false) => Act::DeviceUpdate,
        (Change::Updated { .. }, true) => Act::ModuleUpdate,
        (Change::Deleted { .. }, false) => Act::DeviceDelete,
        (Change::Deleted { .. }, true) => Act::ModuleDelete,
    };
    let entry = Entry::new(caller, act, Subject::identity(&change.identity().id()));
    match change {
        Change::Created { after } => {
            let entry = entry.saying(format!("credentials {}", after.authentication().type_name()));
            match after {
                IdentityRef::Device(device) if device.status == Status::Disabled => entry.saying("disabled"),
                _ => entry,
            }
        }
        Change::Updated { before, after } => differences(entry, before, after),
        Change::Deleted { .. } => entry,
    }
}

fn differences<'a>(entry: Entry<'a>, before: IdentityRef<'_>, after: IdentityRef<'_>) -> Entry<'a> {
    let entry = credentials(entry, before.authentication(), after.authentication());
    match (before, after) {
        (IdentityRef::Device(before), IdentityRef::Device(after)) => {
            let mut entry = entry;
            if before.status != after.status {
                let words = format!("status {} -> {}", before.status.name(), after.status.name());
                entry = entry.saying(words);
            }
            if before.status_reason != after.status_reason {
                entry = entry.saying("status reason");
            }
            if before.placement != after.placement {
                entry = entry.saying("place among edge devices");
            }
            entry
        }
        (IdentityRef::Module(before), IdentityRef::Module(after))
            if before.managed_by != after.managed_by =>
        {
            entry.saying("who looks after it")
        }
        _ => entry,
    }
}

fn credentials<'a>(entry: Entry<'a>, before: &Authentication, after: &Authentication) -> Entry<'a> {
    use Authentication::{Sas, SelfSigned};
    if let (
        Sas { primary, secondary },
        Sas {
            primary: new_primary,
            secondary: new_secondary,
        },
    ) = (before, after)
        && primary.is_same(new_secondary)
        && secondary.is_same(new_primary)
        && !primary.is_same(secondary)
    {
        return entry.saying("keys in each other's place");
    }
    let changed = match (before, after) {
        (
            Sas { primary, secondary },
            Sas {
                primary: new_primary,
                secondary: new_secondary,
            },
        ) => [
            (!primary.is_same(new_primary)).then_some("primary key"),
            (!secondary.is_same(new_secondary)).then_some("secondary key"),
        ],
        (
            SelfSigned { primary, secondary },
            SelfSigned {
                primary: new_primary,
                secondary: new_secondary,
            },
        ) => [
            (primary != new_primary).then_some("primary thumbprint"),
            (secondary != new_secondary).then_some("secondary thumbprint"),
        ],
        _ if before.is_same(after) => [None, None],
        _ => {
            return entry.saying(format!(
                "credentials {} -> {}",
                before.type_name(),
                after.type_name()
            ));
        }
    };
    changed.into_iter().flatten().fold(entry, Entry::saying)
}
