//! A role: what it grants.

use serde::{Deserialize, Serialize};

use crate::access::operation::{ACTION_PREFIX, Action, Definition, Operations};
use crate::error::Error;

use super::pattern::matches;

/// Patterns of one list.
const PATTERNS_MAX: usize = 64;

/// Characters of a pattern.
const PATTERN_CHARS_MAX: usize = 256;

/// Characters of the name of a role, as Azure has it.
const NAME_CHARS_MAX: usize = 128;

/// Characters of a description.
const DESCRIPTION_CHARS_MAX: usize = 1_024;

/// A role, in the words of Azure's role definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// Its name; letters compare without case.
    #[serde(default)]
    pub role_name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Actions on the hub itself that it grants.
    #[serde(default)]
    pub actions: Vec<String>,
    /// Of these, what it does not grant.
    #[serde(default)]
    pub not_actions: Vec<String>,
    /// Actions on what is in the hub that it grants.
    #[serde(default)]
    pub data_actions: Vec<String>,
    /// Of these, what it does not grant.
    #[serde(default)]
    pub not_data_actions: Vec<String>,
}

/// A role that every hub has.
#[derive(Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Actions that it grants.
    pub actions: &'static [&'static str],
    /// Data actions that it grants.
    pub data_actions: &'static [&'static str],
}

/// Azure's four, and one that may do everything, as the owner of all rights of a policy may. What `Data Reader` may beside
/// reading is not confirmed (service-rest.md 2.2).
pub const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn {
        name: "IoT Hub Data Contributor",
        description: "Everything with the data of the hub",
        actions: &[],
        data_actions: &["Microsoft.Devices/IotHubs/*"],
    },
    BuiltIn {
        name: "IoT Hub Data Reader",
        description: "Reading the data of the hub",
        actions: &[],
        data_actions: &[
            "Microsoft.Devices/IotHubs/*/read",
            "Microsoft.Devices/IotHubs/fileUpload/notifications/action",
        ],
    },
    BuiltIn {
        name: "IoT Hub Registry Contributor",
        description: "Everything with devices and modules, without their twins",
        actions: &[],
        data_actions: &["Microsoft.Devices/IotHubs/devices/*"],
    },
    BuiltIn {
        name: "IoT Hub Twin Contributor",
        description: "Everything with twins",
        actions: &[],
        data_actions: &["Microsoft.Devices/IotHubs/twins/*"],
    },
    BuiltIn {
        name: "IoT Hub Owner",
        description: "Everything with the hub and its data; Ironhub's own",
        actions: &["Microsoft.Devices/IotHubs/*"],
        data_actions: &["Microsoft.Devices/IotHubs/*"],
    },
];

impl BuiltIn {
    /// The same, as roles are worked with.
    pub fn to_role(&self) -> Role {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Role {
            role_name: self.name.to_owned(),
            description: self.description.to_owned(),
            actions: owned(self.actions),
            not_actions: Vec::new(),
            data_actions: owned(self.data_actions),
            not_data_actions: Vec::new(),
        }
    }
}

