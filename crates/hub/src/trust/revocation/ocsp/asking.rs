//! When a responder is asked: at a login of whose certificate nothing current is known, and again for open connections.
//!
//! Askers of one certificate share one question. A responder that is out of reach is left alone for a while, whoever asks, so that it
//! costs one login the time that an answer may take, and not every one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;

use crate::bus::Mail;
use crate::clock::Timestamp;
use crate::fetch::{FetchError, Wanted};
use crate::limits::Limit;

use super::super::certificate::Certificate;
use super::super::held::Look;
use super::super::revoked::Revoked;
use super::super::service::Revocation;
use super::answers::{Held, Watch};
use super::asked::Doubt;
use super::request::{self, MEDIA_TYPE, NONCE_BYTES};
use super::response::{self, Question};

/// Questions of logins that are under way at one time.
const LOGINS_MAX: usize = 16;

/// The same of open connections: a large fleet must not keep a responder from answering logins.
const ROUNDS_MAX: usize = 4;

/// Time for which an address that was out of reach is left alone.
const DOWN: Duration = Duration::from_secs(10);

/// Most addresses that are known to be out of reach.
const DOWN_MAX: usize = 256;

/// Least time between two calls to all connections to look at their ground.
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// Addresses that are out of reach: until when they are left alone, and why.
type Down = HashMap<Arc<str>, (Timestamp, Arc<str>)>;

/// What asking needs to remember.
pub(in super::super) struct Asking {
    pub(super) logins: Semaphore,
    rounds: Semaphore,
    down: Mutex<Down>,
    telling: Mutex<Telling>,
}

#[derive(Default)]
struct Telling {
    last: Timestamp,
    is_due: bool,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            logins: Semaphore::new(LOGINS_MAX),
            rounds: Semaphore::new(ROUNDS_MAX),
            down: Mutex::default(),
            telling: Mutex::default(),
        }
    }
}

impl Revocation {
    /// Whether a login may stand on a path (see [`Revocation::check`]), after the responders were asked that the operator wants
    /// asked. Gives what the login must hold for as long as it stands, and what is doubtful about it.
    ///
    /// Waits `ocsp_patience_secs` at most for each answer, and not at all where answers are at hand.
    ///
    /// # Errors
    /// Like [`Revocation::check`].
    pub async fn decide(&self, path: &[&[u8]]) -> Result<(Vec<Arc<Watch>>, Option<Doubt>), Revoked> {
        let watched = self.watch(path);
        let now = self.ports.clock.now();
        if watched.iter().any(|(_, watch)| watch.is_due(now)) {
            // What is revoked already is not asked about.
            let checked = self.held().check(path, now, Look::Again);
            if let Err(revoked) = checked
                && !revoked.cause.is_passing()
            {
                self.count(&revoked);
                return Err(revoked);
            }
            for (responder, watch) in &watched {
                self.ask(responder, watch, &self.asking.logins).await;
            }
        }
        let doubt = self.check_at(path, self.ports.clock.now(), Look::Login)?;
        Ok((watched.into_iter().map(|(_, watch)| watch).collect(), doubt))
    }

    /// Whether an open connection may go on that stands on a path, from memory alone. Gives what it must hold from now on.
    ///
    /// # Errors
    /// Like [`Revocation::check`], but that a certificate that a responder was not asked about yet is none: it will be.
    pub fn stands(&self, path: &[&[u8]]) -> Result<Vec<Arc<Watch>>, Revoked> {
        let watched = self.watch(path);
        self.check_at(path, self.ports.clock.now(), Look::Again)?;
        Ok(watched.into_iter().map(|(_, watch)| watch).collect())
    }

    /// Asks again about what open connections stand on, where it is time, and tells them when one of them does not hold any more.
    /// To be called every second or so.
    pub async fn refresh_answers(&self) {
        let responders: Vec<_> = self.held().responders.all().cloned().collect();
        let now = self.ports.clock.now();
        let mut due = Vec::new();
        for responder in responders {
            for watch in responder.watched() {
                if watch.must_tell(responder.definition.demand, now) {
                    self.tell();
                }
                if watch.is_due(now) {
                    due.push((Arc::clone(&responder), watch));
                }
            }
        }
        futures_util::stream::iter(due)
            .for_each_concurrent(ROUNDS_MAX, |(responder, watch)| async move {
                self.ask(&responder, &watch, &self.asking.rounds).await;
                self.tell_if_due();
            })
            .await;
        self.tell_if_due();
    }

