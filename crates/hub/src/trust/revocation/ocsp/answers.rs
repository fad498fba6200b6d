//! The answers of one responder in memory: what is known of each certificate, who still needs it, and when it is asked about again.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::trust::der::Malformed;

use super::super::certificate::Certificate;
use super::super::definition::is_url;
use super::super::list::CLOCK_SKEW;
use super::super::name::shown;
use super::super::revoked::Since;
use super::asked::ResponderStatus;
use super::certificate_id::IssuerDigests;
use super::definition::{Demand, Responder};
use super::response::{Answer, AnswerError, Verdict};

/// Time after which a certificate is asked about again of which nothing good was heard: the responder was out of reach, its answer
/// not to be taken. A login within it does not wait again.
const RETRY: Duration = Duration::from_secs(10);

/// The same after the responder said that it does not know the certificate: it may be told of new ones only after a while.
const RETRY_UNKNOWN: Duration = Duration::from_secs(60);

/// What is known of one certificate. Whoever stands on it holds it: what is held is asked about again before its answer runs out.
pub struct Watch {
    /// Without leading zeros.
    pub(super) serial: Box<[u8]>,
    /// Where to ask, if that is known.
    pub(super) url: Option<Arc<str>>,
    /// Whoever holds it asks; others wait and find the answer.
    pub(super) asking: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    answer: Option<Kept>,
    failure: Option<Arc<str>>,
    /// When to ask again.
    next: Timestamp,
    /// Whether those who stand on it were told that it is refused.
    has_told: bool,
    /// Whether somebody was let in since the last failure, with a record that says so.
    has_recorded: bool,
}

#[derive(Debug, Clone)]
struct Kept {
    answer: Answer,
    /// Until when it counts; what is revoked stays so.
    until: Timestamp,
}

/// How a certificate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Standing {
    Good,
    Revoked(Since),
    /// Nobody was asked yet.
    Pending,
    /// There is no current answer that says either, and why.
    Unknown(Arc<str>),
}

