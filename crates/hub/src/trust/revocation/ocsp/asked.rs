//! What is told of responders, and how they are defined and taken away.

use std::fmt;
use std::sync::Arc;

use crate::access::{Authorized, operation::Management};
use crate::audit::{Act, Entry, Subject};
use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::limits::Limit;
use crate::store::{Collection, Expect, Range, Store, Write};
use crate::tenancy::HubName;

use super::super::certificate::Certificate;
use super::super::definition::ListName;
use super::super::name::{hex, shown};
use super::super::service::Revocation;
use super::answers::{Held, Standing};
use super::definition::Responder;
use super::responders::Responders;

/// Ids of the documents of responders begin with it.
const PREFIX: &str = "o-";

/// Somebody is let in although nobody current says that his certificate is not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Whose certificate.
    pub subject: String,
    /// Its serial number, hexadecimal digits.
    pub serial: String,
    /// The name of the responder.
    pub responder: Arc<str>,
    /// Why there is no answer.
    pub why: Arc<str>,
    /// Whether this is the first since the last try to get one. Who comes back for every request need be recorded once.
    pub is_news: bool,
}

impl Doubt {
    pub(in super::super) fn of(
        certificate: &Certificate<'_>,
        responder: &Held,
        why: Arc<str>,
        is_news: bool,
    ) -> Self {
        Self {
            subject: shown(certificate.subject),
            serial: hex(certificate.serial),
            responder: responder.definition.name.shared(),
            why,
            is_news,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            serial,
            responder,
            why,
            is_news: _,
        } = self;
        write!(
            f,
            "the responder '{responder}' did not say whether the certificate {subject} (serial {serial}) is revoked: {why}"
        )
    }
}

/// How a responder is.
#[derive(Debug, Clone)]
pub struct ResponderStatus {
    /// What the operator said of it.
    pub definition: Arc<Responder>,
    /// Its issuer.
    pub issuer: Arc<str>,
    /// Certificates of which something is known.
    pub answers: usize,
    /// Those of them that an open connection stands on.
    pub watched: usize,
    /// Answers that were taken since the start, and tries that brought none.
    pub counts: (u64, u64),
    /// When it was asked last.
    pub asked: Option<Timestamp>,
    /// Why that brought nothing.
    pub failure: Option<Arc<str>>,
}

impl Revocation {
    /// Has certificates of a CA asked about, or changes how. What was known of them is asked for anew. Says whether it is new.
    ///
    /// # Errors
    /// The hub has as many responders as it may, or another one of the same CA.
    pub async fn define_responder(
        &self,
        proof: &Authorized<Management>,
        responder: Responder,
    ) -> Result<bool, Error> {
        self.check_hub(proof)?;
        let _writer = self.list_writer.lock().await;
        let responder = Arc::new(responder);
        let name = responder.name.clone();
        let held = Held::new(Arc::clone(&responder))
            .map_err(|_| Error::bug("the certificate of the issuer of a responder could be read before"))?;
        let (is_new, count, namesake) = {
            let known = self.held();
            let is_new = known.responders.get(name.as_str()).is_none();
            let mut others = known
                .responders
                .all()
                .filter(|other| other.definition.name != name);
            let namesake = others.find(|other| other.issuer == held.issuer && other.key == held.key);
            let namesake = namesake.map(|other| other.definition.name.to_string());
            (
                is_new,
                known.responders.all().count() + usize::from(is_new),
                namesake,
            )
        };
        if let Some(other) = namesake {
            return Err(Error::peer(
                Code::GenericConflict,
                format!("The responder {other} is of the same CA; change or remove that one"),
            ));
        }
        self.ports
            .limits
            .check_len(Limit::OcspRespondersMax, count)
            .map_err(|exceeded| Error::peer(Code::GenericConflict, exceeded.to_string()))?;
        let write = Write::Put {
            key: self.key(&format!("{PREFIX}{name}")),
            body: responder.encode()?.into(),
            expect: Expect::Any,
        };
        let subject = Subject::new("ocsp-responder", name.as_str());
        self.apply(write, Entry::new(proof.caller(), Act::RevocationAdd, subject))
            .await?;
        self.change(|known| known.responders.insert(held));
        tracing::info!(hub = %self.hub, responder = %name, by = %proof.actor(), "an OCSP responder is asked");
        Ok(is_new)
    }

