//! The stored form of what logins showed (docs/formats/hubs.md, `observed`). It is for advice alone: a document that cannot be read
//! is left aside and written anew.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use super::Observed;
use super::observed::Kept;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{ApplyError, Collection, Expect, Key, Store, StoreError, Write};
use crate::tenancy::HubName;

/// The version that is written.
const VERSION: u8 = 1;

/// The id in its collection.
const ID: &str = "observed";

/// Names that are written of each kind: with the longest ids the document has less than a megabyte.
const WRITTEN_MAX: usize = 1_000;

/// All times in microseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Record {
    v: u8,
    /// Since when connections are looked at; 0 is not yet.
    s: i64,
    /// When TLS 1.2 was used last; 0 is never.
    t: i64,
    /// When policies were used last, or since when they are known.
    p: BTreeMap<String, i64>,
    /// Identities with long tokens, and when these expire.
    l: BTreeMap<String, i64>,
    /// Policies with long tokens, and when these expire.
    q: BTreeMap<String, i64>,
    /// Identities whose certificates expire soon, and when.
    c: BTreeMap<String, i64>,
}

impl Observed {
    /// Takes in what was kept before the start.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn restore(&self, store: &dyn Store, hub: &HubName) -> Result<(), Error> {
        let document = match store.get(&key(hub)).await {
            Ok(Some(document)) => document,
            Ok(None) => return Ok(()),
            // A damaged page: advice is not worth a hub that does not open.
            Err(StoreError::Unreadable(reason)) => {
                tracing::warn!(%hub, reason, "what earlier logins showed cannot be read; it is counted anew");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        match serde_json::from_slice::<Record>(&document.body) {
            Ok(record) if record.v == VERSION => self.take_in(record),
            _ => tracing::warn!(%hub, "what earlier logins showed is of no known form; it is counted anew"),
        }
        Ok(())
    }

    /// Writes what is known. What was seen since is lost by a crash, and nothing else.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) async fn keep(&self, store: &dyn Store, hub: &HubName, now: Timestamp) -> Result<(), Error> {
        let body = serde_json::to_vec(&self.record(now))
            .map_err(|error| Error::bug(format!("what logins showed cannot be written: {error}")))?;
        if let Some(there) = store.get(&key(hub)).await?
            && there.body == body
        {
            return Ok(());
        }
        let write = Write::Put {
            key: key(hub),
            body: body.into(),
            expect: Expect::Any,
        };
        match store.apply(vec![write]).await {
            Ok(_) => Ok(()),
            Err(ApplyError::Conflict { .. }) => Err(Error::bug("a write without a condition met a conflict")),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    fn take_in(&self, record: Record) {
        self.since.store(record.s, Ordering::Relaxed);
        self.old_tls.fetch_max(record.t, Ordering::Relaxed);
        let mut policies = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        for (name, used) in record.p {
            policies
                .entry(name.into())
                .or_insert_with(|| AtomicI64::new(0))
                .fetch_max(used, Ordering::Relaxed);
        }
        drop(policies);
        self.long_tokens.restore(record.l);
        self.long_policy_tokens.restore(record.q);
        self.certificates.restore(record.c);
    }

    fn record(&self, now: Timestamp) -> Record {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        // Tokens and certificates that have expired harm nobody any more.
        let written = |kept: &Kept| {
            let all = kept.all().into_iter().filter(|(_, expires)| *expires > now);
            let micros = all.map(|(name, expires)| (name, expires.as_micros()));
            micros.take(WRITTEN_MAX).collect()
        };
        Record {
            v: VERSION,
            s: self.since.load(Ordering::Relaxed),
            t: self.old_tls.load(Ordering::Relaxed),
            p: policies
                .iter()
                .map(|(name, used)| (name.to_string(), used.load(Ordering::Relaxed)))
                .collect(),
            l: written(&self.long_tokens),
            q: written(&self.long_policy_tokens),
            c: written(&self.certificates),
        }
    }
}

fn key(hub: &HubName) -> Key {
    Key::new(Collection::Hubs, hub, ID)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::{Fidelity, Limits};
    use crate::settings::TlsVersion;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"s":1000000,"t":2000000,"p":{"service":3000000},"l":{"d1/m1":9000000},"q":{"service":9000000},"c":{"d2":9000000}}"#;

    fn observed() -> Observed {
        Observed::new(Arc::new(Limits::new(Fidelity::Native)))
    }

    #[test]
    fn the_released_fixture_reads_and_writes_back() {
        let observed = observed();
        observed.take_in(serde_json::from_str(FIXTURE).unwrap());
        assert_eq!(observed.policy_used("service"), Some(Timestamp::from_secs(3)));
        assert_eq!(observed.old_tls_idle_since(), Some(Timestamp::from_secs(2)));
        let written = |secs| serde_json::to_string(&observed.record(Timestamp::from_secs(secs))).unwrap();
        assert_eq!(written(4), FIXTURE);
        // What has expired is not written again.
        assert!(written(9).contains(r#""l":{},"q":{},"c":{}"#), "{}", written(9));
    }

    #[test]
    fn what_was_seen_since_the_start_is_newer() {
        let observed = observed();
        observed.policy(&"service".into(), Timestamp::from_secs(50));
        observed.tls(TlsVersion::V1_3, Timestamp::from_secs(50));
        observed.take_in(serde_json::from_str(FIXTURE).unwrap());
        assert_eq!(observed.policy_used("service"), Some(Timestamp::from_secs(50)));
        assert_eq!(observed.old_tls_idle_since(), Some(Timestamp::from_secs(2)));
        // A policy that was made since is known from now on, one that is gone is forgotten.
        observed.policies_are(&["new".into()], Timestamp::from_secs(60));
        assert_eq!(observed.policy_used("service"), None);
        assert_eq!(observed.policy_used("new"), Some(Timestamp::from_secs(60)));
    }
}
