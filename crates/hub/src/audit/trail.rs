//! The trail of a hub: read, checked, exported, and kept within its limits.

use std::sync::Arc;

use super::check::{Checker, Head, Report};
use super::entry::{Entry, Stored, Subject};
use super::line::Line;
use super::{Act, entry};
use crate::access::{Authorized, Caller, operation};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::limits::{Limit, Limits, UNLIMITED};
use crate::store::chain::{self, Link};
use crate::store::{ApplyError, Collection, Document, Expect, Range, Store, StoreError, Write};
use crate::tenancy::HubName;

/// Entries that are read at once.
const PAGE: u64 = 500;

/// Entries that one question looks at, whether or not it wants them.
const EXAMINED_MAX: usize = 20_000;

/// Entries over the limit that are worth removing: each removal is an entry, too.
const EXCESS_MIN: u64 = 1_000;

/// How much too old the first entry is before it is worth removing those like it.
const OVERAGE_MIN: std::time::Duration = std::time::Duration::from_secs(86_400);

/// The trails of a server's hubs.
pub struct Trail {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
}

/// What lies behind a number.
enum Found {
    Nothing,
    Entry(u64),
    Damage,
}

/// Numbers of the first and the last entry that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this device or module, `d1` or `d1/m1`; a device's modules come with it.
    pub identity: Option<String>,
    /// By this actor: `policy:service`, or the name alone.
    pub actor: Option<String>,
    /// This operation, or all that begin with it: `device` for `device.create` and others.
    pub operation: Option<String>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// Entries, newest first.
#[derive(Debug)]
pub struct Page {
    /// The entries.
    pub lines: Vec<Line>,
    /// Where to go on: `before` of the next question; `None` at the end.
    pub before: Option<u64>,
}

