//! The forms of values: how each is written and read, whatever its source.
//!
//! A form is a pair of functions, not a type: the configuration holds plain `u64` and `Duration`, and the unit stands in the
//! text. Environment and flags give text only, so each form reads text; the file may give TOML's own numbers and lists where
//! the form has them.

mod choice;
mod duration;
mod list;
mod number;
mod path;
mod size;
mod text;

use std::path::Path;

pub use choice::LogFormat;
pub use duration::parse as parse_duration;

pub(super) use choice::{fidelity, log_format, storage_kind, switch};
pub(super) use list::{addresses, event_sources, names};
pub(super) use number::{count, filter, limit};
pub(super) use path::{path, paths};
pub(super) use size::{optional_size, size};
pub(super) use text::{name, optional_address, secret};

pub(super) use duration::duration;

/// A value as its source gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// Text: a TOML string, an environment variable, a flag.
    Text(String),
    /// A TOML integer.
    Integer(u64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Raw>),
    /// Some other TOML value; its kind for the message.
    Other(&'static str),
}

impl Raw {
    /// The text, or a message that says what the form wants.
    fn text(&self, wanted: &str) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            other => Err(format!("{wanted} is expected here, not {}", other.kind())),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Other(kind) => kind,
        }
    }
}

/// A form of value: how to read one, how to write one, and its name for the reference.
pub(super) struct Form<T> {
    /// What the form is called, with an example.
    pub(super) name: &'static str,
    /// Reads; a relative path is meant relative to the folder. The error is a sentence.
    pub(super) read: fn(&Raw, Option<&Path>) -> Result<T, String>,
    /// Writes as TOML; none for a value that is not set.
    pub(super) write: fn(&T) -> Option<String>,
}

/// Text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Splits `64 MiB` into number and unit; the space may be missing.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let number = digits.replace('_', "").parse().ok()?;
    Some((number, unit.trim_start()))
}
