//! Ids of devices and modules: parsed once at the edge, then a type (service-rest.md 4.1).

use std::fmt;
use std::sync::Arc;

/// Longest id, in bytes (all characters are ASCII).
pub const ID_BYTES_MAX: usize = 128;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Empty or longer than [`ID_BYTES_MAX`].
    #[error("an id has 1 to {ID_BYTES_MAX} characters, this one has {0}")]
    Length(usize),
    /// A character that is not allowed.
    #[error("an id may hold ASCII letters, digits and - . % _ * ? ! ( ) , : = @ $ ', not {0:?}")]
    Character(char),
}

fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() || text.len() > ID_BYTES_MAX {
        return Err(InvalidId::Length(text.chars().count()));
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "-.%_*?!(),:=@$'".contains(*c)))
    {
        Some(character) => Err(InvalidId::Character(character)),
        None => Ok(()),
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks an id. Case-sensitive, never decoded.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }

            /// The id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_type! {
    /// Id of a device, unique in its hub.
    DeviceId
}
id_type! {
    /// Id of a module, unique in its device.
    ModuleId
}

impl ModuleId {
    /// Whether it is kept for the edge runtime: it begins with `$`, and only the hub gives such ids out (service-rest.md 4.1).
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// A device or one of its modules: what connects, has a twin and is given rights.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityId {
    /// The device.
    pub device: DeviceId,
    /// The module, for a module identity.
    pub module: Option<ModuleId>,
}

impl IdentityId {
    /// A device identity.
    pub fn device(device: DeviceId) -> Self {
        Self { device, module: None }
    }

    /// A module identity.
    pub fn module(device: DeviceId, module: ModuleId) -> Self {
        Self {
            device,
            module: Some(module),
        }
    }
}

/// `{device}` or `{device}/{module}`, the form of MQTT client ids and of stored keys.
impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{}/{module}", self.device),
            None => f.write_str(self.device.as_str()),
        }
    }
}

impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_documented_characters_and_no_other() {
        assert!(DeviceId::parse("aZ09-.%_*?!(),:=@$'").is_ok());
        for bad in ["", "a/b", "a b", "a+b", "a#b", "a;b", "ä", "a\0"] {
            assert!(DeviceId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(DeviceId::parse(&"x".repeat(128)).is_ok());
        assert_eq!(DeviceId::parse(&"x".repeat(129)), Err(InvalidId::Length(129)));
    }
}