    /// Asks about a certificate if it is time to, as one of those whose number `bound` limits. What comes of it is kept.
    pub(super) async fn ask(&self, responder: &Held, watch: &Arc<Watch>, bound: &Semaphore) {
        let _asking = watch.asking.lock().await;
        // Nobody closes it.
        let _permit = bound.acquire().await;
        // It may have been asked while this one waited.
        if !watch.is_due(self.ports.clock.now()) {
            return;
        }
        let asked = self.question(responder, watch).await;
        let now = self.ports.clock.now();
        if let Err(why) = &asked {
            tracing::warn!(hub = %self.hub, responder = %responder.definition.name, serial = super::super::name::hex(&watch.serial), why,
                "an OCSP responder gave no answer");
            watch.note_failure(why, now);
        }
        responder.note(now, asked.err().as_deref());
        // The answers and the asker hold it; whoever else does stands on it.
        let stands = Arc::strong_count(watch) > 2;
        if watch.must_tell(responder.definition.demand, now) && stands {
            self.tell();
        }
    }

    /// One question and its answer, which is taken; or why there is none.
    async fn question(&self, responder: &Held, watch: &Watch) -> Result<(), String> {
        let url = watch
            .url
            .as_ref()
            .ok_or("the certificate names no responder; give one: `ironhub ocsp add --url`")?;
        let definition = &responder.definition;
        let nonce = definition.has_nonce.then(|| {
            let mut nonce = [0; NONCE_BYTES];
            self.ports.entropy.fill(&mut nonce);
            nonce
        });
        let nonce = nonce.as_ref().map(|nonce| &nonce[..]);
        let id = responder.digests.encode(definition.digest, &watch.serial);
        let bytes = self.post(url, &request::encode(&id, nonce)).await?;
        let issuer = Certificate::parse(&definition.issuer).map_err(|malformed| malformed.to_string())?;
        let now = self.ports.clock.now();
        let question = Question {
            issuer: &issuer,
            digests: &responder.digests,
            serial: &watch.serial,
            nonce,
            now,
        };
        let signer_revoked = |signer: &Certificate<'_>| self.held().revokes(signer, &issuer);
        let answer = response::read(&bytes, &question, signer_revoked)
            .and_then(|answer| watch.take(answer, definition.refresh, now));
        answer.map_err(|error| format!("{url}: {error}"))
    }

    async fn post(&self, url: &Arc<str>, question: &[u8]) -> Result<Bytes, String> {
        let now = self.ports.clock.now();
        if let Some((since, why)) = self.asking.down().get(url)
            && now.since(*since) < DOWN
        {
            return Err(format!(
                "{why}; it is left alone since {since} for {} s",
                DOWN.as_secs()
            ));
        }
        let limits = &self.ports.limits;
        let wanted = Wanted::post(url, MEDIA_TYPE, question, limits.size(Limit::OcspAnswerBytesMax));
        let fetched = self
            .ports
            .fetch
            .fetch(wanted.within(limits.time(Limit::OcspPatienceSecs)))
            .await;
        let mut down = self.asking.down();
        match fetched {
            Ok(bytes) => {
                down.remove(url);
                Ok(bytes)
            }
            Err(error) => {
                let why: Arc<str> = error.to_string().into();
                // An answer that is too long or refused says nothing of the next one.
                if matches!(error, FetchError::Unreachable { .. }) {
                    if down.len() >= DOWN_MAX {
                        down.clear();
                    }
                    down.insert(Arc::clone(url), (self.ports.clock.now(), Arc::clone(&why)));
                }
                Err(why.to_string())
            }
        }
    }

    /// What is to be asked about a path, made where nothing was asked yet.
    fn watch(&self, path: &[&[u8]]) -> Vec<(Arc<Held>, Arc<Watch>)> {
        let held = self.held();
        if held.responders.is_empty() {
            return Vec::new();
        }
        let max = self.answers_max();
        // What cannot be read is refused by the check.
        let path: Vec<_> = path
            .iter()
            .map_while(|der| Certificate::parse(der).ok())
            .collect();
        let issuers = path.iter().skip(1).map(Some).chain(std::iter::once(None));
        let watched = path.iter().zip(issuers).filter_map(|(certificate, issuer)| {
            let responder = held.responders.of(certificate, issuer)?;
            let watch = responder.watch(certificate, issuer.is_some(), max);
            Some((Arc::clone(responder), watch))
        });
        watched.collect()
    }

    /// Has every connection look at its ground, now or a little later: a fleet that is revoked at once is told at once.
    fn tell(&self) {
        self.asking.telling().is_due = true;
        self.tell_if_due();
    }

    fn tell_if_due(&self) {
        let now = self.ports.clock.now();
        let mut telling = self.asking.telling();
        // A clock that was put back does not keep anybody waiting.
        let may_tell = now < telling.last || now.since(telling.last) >= TELL_PAUSE;
        if telling.is_due && may_tell {
            *telling = Telling {
                last: now,
                is_due: false,
            };
            drop(telling);
            self.ports.bus.broadcast(&self.hub, Mail::Recheck);
        }
    }
}

impl Asking {
    fn down(&self) -> MutexGuard<'_, Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn telling(&self) -> MutexGuard<'_, Telling> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
