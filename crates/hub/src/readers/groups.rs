//! Consumer groups of the built-in endpoint: named views of the log, each with its own readers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::access::{Authorized, Caller, operation};
use crate::audit::{Act, Entry, Subject};
use crate::clock::Clock;
use crate::error::Error;
use crate::store::{ApplyError, Collection, Expect, Key, Range, Store, StoreError, Write};
use crate::tenancy::HubName;

/// The group that always exists.
pub const DEFAULT_GROUP: &str = "$Default";

/// Name of a consumer group: 1 to 50 letters, digits, `-`, `_`, `.` or `$Default`. Compared without case, kept as given.
#[derive(Debug, Clone)]
pub struct GroupName {
    given: Arc<str>,
    folded: Arc<str>,
}

/// The text is not the name of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a consumer group name: 1 to 50 letters, digits, '-', '_' or '.'")]
pub struct InvalidGroupName(String);

impl GroupName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, InvalidGroupName> {
        let valid = (1..=50).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if text.eq_ignore_ascii_case(DEFAULT_GROUP) {
            return Ok(Self {
                given: DEFAULT_GROUP.into(),
                folded: DEFAULT_GROUP.to_ascii_lowercase().into(),
            });
        }
        if valid {
            Ok(Self {
                given: text.into(),
                folded: text.to_ascii_lowercase().into(),
            })
        } else {
            Err(InvalidGroupName(text.to_owned()))
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// Whether this is the group that always exists.
    pub fn is_default(&self) -> bool {
        self.given.as_ref() == DEFAULT_GROUP
    }
}

impl PartialEq for GroupName {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for GroupName {}

impl Hash for GroupName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

/// Why a group could not be created or deleted.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The limit is reached.
    #[error("the hub has {0} consumer groups already, its limit; delete one first")]
    TooMany(usize),
    /// `$Default` stays.
    #[error("the consumer group $Default cannot be deleted")]
    DefaultStays,
    /// There is none of that name.
    #[error("there is no consumer group '{0}'")]
    NotFound(GroupName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change could not be told of in the audit trail.
    #[error(transparent)]
    Audit(#[from] Error),
}

/// The consumer groups of one hub.
pub struct ConsumerGroups {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    hub: HubName,
    groups_max: usize,
    changes: tokio::sync::Mutex<()>,
}

impl ConsumerGroups {
    /// Groups of `hub`, at most `groups_max` with `$Default`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, hub: HubName, groups_max: usize) -> Self {
        Self {
            store,
            clock,
            hub,
            groups_max,
            changes: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether a group exists.
    pub async fn exists(&self, group: &GroupName) -> Result<bool, StoreError> {
        Ok(group.is_default() || self.store.get(&self.key(group)).await?.is_some())
    }

    /// All groups, `$Default` first, the others by name.
    pub async fn list(&self) -> Result<Vec<GroupName>, StoreError> {
        let range = Range {
            collection: Collection::ConsumerGroups,
            hub: self.hub.clone(),
            prefix: String::new(),
            after: None,
            limit: self.groups_max,
        };
        let stored = self.store.scan(&range).await?;
        let default = GroupName::parse(DEFAULT_GROUP).into_iter();
        let named = stored.iter().filter_map(|document| {
            std::str::from_utf8(&document.body)
                .ok()
                .and_then(|name| GroupName::parse(name).ok())
        });
        Ok(default.chain(named).collect())
    }

    /// Creates a group; one that exists is left as it is. Says whether it is new.
    pub async fn create(
        &self,
        proof: &Authorized<operation::WriteConsumerGroups>,
        group: &GroupName,
    ) -> Result<bool, GroupError> {
        // Creations go one by one, so that the limit holds; they are rare.
        let _guard = self.changes.lock().await;
        if self.exists(group).await? {
            return Ok(false);
        }
        if self.list().await?.len() >= self.groups_max {
            return Err(GroupError::TooMany(self.groups_max));
        }
        let body = group.as_str().as_bytes().to_vec().into();
        let put = Write::Put {
            key: self.key(group),
            body,
            expect: Expect::Absent,
        };
        let entry = self.entry(proof.caller(), Act::ConsumerGroupCreate, group)?;
        match self.store.apply(vec![put, entry]).await {
            Ok(_) => Ok(true),
            Err(ApplyError::Conflict { .. }) => Ok(false),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    /// Deletes a group. Its readers go on until they detach.
    pub async fn delete(
        &self,
        proof: &Authorized<operation::WriteConsumerGroups>,
        group: &GroupName,
    ) -> Result<(), GroupError> {
        if group.is_default() {
            return Err(GroupError::DefaultStays);
        }
        let delete = Write::Delete {
            key: self.key(group),
            expect: Expect::Present,
        };
        let entry = self.entry(proof.caller(), Act::ConsumerGroupDelete, group)?;
        match self.store.apply(vec![delete, entry]).await {
            Ok(_) => Ok(()),
            Err(ApplyError::Conflict { .. }) => Err(GroupError::NotFound(group.clone())),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    fn entry(&self, caller: &Caller, act: Act, group: &GroupName) -> Result<Write, Error> {
        let subject = Subject::new("consumer-group", group.as_str());
        Entry::new(caller, act, subject).write(&self.hub, self.clock.now())
    }

    fn key(&self, group: &GroupName) -> Key {
        Key::new(Collection::ConsumerGroups, &self.hub, Arc::clone(&group.folded))
    }
}

impl fmt::Debug for ConsumerGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerGroups")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case() {
        assert_eq!(GroupName::parse("$default").unwrap().as_str(), "$Default");
        assert_eq!(
            GroupName::parse("Cg-1").unwrap(),
            GroupName::parse("cG-1").unwrap()
        );
        for bad in ["", "a b", "$other", "a/b", &"x".repeat(51)] {
            assert!(GroupName::parse(bad).is_err(), "{bad}");
        }
    }
}
