//! Who has a role.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Characters of the id of a principal.
const PRINCIPAL_CHARS_MAX: usize = 256;

/// By what a token shows that a role is its bearer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssigneeKind {
    /// Its object id, subject or, for an application, client id.
    Subject,
    /// A group.
    Group,
    /// An app role.
    AppRole,
}

/// Whom a role is assigned to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Assignee {
    /// The hub's name of the issuer: the same id means another one with another issuer.
    pub issuer: Arc<str>,
    /// What the id is of.
    pub kind: AssigneeKind,
    /// The id, to the letter.
    pub id: Arc<str>,
}

/// A role of somebody, in the whole hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Whose.
    pub to: Assignee,
    /// The name of the role.
    pub role: Arc<str>,
}

impl Assignment {
    /// Its id, which is that of what it says: an assignment is there once or not at all.
    pub fn id(&self) -> String {
        let kind = match self.to.kind {
            AssigneeKind::Subject => "subject",
            AssigneeKind::Group => "group",
            AssigneeKind::AppRole => "appRole",
        };
        // No part holds a line break.
        let said = [&*self.to.issuer, kind, &self.to.id, &self.role.to_lowercase()].join("\n");
        let hash = digest(&SHA256, said.as_bytes());
        let mut id = String::with_capacity(32);
        for byte in hash.as_ref().iter().take(16) {
            // Writing to a string cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    /// Checks the id of the principal.
    ///
    /// # Errors
    /// `ArgumentInvalid`.
    pub fn check(&self) -> Result<(), Error> {
        let id = &self.to.id;
        if id.is_empty() || id.chars().count() > PRINCIPAL_CHARS_MAX || id.chars().any(char::is_control) {
            return Err(Error::argument("The id of a principal has 1 to 256 characters"));
        }
        Ok(())
    }
}
