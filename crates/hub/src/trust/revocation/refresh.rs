//! When the sources of lists are looked at, and what becomes of a look that brings nothing.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::clock::Timestamp;
use crate::fetch::Wanted;

use super::definition::{Definition, ListName, Source};
use super::files::{Stamp, Watched};
use super::lists::LoadError;
use super::service::Revocation;

/// Time between two looks at a watched file.
const WATCH_PERIOD: Duration = Duration::from_secs(5);

/// Time after which a URL is read again that could not be read; doubles with every failure, up to the time of its refresh.
const RETRY_FIRST: Duration = Duration::from_secs(30);

/// Lists that are read at one time.
const CONCURRENT_MAX: usize = 2;

/// What is known of the source of a list. Not stored: a start looks at every source.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    looked: Option<Timestamp>,
    next: Timestamp,
    failures: u32,
    failure: Option<String>,
    stamp: Option<Stamp>,
    /// Why the file of that stamp was not taken.
    broken: Option<LoadError>,
    has_told_expiry: bool,
}

impl Revocation {
    /// Looks at every source whose time has come. To be called every second or so.
    pub async fn refresh_due(&self) {
        let now = self.ports.clock.now();
        self.tell_expired(now);
        let due: Vec<Arc<Definition>> = self
            .held()
            .lists
            .all()
            .map(|listed| Arc::clone(&listed.definition))
            .filter(|definition| definition.source != Source::Uploaded)
            .filter(|definition| {
                let progress = self.progress();
                progress
                    .get(&definition.name)
                    .is_none_or(|progress| progress.next <= now)
            })
            .collect();
        futures_util::stream::iter(due)
            .for_each_concurrent(CONCURRENT_MAX, |definition| async move {
                if let Err(error) = self.look_at(&definition).await {
                    tracing::warn!(hub = %self.hub, list = %definition.name, %error,
                        "a revocation list could not be refreshed; the one before stays in force");
                }
            })
            .await;
    }

    /// Looks at the source of a list.
    pub(super) async fn look_at(&self, definition: &Arc<Definition>) -> Result<(), LoadError> {
        let read = self.read_source(definition).await;
        let now = self.ports.clock.now();
        let next_update = self
            .listed(&definition.name)
            .and_then(|listed| listed.list.as_ref().and_then(|list| list.next_update));
        let jitter = self.jitter();
        let mut progress = self.progress();
        let progress = progress.entry(definition.name.clone()).or_default();
        progress.looked = Some(now);
        match &read {
            Ok(()) => {
                progress.failures = 0;
                progress.failure = None;
            }
            Err(error) => {
                progress.failures = progress.failures.saturating_add(1);
                progress.failure = Some(error.to_string());
                self.failed_loads.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pause = match &definition.source {
            Source::Uploaded | Source::File(_) => WATCH_PERIOD,
            Source::Url { refresh, .. } => jittered(
                pause_of_url(
                    *refresh,
                    progress.failures,
                    next_update.map(|next| next.since(now)),
                ),
                jitter,
            ),
        };
        progress.next = now.plus(pause);
        read
    }

    async fn read_source(&self, definition: &Arc<Definition>) -> Result<(), LoadError> {
        let bytes = match &definition.source {
            Source::Uploaded => return Ok(()),
            Source::File(file) => {
                let files = self.files.get().ok_or(LoadError::NoFiles)?;
                let known = self
                    .progress()
                    .get(&definition.name)
                    .and_then(|progress| progress.stamp);
                match files.watch(file, known, self.bytes_max()).await? {
                    Watched::Unchanged => return self.last_failure(definition),
                    Watched::Missing => return Err(LoadError::Missing(file.clone())),
                    Watched::Changed(stamp, bytes) => {
                        let mut progress = self.progress();
                        let progress = progress.entry(definition.name.clone()).or_default();
                        progress.stamp = Some(stamp);
                        bytes
                    }
                }
            }
            Source::Url { url, .. } => self.ports.fetch.fetch(Wanted::get(url, self.bytes_max())).await?,
        };
        let loaded = self.load(definition, bytes, None).await;
        let mut progress = self.progress();
        let progress = progress.entry(definition.name.clone()).or_default();
        progress.broken = loaded.as_ref().err().cloned();
        loaded.map(|_| ())
    }

    /// A file that is as it was is as good as it was.
    fn last_failure(&self, definition: &Definition) -> Result<(), LoadError> {
        let broken = self
            .progress()
            .get(&definition.name)
            .and_then(|progress| progress.broken.clone());
        broken.map_or(Ok(()), Err)
    }

    /// Says once of every list that its time is over.
    fn tell_expired(&self, now: Timestamp) {
        let lists: Vec<_> = self.held().lists.all().cloned().collect();
        for listed in lists {
            let Some(list) = &listed.list else { continue };
            let mut progress = self.progress();
            let progress = progress.entry(listed.definition.name.clone()).or_default();
            let is_expired = list.is_expired(now);
            if is_expired && !progress.has_told_expiry {
                let effect = if listed.definition.is_required {
                    "its certificates are refused until there is a newer one"
                } else {
                    "what it lists stays revoked, what was revoked since is not known"
                };
                tracing::warn!(hub = %self.hub, list = %listed.definition.name, next_update = ?list.next_update, effect,
                    "a revocation list has expired");
            }
            progress.has_told_expiry = is_expired;
        }
    }

    /// When a source was looked at last, and why that brought nothing.
    pub(super) fn progress_of(&self, name: &ListName) -> (Option<Timestamp>, Option<String>) {
        let progress = self.progress();
        let of = progress.get(name);
        (
            of.and_then(|progress| progress.looked),
            of.and_then(|progress| progress.failure.clone()),
        )
    }

    pub(super) fn note_failure(&self, name: &ListName, failure: String) {
        self.progress().entry(name.clone()).or_default().failure = Some(failure);
    }

    /// The source is looked at anew.
    pub(super) fn forget_progress(&self, name: &ListName) {
        self.progress().remove(name);
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<ListName, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jitter(&self) -> u8 {
        let mut byte = [0];
        self.ports.entropy.fill(&mut byte);
        let [byte] = byte;
        byte
    }
}

/// A list that runs out before its refresh is read again then; a failure is tried again sooner than a success.
fn pause_of_url(refresh: Duration, failures: u32, until_next: Option<Duration>) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        let until_next = until_next.filter(|until| !until.is_zero());
        return until_next.map_or(refresh, |until| refresh.min(until));
    };
    RETRY_FIRST
        .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
        .min(refresh)
}

/// Up to a tenth later, so that the servers that share a source do not all come at once.
fn jittered(pause: Duration, jitter: u8) -> Duration {
    pause.saturating_add(pause / 2_560 * u32::from(jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_list_and_back_off() {
        let hour = Duration::from_secs(3_600);
        let secs = Duration::from_secs;
        for (failures, until_next, wanted) in [
            (0, None, hour),
            (0, Some(secs(600)), secs(600)),
            (0, Some(secs(0)), hour),
            (0, Some(hour * 2), hour),
            (1, None, secs(30)),
            (2, None, secs(60)),
            (7, None, secs(1_920)),
            (8, None, hour),
            (200, Some(secs(1)), hour),
        ] {
            assert_eq!(pause_of_url(hour, failures, until_next), wanted, "{failures}");
        }
        assert_eq!(jittered(hour, 0), hour);
        assert!(jittered(hour, 255) > hour && jittered(hour, 255) < hour * 11 / 10);
    }
}
