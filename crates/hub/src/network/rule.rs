//! One rule.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Endpoints, Source};

/// Longest name of a rule, in characters.
const NAME_CHARS_MAX: usize = 128;

/// Name of a rule: 1 to 128 characters, none of them a control character. Stamped on telemetry and shown in records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleName(Arc<str>);

/// The text is no name of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a rule has 1 to 128 characters, none of them a control character")]
pub struct InvalidRuleName;

impl RuleName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, InvalidRuleName> {
        let valid = !text.trim().is_empty()
            && text.chars().count() <= NAME_CHARS_MAX
            && !text.chars().any(char::is_control);
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidRuleName)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RuleName {
    type Error = InvalidRuleName;

    fn try_from(text: String) -> Result<Self, InvalidRuleName> {
        Self::parse(&text)
    }
}

impl From<RuleName> for String {
    fn from(name: RuleName) -> Self {
        name.as_str().to_owned()
    }
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It may go on to present its credential.
    Allow,
    /// It is refused.
    Deny,
}

impl Action {
    /// Its name in settings and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What happens to connections from some addresses at some endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique among the hub's rules.
    pub name: RuleName,
    /// What happens.
    pub action: Action,
    /// To whom.
    pub source: Source,
    /// Where. Absent in JSON: everywhere.
    #[serde(default = "everywhere")]
    pub endpoints: Endpoints,
}

fn everywhere() -> Endpoints {
    Endpoints::ALL
}
