//! The CA certificates of one hub, held in memory: every chain ends at one of them, or is refused.
//!
//! One that is uploaded trusts nobody yet. It counts once its owner has proved to hold its key, or has said at the upload that
//! this is not needed. Every change makes the open connections of the hub ask again what they stand on.

mod authority;
mod possession;
mod stored;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::access::{Authorized, right};
use crate::audit::{Act, Entry, Subject};
use crate::bus::{Bus, Mail};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::identity::IfMatch;
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Expect, Key, Range, Store, Version, Write};
use crate::tenancy::HubName;

use super::certificate::Certificate;
use super::upload::certificate_from_upload;

pub use authority::{Authority, Stored, VerificationCode};

/// Most characters of a name (dps.md 14).
const NAME_CHARS_MAX: usize = 256;

/// CA certificates by their names.
pub(crate) type Held = BTreeMap<Arc<str>, Arc<Authority>>;

/// The CA certificates of one hub. Changes go through here, one after the other.
pub struct Authorities {
    hub: HubName,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Arc<Limits>,
    held: RwLock<Arc<Held>>,
    writer: tokio::sync::Mutex<()>,
}

impl Authorities {
    /// Reads the CA certificates of a hub.
    pub async fn open(
        hub: HubName,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Result<Self, Error> {
        let held = read(&*store, &hub).await?;
        Ok(Self {
            hub,
            store,
            bus,
            clock,
            entropy,
            limits,
            held: RwLock::new(Arc::new(held)),
            writer: tokio::sync::Mutex::new(()),
        })
    }

    /// Uploads a CA certificate, or replaces the one of its name, which then must be named by its etag. The text is PEM, or
    /// base64 of PEM or DER. With `is_verified` it counts at once; without, a certificate that is there already keeps its
    /// standing, and another has to be proved anew.
    ///
    /// # Errors
    /// `ArgumentInvalid` when the name or the certificate cannot be taken: it must be that of a CA, not expired, without a private
    /// key, and with a key that proves something. `PreconditionFailed` when the etag is missing or stale. `GenericConflict` when the
    /// hub would hold more certificates than it may.
    pub async fn put(
        &self,
        proof: &Authorized<right::Management>,
        name: &str,
        text: &str,
        is_verified: bool,
        if_match: &IfMatch,
    ) -> Result<Stored, Error> {
        self.check_hub(proof)?;
        check_name(name)?;
        let certificate = certificate_from_upload(text, &self.limits)?;
        let now = self.clock.now();
        check_authority(&certificate, now)?;
        let _writer = self.writer.lock().await;
        let existing = self.get(name);
        if let Some(existing) = &existing {
            check_etag(existing, if_match)?;
        } else {
            let count = self.held().len().saturating_add(1);
            self.limits
                .check_len(Limit::AuthoritiesMax, count)
                .map_err(|exceeded| Error::peer(Code::GenericConflict, exceeded.to_string()))?;
        }
        let kept = existing
            .as_ref()
            .filter(|existing| *existing.certificate() == certificate);
        let authority = Authority {
            name: name.into(),
            is_verified: is_verified || kept.is_some_and(|kept| kept.is_verified()),
            certificate,
            created: existing.as_ref().map_or(now, |existing| existing.created()),
            updated: now,
            code: None,
            version: Version(0),
        };
        let act = match &existing {
            Some(_) => Act::CertificateUpdate,
            None => Act::CertificateCreate,
        };
        let words = format!("SHA-256 {}", authority.certificate.sha256_thumbprint());
        let entry = Entry::new(proof.caller(), act, Subject::certificate(name)).saying(words);
        let entry = if is_verified {
            entry.saying("taken as verified")
        } else {
            entry
        };
        let stored = self.store(authority, existing.as_deref(), entry).await?;
        Ok(match existing {
            Some(_) => Stored::Replaced(stored),
            None => Stored::Created(stored),
        })
    }

    /// Draws a new code; an earlier one is void. Whoever shows a certificate with this common name, issued by the CA, holds its key.
    ///
    /// # Errors
    /// `CertificateNotFound`; `PreconditionFailed` when the etag is missing or stale.
    pub async fn generate_verification_code(
        &self,
        proof: &Authorized<right::Management>,
        name: &str,
        if_match: &IfMatch,
    ) -> Result<(Arc<Authority>, VerificationCode), Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let existing = self.existing(name, if_match)?;
        let code = VerificationCode::generate(&*self.entropy);
        let changed = Authority {
            code: Some(code.clone()),
            updated: self.clock.now(),
            ..Authority::clone(&existing)
        };
        let entry = Entry::new(proof.caller(), Act::CertificateUpdate, Subject::certificate(name));
        let entry = entry.saying("verification code drawn");
        let stored = self.store(changed, Some(&existing), entry).await?;
        Ok((stored, code))
    }

