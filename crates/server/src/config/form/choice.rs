//! Words out of a fixed list.

use std::path::Path;

use hub::limits::Fidelity;

use super::{Form, Raw, quoted};
use crate::config::StorageKind;

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Every format with its name.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Auto, "auto"), (Self::Text, "text"), (Self::Json, "json")];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

pub(in crate::config) const fn log_format() -> Form<LogFormat> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<LogFormat, String> {
        let text = raw.text("\"auto\", \"text\" or \"json\"")?;
        LogFormat::ALL
            .into_iter()
            .find(|(_, name)| *name == text)
            .map(|(format, _)| format)
            .ok_or_else(|| format!("\"{text}\" is none of \"auto\", \"text\" and \"json\""))
    }
    Form {
        name: "\"auto\", \"text\" or \"json\"",
        read,
        write: |format| Some(quoted(format.name())),
    }
}

pub(in crate::config) const fn fidelity() -> Form<Fidelity> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<Fidelity, String> {
        let text = raw.text("\"native\" or \"azure\"")?;
        text.parse()
            .map_err(|_| format!("\"{text}\" is neither \"native\" nor \"azure\""))
    }
    Form {
        name: "\"native\" or \"azure\"",
        read,
        write: |fidelity| Some(quoted(&fidelity.to_string())),
    }
}

pub(in crate::config) const fn storage_kind() -> Form<StorageKind> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<StorageKind, String> {
        let text = raw.text("\"local\", \"azure\" or \"s3\"")?;
        StorageKind::ALL
            .into_iter()
            .find(|(_, name)| *name == text)
            .map(|(kind, _)| kind)
            .ok_or_else(|| format!("\"{text}\" is none of \"local\", \"azure\" and \"s3\""))
    }
    Form {
        name: "\"local\", \"azure\" or \"s3\"",
        read,
        write: |kind| {
            let named = StorageKind::ALL.into_iter().find(|(one, _)| one == kind);
            named.map(|(_, name)| quoted(name))
        },
    }
}

/// Something that is done or not.
pub(in crate::config) const fn switch() -> Form<bool> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<bool, String> {
        match raw {
            Raw::Boolean(value) => Ok(*value),
            other => match other.text("true or false")? {
                "true" => Ok(true),
                "false" => Ok(false),
                text => Err(format!("\"{text}\" is neither true nor false")),
            },
        }
    }
    Form {
        name: "true or false",
        read,
        write: |value| Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_from_every_source() {
        let read = |raw: &Raw| (switch().read)(raw, None);
        assert_eq!(read(&Raw::Boolean(true)), Ok(true));
        assert_eq!(read(&Raw::Text("false".to_owned())), Ok(false));
        assert!(read(&Raw::Text("yes".to_owned())).is_err());
        assert!(read(&Raw::Integer(1)).is_err());
        assert_eq!((switch().write)(&true).as_deref(), Some("true"));
    }
}