    /// Asks a responder no more: what it said is forgotten.
    ///
    /// # Errors
    /// `GenericNotFound` when none of that name is defined.
    pub async fn remove_responder(
        &self,
        proof: &Authorized<Management>,
        name: &ListName,
    ) -> Result<(), Error> {
        self.check_hub(proof)?;
        let _writer = self.list_writer.lock().await;
        self.responder(name)?;
        let write = Write::Delete {
            key: self.key(&format!("{PREFIX}{name}")),
            expect: Expect::Any,
        };
        let subject = Subject::new("ocsp-responder", name.as_str());
        self.apply(write, Entry::new(proof.caller(), Act::RevocationRemove, subject))
            .await?;
        self.change(|known| known.responders.remove(name.as_str()));
        tracing::info!(hub = %self.hub, responder = %name, by = %proof.actor(), "an OCSP responder is no longer asked");
        Ok(())
    }

    /// The responders, by name.
    pub fn responders(&self) -> Vec<ResponderStatus> {
        let held: Vec<_> = self.held().responders.all().cloned().collect();
        let mut responders: Vec<_> = held.iter().map(|held| held.status()).collect();
        responders.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
        responders
    }

    /// Asks a responder about a certificate, at once, and says in words what came of it. An answer is kept like any other.
    ///
    /// # Errors
    /// `GenericNotFound` when none of that name is defined; the certificate is none of its CA's; why there is no answer.
    pub async fn ask_responder(
        &self,
        proof: &Authorized<Management>,
        name: &ListName,
        certificate: &[u8],
    ) -> Result<String, Error> {
        self.check_hub(proof)?;
        let held = self.responder(name)?;
        let certificate =
            Certificate::parse(certificate).map_err(|_| Error::argument("The certificate cannot be read"))?;
        let is_issued = certificate.issuer == &*held.issuer && certificate.signed.verify(&held.key).is_ok();
        if !is_issued {
            return Err(Error::argument(format!(
                "The certificate {} was not issued by {}, whose responder this is",
                shown(certificate.subject),
                held.issuer_shown
            )));
        }
        let watch = held.watch(&certificate, true, self.answers_max());
        watch.hasten();
        self.ask(&held, &watch, &self.asking.logins).await;
        match watch.standing(self.ports.clock.now()) {
            Standing::Good => Ok("good".to_owned()),
            Standing::Revoked(since) => Ok(format!("revoked {since}")),
            Standing::Unknown(why) => Err(Error::argument(format!("There is no answer: {why}"))),
            Standing::Pending => Err(Error::bug(
                "a certificate that was asked about waits to be asked about",
            )),
        }
    }

    pub(super) fn answers_max(&self) -> usize {
        self.ports.limits.size(Limit::OcspAnswersMax)
    }

    fn responder(&self, name: &ListName) -> Result<Arc<Held>, Error> {
        self.held().responders.get(name.as_str()).cloned().ok_or_else(|| {
            Error::peer(
                Code::GenericNotFound,
                "The hub has no OCSP responder of this name",
            )
        })
    }
}

impl Responders {
    /// Those of a hub.
    pub(in super::super) async fn open(store: &dyn Store, hub: &HubName) -> Result<Self, Error> {
        let range = Range {
            collection: Collection::Revocations,
            hub: hub.clone(),
            prefix: PREFIX.to_owned(),
            after: None,
            // A hub whose limit was lowered keeps what it has.
            limit: 10_000,
        };
        let mut responders = Self::default();
        for document in &store.scan(&range).await? {
            let name = document.key.id.strip_prefix(PREFIX).unwrap_or_default();
            let responder = Responder::decode(name, &document.body)?;
            let held = Held::new(Arc::new(responder)).map_err(|_| {
                Error::bug(format!(
                    "the issuer of the OCSP responder '{name}' cannot be read"
                ))
            })?;
            responders.insert(held);
        }
        Ok(responders)
    }
}