impl Watch {
    fn new(serial: &[u8], url: Option<Arc<str>>) -> Self {
        Self {
            serial: serial.into(),
            url,
            asking: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.known().next <= now
    }

    /// Has it asked about whenever it was before.
    pub(super) fn hasten(&self) {
        self.known().next = Timestamp::default();
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        let known = self.known();
        let Some(kept) = &known.answer else {
            return match &known.failure {
                Some(failure) => Standing::Unknown(Arc::clone(failure)),
                None => Standing::Pending,
            };
        };
        match &kept.answer.verdict {
            // What was revoked stays so until a newer answer lifts it, like an entry of a list that has run out.
            Verdict::Revoked(since) => Standing::Revoked(since.clone()),
            Verdict::Good if now <= kept.until => Standing::Good,
            Verdict::Unknown if now <= kept.until => {
                Standing::Unknown("the responder does not know it".into())
            }
            Verdict::Good | Verdict::Unknown => {
                let why = known
                    .failure
                    .as_deref()
                    .unwrap_or("the responder was not asked since");
                Standing::Unknown(format!("the last answer was good until {}, and {why}", kept.until).into())
            }
        }
    }

    /// Takes an answer unless a newer one is there.
    pub(super) fn take(&self, answer: Answer, refresh: Duration, now: Timestamp) -> Result<(), AnswerError> {
        let mut known = self.known();
        if let Some(kept) = &known.answer
            && answer.this_update < kept.answer.this_update
        {
            return Err(AnswerError::GoesBack {
                found: answer.this_update,
                held: kept.answer.this_update,
            });
        }
        let until = match answer.next_update {
            Some(next_update) => next_update.plus(CLOCK_SKEW),
            // It is asked for again after the first half.
            None => now.plus(refresh.saturating_mul(2)),
        };
        let pause = match answer.verdict {
            Verdict::Good => pause_after(answer.next_update, refresh, now),
            Verdict::Revoked(_) => refresh,
            Verdict::Unknown => RETRY_UNKNOWN.min(refresh),
        };
        known.next = now.plus(pause);
        known.failure = None;
        known.answer = Some(Kept { answer, until });
        Ok(())
    }

    pub(super) fn note_failure(&self, why: &str, now: Timestamp) {
        let mut known = self.known();
        known.failure = Some(why.into());
        known.next = now.plus(RETRY);
        known.has_recorded = false;
    }

    /// Whether those who stand on it must be told that it does not hold any more: once, until it holds again.
    pub(super) fn must_tell(&self, demand: Demand, now: Timestamp) -> bool {
        let is_refused = match self.standing(now) {
            Standing::Revoked(_) => true,
            Standing::Unknown(_) => demand == Demand::Required,
            Standing::Good | Standing::Pending => false,
        };
        let mut known = self.known();
        let must_tell = is_refused && !known.has_told;
        known.has_told = is_refused;
        must_tell
    }

    /// Whether a record of letting somebody in without an answer would be the first since the last try to get one.
    pub(in super::super) fn is_news(&self) -> bool {
        !std::mem::replace(&mut self.known().has_recorded, true)
    }

    /// What to lose first when there are too many: what says nothing, what is good; what is revoked last, and of each the oldest.
    fn worth(&self) -> (u8, Timestamp) {
        let known = self.known();
        match &known.answer {
            None => (0, known.next),
            Some(kept) => match kept.answer.verdict {
                Verdict::Unknown => (0, kept.until),
                Verdict::Good => (1, kept.until),
                Verdict::Revoked(_) => (2, kept.answer.this_update),
            },
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// A nine-tenth of what is left of an answer, and not longer than the operator wants.
fn pause_after(next_update: Option<Timestamp>, refresh: Duration, now: Timestamp) -> Duration {
    let left = next_update.map_or(refresh, |next_update| next_update.since(now) / 10 * 9);
    left.min(refresh).max(RETRY)
}

/// A responder as a check sees it.
pub(in super::super) struct Held {
    pub(in super::super) definition: Arc<Responder>,
    /// The issuer's name, DER.
    pub(in super::super) issuer: Arc<[u8]>,
    /// The same for people.
    pub(in super::super) issuer_shown: Arc<str>,
    /// The issuer's key (`SubjectPublicKeyInfo`).
    pub(in super::super) key: Arc<[u8]>,
    pub(super) digests: IssuerDigests,
    answers: Mutex<Answers>,
    taken: AtomicU64,
    failed: AtomicU64,
    /// When it was asked last, and why that brought nothing.
    last: Mutex<(Option<Timestamp>, Option<Arc<str>>)>,
}

#[derive(Default)]
struct Answers {
    by_serial: HashMap<Box<[u8]>, Arc<Watch>>,
    /// The address of the last certificate: those of one issuer mostly share it.
    last_url: Option<Arc<str>>,
}

impl Held {
    pub(super) fn new(definition: Arc<Responder>) -> Result<Self, Malformed> {
        let issuer = Certificate::parse(&definition.issuer)?;
        Ok(Self {
            issuer: issuer.subject.into(),
            issuer_shown: shown(issuer.subject).into(),
            key: issuer.key.into(),
            digests: IssuerDigests::of(&issuer)?,
            answers: Mutex::default(),
            taken: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last: Mutex::default(),
            definition,
        })
    }

    /// What is known of a certificate, if anything was ever asked.
    pub(super) fn get(&self, serial: &[u8]) -> Option<Arc<Watch>> {
        self.answers().by_serial.get(serial).cloned()
    }

    /// The same, made where nothing is known. `is_proven` says that the issuer is known to have issued the certificate: else the
    /// address in it is anybody's, and only the operator's is asked.
    pub(super) fn watch(&self, certificate: &Certificate<'_>, is_proven: bool, max: usize) -> Arc<Watch> {
        let mut answers = self.answers();
        if let Some(watch) = answers.by_serial.get(certificate.serial) {
            return Arc::clone(watch);
        }
        let url = match &self.definition.url {
            Some(url) => Some(url.as_str()),
            None if is_proven => certificate
                .responder_address()
                .ok()
                .flatten()
                .filter(|url| is_url(url)),
            None => None,
        };
        let url = url.map(|url| answers.shared(url));
        if answers.by_serial.len() >= max {
            answers.make_room(max);
        }
        let watch = Arc::new(Watch::new(certificate.serial, url));
        answers
            .by_serial
            .insert(certificate.serial.into(), Arc::clone(&watch));
        watch
    }

    /// What somebody stands on.
    pub(super) fn watched(&self) -> Vec<Arc<Watch>> {
        let answers = self.answers();
        let watches = answers.by_serial.values();
        watches
            .filter(|watch| Arc::strong_count(watch) > 1)
            .cloned()
            .collect()
    }

    /// What came of a question.
    pub(super) fn note(&self, now: Timestamp, failure: Option<&str>) {
        let count = if failure.is_none() {
            &self.taken
        } else {
            &self.failed
        };
        count.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (Some(now), failure.map(Arc::from));
    }

    pub(super) fn status(&self) -> ResponderStatus {
        let watched = self.watched().len();
        let (asked, failure) = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ResponderStatus {
            definition: Arc::clone(&self.definition),
            issuer: Arc::clone(&self.issuer_shown),
            answers: self.answers().by_serial.len(),
            watched,
            counts: (
                self.taken.load(Ordering::Relaxed),
                self.failed.load(Ordering::Relaxed),
            ),
            asked,
            failure,
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("definition", &self.definition)
            .finish_non_exhaustive()
    }
}

impl Answers {
    fn shared(&mut self, url: &str) -> Arc<str> {
        if let Some(last) = &self.last_url
            && **last == *url
        {
            return Arc::clone(last);
        }
        let url: Arc<str> = url.into();
        self.last_url = Some(Arc::clone(&url));
        url
    }

    /// Loses a quarter of what nobody stands on, so that the next search for room is far off. What somebody stands on is as bounded
    /// as connections are.
    fn make_room(&mut self, max: usize) {
        let mut idle: Vec<_> = self
            .by_serial
            .iter()
            .filter(|(_, watch)| Arc::strong_count(watch) == 1)
            .map(|(serial, watch)| (watch.worth(), serial.clone()))
            .collect();
        let count = (max / 4).max(1).min(idle.len());
        idle.sort_unstable();
        for (_, serial) in idle.drain(..count) {
            self.by_serial.remove(&serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::revocation::Reason;

    const REFRESH: Duration = Duration::from_secs(3_600);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn answer(verdict: Verdict, this: i64, next: Option<i64>) -> Answer {
        Answer {
            verdict,
            this_update: at(this),
            next_update: next.map(at),
        }
    }

    fn revoked(since: i64) -> Verdict {
        Verdict::Revoked(Since {
            since: at(since),
            reason: Reason::Superseded,
        })
    }

    #[test]
    fn an_answer_counts_for_its_time_and_is_asked_for_again_before() {
        let watch = Watch::new(&[1], None);
        assert!(watch.is_due(at(0)) && watch.standing(at(0)) == Standing::Pending);
        watch
            .take(answer(Verdict::Good, 1_000, Some(2_000)), REFRESH, at(1_000))
            .unwrap();
        assert!(!watch.is_due(at(1_899)) && watch.is_due(at(1_900)));
        assert_eq!(watch.standing(at(2_300)), Standing::Good);
        assert!(matches!(watch.standing(at(2_301)), Standing::Unknown(_)));
        assert!(!watch.must_tell(Demand::Preferred, at(2_301)));
        assert!(watch.must_tell(Demand::Required, at(2_301)));
        assert!(!watch.must_tell(Demand::Required, at(2_302)), "once");
        // Without an end it counts for twice the time after which it is asked for again.
        watch
            .take(answer(Verdict::Good, 2_302, None), REFRESH, at(2_302))
            .unwrap();
        assert!(!watch.must_tell(Demand::Required, at(2_303)));
        assert!(!watch.is_due(at(5_901)) && watch.is_due(at(5_902)));
        assert!(!watch.must_tell(Demand::Required, at(9_502)));
        assert_eq!(watch.standing(at(9_502)), Standing::Good);
        assert!(watch.must_tell(Demand::Required, at(9_503)));
    }

    #[test]
    fn revoked_stays_revoked_until_something_newer_comes() {
        let watch = Watch::new(&[1], None);
        watch
            .take(answer(revoked(900), 1_000, Some(1_100)), REFRESH, at(1_000))
            .unwrap();
        watch.note_failure("nobody is there", at(9_000));
        assert!(matches!(watch.standing(at(9_000)), Standing::Revoked(_)));
        let old = watch.take(answer(Verdict::Good, 999, Some(9_999)), REFRESH, at(9_000));
        assert!(matches!(old, Err(AnswerError::GoesBack { .. })));
        watch
            .take(answer(Verdict::Good, 1_001, Some(9_999)), REFRESH, at(9_000))
            .unwrap();
        assert_eq!(watch.standing(at(9_000)), Standing::Good);
    }

    #[test]
    fn failures_are_tried_again_and_recorded_once_each() {
        let watch = Watch::new(&[1], None);
        watch.note_failure("nobody is there", at(100));
        assert!(!watch.is_due(at(109)) && watch.is_due(at(110)));
        assert!(watch.is_news() && !watch.is_news());
        watch.note_failure("nobody is there", at(110));
        assert!(watch.is_news());
        watch
            .take(answer(Verdict::Unknown, 120, Some(9_000)), REFRESH, at(120))
            .unwrap();
        assert_eq!(
            watch.standing(at(121)),
            Standing::Unknown("the responder does not know it".into())
        );
        assert!(watch.is_due(at(180)));
    }

    #[test]
    fn room_is_made_of_what_nobody_stands_on_and_of_what_is_revoked_last() {
        let mut answers = Answers::default();
        for number in 0..8_u8 {
            let watch = Watch::new(&[number], None);
            let verdict = if number < 4 { revoked(1) } else { Verdict::Good };
            watch
                .take(answer(verdict, i64::from(number), Some(99)), REFRESH, at(10))
                .unwrap();
            answers.by_serial.insert(vec![number].into(), Arc::new(watch));
        }
        let standing = Arc::clone(&answers.by_serial[&[4][..]]);
        answers.make_room(8);
        answers.make_room(8);
        let mut left: Vec<_> = answers.by_serial.keys().map(|serial| serial[0]).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [1, 2, 3, 4],
            "all that were good went, and then the oldest that was revoked"
        );
        drop(standing);
    }
}