impl Filter {
    fn takes(&self, entry: &Stored<'_>) -> bool {
        let of = |wanted: &Option<String>, holds: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(holds);
        of(&self.identity, &|id| is_of_identity(&entry.subject, id))
            && of(&self.actor, &|actor| {
                *entry.actor == *actor || entry.actor.split_once(':').is_some_and(|(_, name)| name == actor)
            })
            && of(&self.operation, &|operation| {
                let rest = entry.operation.strip_prefix(operation);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            && self.from.is_none_or(|from| entry.time >= from)
            && self.to.is_none_or(|to| entry.time < to)
    }
}

/// Whether `device:d1`, `module:d1/m1` or `modules:d1` is of an identity.
fn is_of_identity(subject: &str, id: &str) -> bool {
    match subject.split_once(':') {
        Some(("device" | "module" | "modules", name)) => {
            name == id || name.strip_prefix(id).is_some_and(|rest| rest.starts_with('/'))
        }
        _ => false,
    }
}

impl Trail {
    /// The trails in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, limits: Arc<Limits>) -> Self {
        Self { store, clock, limits }
    }

    /// Adds an entry that goes with no other write; see [`note`](super::note).
    ///
    /// # Errors
    /// When it is not in the trail.
    pub async fn note(&self, hub: &HubName, entry: Entry<'_>) -> Result<(), Error> {
        entry::note(&*self.store, &*self.clock, hub, entry).await
    }

    /// The newest entries that are wanted, older than `before`. A page may hold fewer than `max` and still not be the last.
    pub async fn page(
        &self,
        proof: &Authorized<operation::Management>,
        filter: &Filter,
        before: Option<u64>,
        max: usize,
    ) -> Result<Page, Error> {
        let hub = proof.hub();
        let Some(bounds) = self.bounds(hub).await? else {
            return Ok(Page {
                lines: Vec::new(),
                before: None,
            });
        };
        let mut end = before.unwrap_or(u64::MAX).min(bounds.last.saturating_add(1));
        let mut lines = Vec::new();
        let mut examined = 0;
        while end > bounds.first && examined < EXAMINED_MAX {
            let count = (end - bounds.first).min(PAGE);
            let entries = self.entries(hub, end - count - 1, count).await?;
            if entries.is_empty() {
                // Removed by retention since the bounds were taken.
                end = bounds.first;
            }
            for (position, document) in entries.iter().rev() {
                examined += 1;
                end = *position;
                lines.extend(document.as_ref().and_then(|document| wanted(document, filter)));
                if lines.len() >= max {
                    return Ok(page(lines, end, bounds));
                }
            }
        }
        Ok(page(lines, end, bounds))
    }

    /// Entries in their order, behind `after`: at most a page, and none behind the last. One that cannot be read is only named.
    pub async fn lines(
        &self,
        proof: &Authorized<operation::Management>,
        after: u64,
    ) -> Result<Vec<(u64, Option<Line>)>, Error> {
        let hub = proof.hub();
        let Some(bounds) = self.bounds(hub).await? else {
            return Ok(Vec::new());
        };
        let entries = self.entries(hub, after.max(bounds.first - 1), PAGE).await?;
        let line =
            |(position, document): (u64, Option<Document>)| (position, document.as_ref().and_then(Line::of));
        Ok(entries.into_iter().map(line).collect())
    }

    /// Checks the whole trail; `expected` is an entry that was seen earlier.
    pub async fn check(
        &self,
        proof: &Authorized<operation::Management>,
        expected: Option<Head>,
    ) -> Result<Report, Error> {
        let hub = proof.hub();
        let mut checker = Checker::expecting(expected);
        let bounds = self.bounds(hub).await?;
        let mut after = bounds.map_or(0, |bounds| bounds.first - 1);
        loop {
            let entries = self.entries(hub, after, PAGE).await?;
            let Some((last, _)) = entries.last() else {
                return Ok(checker.finish(true));
            };
            after = *last;
            for (position, document) in &entries {
                match document {
                    Some(document) => checker.entry(&document.key, &document.body),
                    None => checker.unreadable(*position, "is damaged on the disk and cannot be read"),
                }
            }
        }
    }

    /// Number and hash of the last entry; `None` when there is none.
    pub async fn head(&self, hub: &HubName) -> Result<Option<Head>, Error> {
        let Some(bounds) = self.bounds(hub).await? else {
            return Ok(None);
        };
        let key = chain::key(Collection::Audit, hub, bounds.last);
        Ok(self.store.get(&key).await?.map(|document| Head {
            position: bounds.last,
            link: Link::of(&document.key, &document.body),
        }))
    }

    /// Removes the oldest entries of a hub that are over age or count, and says so in the trail. Called every minute.
    pub async fn sweep(&self, hub: &HubName) -> Result<(), Error> {
        while let Some(bounds) = self.bounds(hub).await? {
            let Some(last) = self.last_to_remove(hub, bounds).await? else {
                return Ok(());
            };
            let mut batch: Vec<Write> = (bounds.first..=last)
                .map(|position| Write::Delete {
                    key: chain::key(Collection::Audit, hub, position),
                    expect: Expect::Any,
                })
                .collect();
            let caller = Caller::operator();
            let entry = Entry::new(&caller, Act::AuditPrune, Subject::new("audit", &last.to_string()));
            batch.push(entry.write(hub, self.clock.now())?);
            match self.store.apply(batch).await {
                Ok(_) => {}
                Err(ApplyError::Conflict { .. }) => {
                    return Err(Error::bug("removing audit entries met a conflict"));
                }
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The last entry of a batch to remove; never the last of the trail, behind which new ones go.
    async fn last_to_remove(&self, hub: &HubName, bounds: Bounds) -> Result<Option<u64>, Error> {
        let max = self.limits.get(Limit::AuditEntriesMax).max(1);
        let count = (bounds.last - bounds.first).saturating_add(1);
        let over = count.saturating_sub(max);
        if max != UNLIMITED && over >= EXCESS_MIN.min(max) {
            return Ok(Some(bounds.first + over.min(PAGE) - 1));
        }
        let age = self.limits.time(Limit::AuditAgeSecsMax);
        let now = self.clock.now();
        let documents = self.documents(hub, bounds.first - 1, PAGE).await?;
        let age_of = |document: &Document| {
            let (_, body) = chain::split(&document.body)?;
            let stored = Stored::read(std::str::from_utf8(body).ok()?)?;
            Some(now.since(stored.time))
        };
        let first = documents.first().and_then(age_of);
        if first.is_none_or(|first| first < age.saturating_add(OVERAGE_MIN)) {
            return Ok(None);
        }
        let old = documents
            .iter()
            .take_while(|document| age_of(document).is_some_and(|of| of > age));
        let last = old.last().and_then(|document| chain::position(&document.key.id));
        Ok(last.filter(|last| *last < bounds.last))
    }

    /// Entries behind `after` by their numbers; one that is damaged is named without its document.
    async fn entries(
        &self,
        hub: &HubName,
        after: u64,
        count: u64,
    ) -> Result<Vec<(u64, Option<Document>)>, Error> {
        match self.documents(hub, after, count).await {
            Ok(documents) => documents
                .into_iter()
                .map(|document| {
                    let position = chain::position(&document.key.id).ok_or_else(|| unexpected(&document))?;
                    Ok((position, Some(document)))
                })
                .collect(),
            Err(StoreError::Unreadable(_)) => self.entries_singly(hub, after, count).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn entries_singly(
        &self,
        hub: &HubName,
        after: u64,
        count: u64,
    ) -> Result<Vec<(u64, Option<Document>)>, Error> {
        let mut entries = Vec::new();
        for position in after.saturating_add(1)..=after.saturating_add(count) {
            match self
                .store
                .get(&chain::key(Collection::Audit, hub, position))
                .await
            {
                Ok(Some(document)) => entries.push((position, Some(document))),
                Ok(None) => {}
                Err(StoreError::Unreadable(_)) => entries.push((position, None)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }

    async fn documents(&self, hub: &HubName, after: u64, count: u64) -> Result<Vec<Document>, StoreError> {
        let range = Range {
            collection: Collection::Audit,
            hub: hub.clone(),
            prefix: String::new(),
            after: Some(chain::key(Collection::Audit, hub, after).id.to_string()),
            limit: usize::try_from(count).unwrap_or(usize::MAX),
        };
        self.store.scan(&range).await
    }

    /// First and last entry. Numbers have no gap, so the last is found by halving: some forty reads for any length.
    pub async fn bounds(&self, hub: &HubName) -> Result<Option<Bounds>, Error> {
        let first = match self.first_behind(hub, 0).await? {
            Found::Nothing => return Ok(None),
            Found::Entry(position) => position,
            Found::Damage => self.damaged_first(hub).await?,
        };
        let mut last = first;
        let mut step = 1;
        while self.is_there(hub, last.saturating_add(step)).await? {
            last = last.saturating_add(step);
            step = step.saturating_mul(2);
        }
        // It lies before `last + step`, which is not there.
        while step > 1 {
            step /= 2;
            if self.is_there(hub, last.saturating_add(step)).await? {
                last = last.saturating_add(step);
            }
        }
        Ok(Some(Bounds { first, last }))
    }

    async fn first_behind(&self, hub: &HubName, after: u64) -> Result<Found, Error> {
        match self.documents(hub, after, 1).await {
            Ok(documents) => documents.first().map_or(Ok(Found::Nothing), |first| {
                let position = chain::position(&first.key.id).ok_or_else(|| unexpected(first))?;
                Ok(Found::Entry(position))
            }),
            Err(StoreError::Unreadable(_)) => Ok(Found::Damage),
            Err(error) => Err(error.into()),
        }
    }

    /// The number of a damaged first entry: the store does not tell it, but behind it the next one is found.
    async fn damaged_first(&self, hub: &HubName) -> Result<u64, Error> {
        let (mut before, mut behind) = (0, u64::MAX);
        while behind - before > 1 {
            let middle = before + (behind - before) / 2;
            match self.first_behind(hub, middle).await? {
                Found::Damage => before = middle,
                Found::Entry(_) | Found::Nothing => behind = middle,
            }
        }
        Ok(behind)
    }

    async fn is_there(&self, hub: &HubName, position: u64) -> Result<bool, Error> {
        match self
            .store
            .get(&chain::key(Collection::Audit, hub, position))
            .await
        {
            Ok(document) => Ok(document.is_some()),
            Err(StoreError::Unreadable(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trail").finish_non_exhaustive()
    }
}

fn wanted(document: &Document, filter: &Filter) -> Option<Line> {
    let line = Line::of(document)?;
    Stored::read(line.entry())
        .is_some_and(|stored| filter.takes(&stored))
        .then_some(line)
}

fn page(lines: Vec<Line>, end: u64, bounds: Bounds) -> Page {
    Page {
        lines,
        before: Some(end).filter(|end| *end > bounds.first),
    }
}

fn unexpected(document: &Document) -> Error {
    Error::bug(format!("the document {} is no audit entry", document.key.id))
}