    /// Takes the proof of possession: a certificate, in a form of [`put`](Self::put), whose common name is the code and whose issuer
    /// is this CA itself. Spends the code.
    ///
    /// # Errors
    /// `CertificateNotFound`; `PreconditionFailed` when the etag is missing or stale; `ArgumentInvalid` when the text is no
    /// certificate; `ProofOfPossessionFailed` with the reason when it proves nothing.
    pub async fn verify(
        &self,
        proof: &Authorized<right::Management>,
        name: &str,
        text: &str,
        if_match: &IfMatch,
    ) -> Result<Arc<Authority>, Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let existing = self.existing(name, if_match)?;
        let shown = certificate_from_upload(text, &self.limits)?;
        let now = self.clock.now();
        possession::check(&existing, &shown, now)?;
        let changed = Authority {
            is_verified: true,
            code: None,
            updated: now,
            ..Authority::clone(&existing)
        };
        let entry = Entry::new(proof.caller(), Act::CertificateUpdate, Subject::certificate(name));
        self.store(changed, Some(&existing), entry.saying("possession proven"))
            .await
    }

    /// Removes a CA certificate. `false` when there was none.
    ///
    /// # Errors
    /// `PreconditionFailed` when the etag is missing or stale.
    pub async fn delete(
        &self,
        proof: &Authorized<right::Management>,
        name: &str,
        if_match: &IfMatch,
    ) -> Result<bool, Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let Some(existing) = self.get(name) else {
            return Ok(false);
        };
        check_etag(&existing, if_match)?;
        let write = Write::Delete {
            key: key(&self.hub, name),
            expect: Expect::Version(existing.version),
        };
        let entry = Entry::new(proof.caller(), Act::CertificateDelete, Subject::certificate(name));
        self.apply(write, entry).await?;
        let mut changed = Held::clone(&self.held());
        changed.remove(name);
        self.hold(changed);
        Ok(true)
    }

    /// The CA certificate of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Authority>> {
        self.held().get(name).cloned()
    }

    /// All CA certificates, by name.
    pub fn list(&self) -> Vec<Arc<Authority>> {
        self.held().values().cloned().collect()
    }

    /// What is held at this moment, for decisions.
    pub(crate) fn held(&self) -> Arc<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn existing(&self, name: &str, if_match: &IfMatch) -> Result<Arc<Authority>, Error> {
        let existing = self.get(name).ok_or_else(|| {
            Error::peer(
                Code::CertificateNotFound,
                "The hub has no certificate of this name; list them to see which there are",
            )
        })?;
        check_etag(&existing, if_match)?;
        Ok(existing)
    }

    fn check_hub(&self, proof: &Authorized<right::Management>) -> Result<(), Error> {
        if *proof.hub() == self.hub {
            return Ok(());
        }
        Err(Error::bug(
            "a proof for one hub was used for the certificates of another",
        ))
    }

    async fn store(
        &self,
        mut authority: Authority,
        existing: Option<&Authority>,
        entry: Entry<'_>,
    ) -> Result<Arc<Authority>, Error> {
        let write = Write::Put {
            key: key(&self.hub, &authority.name),
            body: stored::encode(&authority)?.into(),
            expect: existing.map_or(Expect::Absent, |existing| Expect::Version(existing.version)),
        };
        authority.version = self.apply(write, entry).await?;
        let authority = Arc::new(authority);
        let mut changed = Held::clone(&self.held());
        changed.insert(authority.name.clone(), Arc::clone(&authority));
        self.hold(changed);
        Ok(authority)
    }

    async fn apply(&self, write: Write, entry: Entry<'_>) -> Result<Version, Error> {
        let entry = entry.write(&self.hub, self.clock.now())?;
        self.store
            .apply(vec![write, entry])
            .await
            .map_err(|error| match error {
                ApplyError::Conflict { .. } => {
                    Error::bug("a certificate of the hub was changed by somebody else than the hub")
                }
                ApplyError::Store(error) => error.into(),
            })
    }

    fn hold(&self, changed: Held) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        self.bus.broadcast(&self.hub, Mail::Recheck);
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.held().values()).finish()
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let valid = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if valid {
        return Ok(());
    }
    Err(Error::argument(format!(
        "A certificate's name has 1 to {NAME_CHARS_MAX} ASCII letters, digits and - . _"
    )))
}

/// What an upload must be. A CA of version 1 cannot say that it is one and is refused (docs/decisions/0010).
fn check_authority(certificate: &Certificate, now: Timestamp) -> Result<(), Error> {
    let subject = certificate.subject();
    if !certificate.is_authority() {
        return Err(Error::argument(format!(
            "The certificate '{subject}' is not that of a CA: its basic constraints do not say CA:TRUE"
        )));
    }
    if certificate.extensions.may_sign_certificates == Some(false) {
        return Err(Error::argument(format!(
            "The certificate '{subject}' may not sign certificates: its key usage lacks keyCertSign"
        )));
    }
    if certificate.not_after() < now {
        return Err(Error::argument(format!(
            "The certificate '{subject}' expired at {}; upload its successor",
            certificate.not_after()
        )));
    }
    certificate
        .key()
        .check()
        .map_err(|wrong| Error::argument(format!("The certificate '{subject}' has {wrong}")))
}

fn check_etag(existing: &Authority, if_match: &IfMatch) -> Result<(), Error> {
    match if_match {
        IfMatch::Any => Ok(()),
        IfMatch::Etag(demanded) if *demanded == existing.etag() => Ok(()),
        IfMatch::Etag(_) => Err(Error::peer(
            Code::PreconditionFailed,
            "The certificate was changed meanwhile: If-Match is not its present etag; read it again",
        )),
        IfMatch::Absent => Err(Error::peer(
            Code::PreconditionFailed,
            "The certificate exists: send its etag in If-Match to change it",
        )),
    }
}

async fn read(store: &dyn Store, hub: &HubName) -> Result<Held, Error> {
    // A hub whose limit was lowered keeps what it has; a body has at most some 20 KB.
    let mut range = Range {
        collection: Collection::Certificates,
        hub: hub.clone(),
        prefix: String::new(),
        after: None,
        limit: 64,
    };
    let mut named = Held::new();
    loop {
        let page = store.scan(&range).await?;
        for document in &page {
            let authority = stored::decode(&document.key.id, &document.body, document.version)?;
            named.insert(authority.name.clone(), Arc::new(authority));
        }
        match page.last() {
            Some(last) if page.len() == range.limit => range.after = Some(last.key.id.to_string()),
            _ => return Ok(named),
        }
    }
}

fn key(hub: &HubName, name: &str) -> Key {
    Key::new(Collection::Certificates, hub, name)
}