impl Role {
    /// Checks what somebody wants a role to be.
    ///
    /// # Errors
    /// `ArgumentInvalid`, with what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let name = &self.role_name;
        let is_fit = |c: char| c.is_alphanumeric() || " -_.".contains(c);
        if name.trim() != name
            || name.is_empty()
            || name.chars().count() > NAME_CHARS_MAX
            || !name.chars().all(is_fit)
        {
            return Err(Error::argument(
                "The name of a role has 1 to 128 letters, digits, inner spaces and - _ .",
            ));
        }
        if self.description.chars().count() > DESCRIPTION_CHARS_MAX {
            return Err(Error::argument(
                "The description of a role has at most 1024 characters",
            ));
        }
        let lists = [
            &self.actions,
            &self.not_actions,
            &self.data_actions,
            &self.not_data_actions,
        ];
        let is_pattern = |text: &String| {
            (1..=PATTERN_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if lists
            .iter()
            .any(|list| list.len() > PATTERNS_MAX || !list.iter().all(is_pattern))
        {
            return Err(Error::argument(
                "A list of actions has at most 64 entries of 1 to 256 ASCII characters, such as Microsoft.Devices/IotHubs/twins/*",
            ));
        }
        Ok(())
    }

    /// What it comes to.
    pub fn operations(&self) -> Operations {
        Operations::that(|row| self.grants(row))
    }

    fn grants(&self, row: &Definition) -> bool {
        let (names, granted, taken) = match row.action {
            Action::Data(names) => (names, &self.data_actions, &self.not_data_actions),
            Action::Control(names) => (names, &self.actions, &self.not_actions),
            Action::None => return false,
        };
        names.iter().all(|name| {
            let action = format!("{ACTION_PREFIX}{name}");
            let one_of = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, &action));
            one_of(granted) && !one_of(taken)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(role: &Role) -> Vec<&'static str> {
        role.operations().iter().map(|row| row.name).collect()
    }

    fn built_in(name: &str) -> Role {
        let found = BUILT_IN.iter().find(|role| role.name == name);
        found.unwrap().to_role()
    }

    #[test]
    fn the_built_in_roles_are_as_specified() {
        assert_eq!(
            held(&built_in("IoT Hub Data Reader")),
            [
                "ReadDevices",
                "ReadStatistics",
                "ReadConnectionStatistics",
                "ReadTwins",
                "ReceiveFileNotifications"
            ]
        );
        assert_eq!(
            held(&built_in("IoT Hub Registry Contributor")),
            ["ReadDevices", "WriteDevices", "DeleteDevices", "BulkDevices"]
        );
        assert_eq!(
            held(&built_in("IoT Hub Twin Contributor")),
            ["ReadTwins", "WriteTwins"]
        );
        let contributor = held(&built_in("IoT Hub Data Contributor"));
        assert_eq!(contributor.len(), 13);
        let owner = held(&built_in("IoT Hub Owner"));
        for name in ["ReadHub", "Management", "WriteConsumerGroups"] {
            assert!(owner.contains(&name) && !contributor.contains(&name), "{name}");
        }
        // The built-in endpoint and the uploaded files are for policies alone.
        for name in ["ReadEvents", "ReadUploads"] {
            assert!(!owner.contains(&name), "{name}");
        }
        for role in &BUILT_IN {
            assert!(role.to_role().check().is_ok(), "{}", role.name);
        }
    }

    #[test]
    fn what_is_taken_away_is_gone_and_kinds_of_actions_do_not_mix() {
        let role: Role = serde_json::from_str(
            r#"{"roleName":"r","dataActions":["*"],"notDataActions":["microsoft.devices/iothubs/*/write"]}"#,
        )
        .unwrap();
        let held = held(&role);
        assert!(held.contains(&"ReadTwins") && held.contains(&"DeleteDevices"));
        for name in [
            "WriteDevices",
            "BulkDevices",
            "WriteTwins",
            "Management",
            "ReadHub",
        ] {
            assert!(!held.contains(&name), "{name}");
        }
        let control = Role {
            actions: vec!["*".to_owned()],
            data_actions: Vec::new(),
            not_data_actions: Vec::new(),
            ..role
        };
        assert_eq!(
            self::held(&control),
            [
                "ReadHub",
                "ReadConsumerGroups",
                "WriteConsumerGroups",
                "Management"
            ]
        );
    }

    #[test]
    fn roles_are_checked() {
        let role = |name: &str, action: &str| Role {
            role_name: name.into(),
            description: String::new(),
            actions: Vec::new(),
            not_actions: Vec::new(),
            data_actions: vec![action.to_owned()],
            not_data_actions: Vec::new(),
        };
        assert!(role("Night shift", "*").check().is_ok());
        for (name, action) in [("", "*"), (" x", "*"), ("a/b", "*"), ("r", ""), ("r", "a b")] {
            assert!(role(name, action).check().is_err(), "{name} {action}");
        }
    }
}
