//! The one table of what the service side of a hub can do, and who may do it (service-rest.md 2.3).
//!
//! Each row is an operation: the rights of shared access policies that hold it, the action that a role must grant for it, and
//! where that is specified. From the table come the types that the domain's functions demand as [`Authorized`](super::Authorized)
//! proofs, the decisions of the gate, and the page `docs/reference/authorisation.md`.

mod set;
mod table;

use super::rights::Rights;

pub use set::Operations;
pub use table::*;

/// What all actions of an IoT hub begin with.
pub const ACTION_PREFIX: &str = "Microsoft.Devices/IotHubs/";

/// What a role must grant to a principal for an operation. Names stand without [`ACTION_PREFIX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// All of these data actions.
    Data(&'static [&'static str]),
    /// All of these actions on the hub itself. Data actions, `*` among them, never give one.
    Control(&'static [&'static str]),
    /// No role gives it: the operation is for policies alone.
    None,
}

/// A row of the table.
#[derive(Debug)]
pub struct Definition {
    /// Its name, as in messages and records.
    pub name: &'static str,
    /// What it does, as a sentence.
    pub meaning: &'static str,
    /// Sets of rights of a policy; each of them alone is enough.
    pub policies: &'static [Rights],
    /// What a role must grant.
    pub action: Action,
    /// Where it is specified.
    pub specification: &'static str,
    /// Its place in the table.
    pub(super) index: u8,
}

impl Definition {
    /// Whether a policy with these rights holds the operation.
    pub fn is_held_by(&self, rights: Rights) -> bool {
        self.policies.iter().any(|enough| rights.contains(*enough))
    }

    /// The rights that are enough, in words.
    pub fn policies_text(&self) -> String {
        let names: Vec<String> = self.policies.iter().map(ToString::to_string).collect();
        names.join(" or ")
    }
}

/// An operation, as a type. Sealed: a new one is a row of the table.
pub trait Operation: sealed::Sealed + Send + Sync + 'static {
    /// Its row.
    const DEFINITION: &'static Definition;
}

mod sealed {
    pub trait Sealed {}
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rows_are_distinct_and_each_can_be_held() {
        let names: HashSet<_> = ALL.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALL.len());
        for (index, row) in ALL.iter().enumerate() {
            assert_eq!(usize::from(row.index), index);
            assert!(row.meaning.ends_with('.'), "{}", row.name);
            assert!(row.is_held_by(Rights::ALL), "{}", row.name);
            assert!(!row.is_held_by(Rights::NONE), "{}", row.name);
            // A right to act as a device gives nothing on the service side.
            assert!(!row.is_held_by(Rights::DEVICE_CONNECT), "{}", row.name);
            match row.action {
                Action::Data(names) | Action::Control(names) => assert!(!names.is_empty(), "{}", row.name),
                Action::None => {}
            }
        }
    }

    #[test]
    fn alternatives_are_told() {
        assert_eq!(
            PurgeCommands::DEFINITION.policies_text(),
            "ServiceConnect or RegistryWrite"
        );
        assert_eq!(
            Management::DEFINITION.policies_text(),
            "RegistryWrite, ServiceConnect, DeviceConnect"
        );
    }
}
