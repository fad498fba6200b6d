//! Whether a chain holds: for the trail of a running hub and for an export alike.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::Act;
use super::entry::Stored;
use crate::store::Key;
use crate::store::chain::{self, Link};

/// Problems that a report names; more are only counted.
const PROBLEMS_MAX: usize = 100;

/// Number and hash of an entry: kept elsewhere, it proves the trail up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the entry.
    pub position: u64,
    /// Its hash.
    pub link: Link,
}

/// `NUMBER:HASH`.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.link)
    }
}

impl Serialize for Head {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is no head of a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the head of an audit trail is NUMBER:HASH, the hash in 64 hexadecimal digits")]
pub struct InvalidHead;

impl FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let (position, link) = text.split_once(':').ok_or(InvalidHead)?;
        Ok(Self {
            position: position.parse().map_err(|_| InvalidHead)?,
            link: Link::parse(link).ok_or(InvalidHead)?,
        })
    }
}

/// What came of a check.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether nothing is wrong.
    pub is_sound: bool,
    /// Entries that were read.
    pub entries: u64,
    /// Number of the first of them.
    pub first: Option<u64>,
    /// Number and hash of the last of them.
    pub head: Option<Head>,
    /// Entries up to here were removed by retention, as the trail itself says.
    pub pruned: Option<u64>,
    /// What is wrong, the first of it.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problem_count: u64,
}

/// Takes the entries of a trail one after the other, oldest first.
#[derive(Debug, Default)]
pub struct Checker {
    expected: Option<Head>,
    met_expected: bool,
    entries: u64,
    first: Option<u64>,
    last: Option<Head>,
    /// The link of the last one cannot be told.
    is_torn: bool,
    pruned: Option<u64>,
    problems: Vec<String>,
    problem_count: u64,
}

impl Checker {
    /// A check that also demands an entry that was seen earlier.
    pub fn expecting(expected: Option<Head>) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    /// The next entry, as it is stored.
    pub fn entry(&mut self, key: &Key, stored: &[u8]) {
        let Some(position) = chain::position(&key.id) else {
            return self.problem(format!("'{}' is no number of an entry", key.id));
        };
        let Some((previous, body)) = chain::split(stored) else {
            return self.unreadable(position, "is too short for an entry");
        };
        self.follow(position, Some(previous));
        let head = Head {
            position,
            link: Link::of(key, stored),
        };
        self.last = Some(head);
        self.is_torn = false;
        if let Some(expected) = self.expected.filter(|expected| expected.position == position) {
            self.met_expected = true;
            if expected.link != head.link {
                self.problem(format!("entry {position} is not the one that was seen earlier"));
            }
        }
        self.read(position, body);
    }

    /// The next entry, which cannot be read.
    pub fn unreadable(&mut self, position: u64, why: &str) {
        self.follow(position, None);
        self.last = Some(Head {
            position,
            link: Link::NONE,
        });
        self.is_torn = true;
        self.problem(format!("entry {position} {why}"));
    }

    /// Something that is wrong beside the chain.
    pub fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }

    /// What came of it. `is_whole` when the trail was read from its beginning, so that its front must be accounted for.
    pub fn finish(mut self, is_whole: bool) -> Report {
        match self.first {
            Some(first) if is_whole && first > 1 && self.pruned != Some(first - 1) => self.problem(format!(
                "entries 1 to {} are missing, and no entry tells that retention removed them",
                first - 1
            )),
            _ => {}
        }
        if let Some(expected) = self.expected.filter(|_| !self.met_expected) {
            self.problem(format!(
                "entry {}, which was seen earlier, is missing",
                expected.position
            ));
        }
        Report {
            is_sound: self.problem_count == 0,
            entries: self.entries,
            first: self.first,
            head: self.last.filter(|_| !self.is_torn),
            pruned: self.pruned,
            problems: self.problems,
            problem_count: self.problem_count,
        }
    }

    /// Whether an entry follows the one before; `previous` is the hash of it that the entry holds.
    fn follow(&mut self, position: u64, previous: Option<Link>) {
        self.entries += 1;
        match self.last {
            None => {
                self.first = Some(position);
                if position == 1 && previous.is_some_and(|link| link != Link::NONE) {
                    self.problem("entry 1 holds the hash of an entry before it".to_owned());
                }
            }
            Some(last) if last.position.checked_add(1) != Some(position) => self.problem(format!(
                "entries between {} and {position} are missing",
                last.position
            )),
            Some(last) if !self.is_torn && previous.is_some_and(|link| link != last.link) => {
                self.problem(format!(
                    "entry {} was changed: entry {position} holds another hash of it",
                    last.position
                ));
            }
            Some(_) => {}
        }
    }

    fn read(&mut self, position: u64, body: &[u8]) {
        let stored = std::str::from_utf8(body).ok().and_then(Stored::read);
        let Some(stored) = stored else {
            return self.problem(format!("entry {position} is of no known form"));
        };
        if stored.operation == Act::AuditPrune.word() {
            let removed = stored
                .subject
                .strip_prefix("audit:")
                .and_then(|text| text.parse().ok());
            self.pruned = self.pruned.max(removed);
        }
    }
}
