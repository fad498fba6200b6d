//! The lists of a hub: defined and handed in by those who manage it, kept in files, put in force one after the other.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::access::{Authorized, Caller, operation::Management};
use crate::audit::{self, Act, Entry, Subject};
use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::limits::Limit;
use crate::store::{Collection, Expect, Range, Write};

use super::certificate::Certificate;
use super::definition::{Definition, ListName, Source};
use super::files::{FileError, ListFiles};
use super::held::Listed;
use super::list::{ListBounds, ListError, RevocationList};
use super::name::shown;
use super::pem;
use super::service::Revocation;

/// Ids of the documents of definitions begin with it.
const PREFIX: &str = "l-";

/// How a list is.
#[derive(Debug, Clone)]
pub struct ListStatus {
    /// What the operator said of it.
    pub definition: Arc<Definition>,
    /// Its issuer.
    pub issuer: Arc<str>,
    /// What is in force, if any was ever loaded.
    pub list: Option<Arc<RevocationList>>,
    /// When a source was looked at last, since the start.
    pub looked: Option<Timestamp>,
    /// Why that brought nothing.
    pub failure: Option<String>,
}

/// Why a list was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The list itself.
    #[error("the revocation list is not taken: {0}")]
    List(#[from] ListError),
    /// Its file.
    #[error("the file of the revocation list cannot be used: {0}")]
    File(#[from] FileError),
    /// Where it should come from.
    #[error("the revocation list cannot be fetched: {0}")]
    Fetch(#[from] crate::fetch::FetchError),
    /// The watched file is not there.
    #[error("the folder of watched lists has no file '{0}'")]
    Missing(ListName),
    /// It was taken away meanwhile.
    #[error("the list is no longer defined")]
    Gone,
    /// The audit trail cannot tell of it.
    #[error("the audit trail cannot be written: {0}")]
    Untold(String),
    /// The hub is not connected to its files.
    #[error("the hub has no folder for revocation lists yet")]
    NoFiles,
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match &error {
            LoadError::List(_) | LoadError::Fetch(_) | LoadError::Missing(_) => {
                Self::argument(error.to_string())
            }
            LoadError::Gone => Self::peer(Code::GenericNotFound, error.to_string()),
            LoadError::File(_) | LoadError::NoFiles | LoadError::Untold(_) => {
                Self::environment(Code::ServiceUnavailable, error.to_string())
            }
        }
    }
}

impl Revocation {
    /// Gives the hub the files of its lists, and loads what they hold. A file that cannot be used leaves its list unloaded and says
    /// so: a damaged list must not keep a server from starting, and where lists are required it refuses.
    ///
    /// # Errors
    /// The definitions cannot be read from the store.
    pub async fn connect(&self, files: Arc<dyn ListFiles>) -> Result<(), Error> {
        for definition in self.read_definitions().await? {
            let definition = Arc::new(definition);
            let read = files
                .read(&definition.name, self.bytes_max())
                .await
                .map_err(LoadError::File);
            let list = match read {
                Ok(Some(bytes)) => self
                    .parse(&definition, bytes)
                    .await
                    .map(|(list, _)| Some(Arc::new(list))),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let list = list.unwrap_or_else(|error| {
                tracing::error!(hub = %self.hub, list = %definition.name, %error, "a kept revocation list was not loaded");
                self.note_failure(&definition.name, error.to_string());
                None
            });
            self.put_in_force(definition, list)?;
        }
        self.files.get_or_init(|| files);
        Ok(())
    }

    /// Defines a list, or changes its definition. What is loaded stays in force unless the issuer is another one. Says whether it
    /// is new.
    ///
    /// # Errors
    /// The hub has as many lists as it may.
    pub async fn define_list(
        &self,
        proof: &Authorized<Management>,
        definition: Definition,
    ) -> Result<bool, Error> {
        self.check_hub(proof)?;
        let _writer = self.list_writer.lock().await;
        let definition = Arc::new(definition);
        let name = definition.name.clone();
        let present = self.listed(&name);
        let count = self.held().lists.all().count() + usize::from(present.is_none());
        self.ports
            .limits
            .check_len(Limit::RevocationListsMax, count)
            .map_err(|exceeded| Error::peer(Code::GenericConflict, exceeded.to_string()))?;
        let body = definition.encode()?;
        let write = Write::Put {
            key: self.key(&format!("{PREFIX}{name}")),
            body: body.into(),
            expect: Expect::Any,
        };
        let subject = Subject::new("revocation-list", name.as_str());
        let entry = Entry::new(proof.caller(), Act::RevocationAdd, subject);
        self.apply(write, entry).await?;
        let kept = present
            .as_ref()
            .filter(|listed| listed.definition.issuer == definition.issuer)
            .and_then(|listed| listed.list.clone());
        let forgets = kept.is_none();
        self.put_in_force(definition, kept)?;
        self.forget_progress(&name);
        if let Some(files) = self.files.get().filter(|_| forgets) {
            files.remove(&name).await.map_err(LoadError::File)?;
        }
        tracing::info!(hub = %self.hub, list = %name, by = %proof.actor(), "a revocation list is defined");
        Ok(present.is_none())
    }

    /// Takes a list that is handed in, DER or PEM. The audit trail tells of it before it is in force; when its file can then not be
    /// written, it tells of that, too.
    ///
    /// # Errors
    /// `GenericNotFound` when none of that name is defined; the list is not taken, and the one before stays.
    pub async fn upload_list(
        &self,
        proof: &Authorized<Management>,
        name: &ListName,
        bytes: Bytes,
    ) -> Result<ListStatus, Error> {
        self.check_hub(proof)?;
        let listed = self.listed(name).ok_or_else(not_found)?;
        if listed.definition.source != Source::Uploaded {
            return Err(Error::argument(
                "The list comes from a file or a URL; refresh it instead, or define it as uploaded",
            ));
        }
        self.load(&listed.definition, bytes, Some(proof.caller())).await?;
        tracing::info!(hub = %self.hub, list = %name, by = %proof.actor(), "a revocation list was handed in");
        self.list_status(name).ok_or_else(not_found)
    }

    /// Looks at the source of a list at once.
    ///
    /// # Errors
    /// `GenericNotFound` when none of that name is defined; what went wrong.
    pub async fn refresh_list(
        &self,
        proof: &Authorized<Management>,
        name: &ListName,
    ) -> Result<ListStatus, Error> {
        self.check_hub(proof)?;
        let listed = self.listed(name).ok_or_else(not_found)?;
        if listed.definition.source == Source::Uploaded {
            return Err(Error::argument("The list is uploaded; hand in a newer one"));
        }
        self.look_at(&listed.definition).await?;
        self.list_status(name).ok_or_else(not_found)
    }

    /// Forgets a list: what it revoked may connect again.
    ///
    /// # Errors
    /// `GenericNotFound` when none of that name is defined.
    pub async fn remove_list(&self, proof: &Authorized<Management>, name: &ListName) -> Result<(), Error> {
        self.check_hub(proof)?;
        let _writer = self.list_writer.lock().await;
        self.listed(name).ok_or_else(not_found)?;
        let write = Write::Delete {
            key: self.key(&format!("{PREFIX}{name}")),
            expect: Expect::Any,
        };
        let subject = Subject::new("revocation-list", name.as_str());
        let entry = Entry::new(proof.caller(), Act::RevocationRemove, subject);
        self.apply(write, entry).await?;
        self.change(|held| held.lists.remove(name.as_str()));
        self.forget_progress(name);
        tracing::info!(hub = %self.hub, list = %name, by = %proof.actor(), "a revocation list is no longer used");
        if let Some(files) = self.files.get() {
            files.remove(name).await.map_err(LoadError::File)?;
        }
        Ok(())
    }

    /// The lists, by name.
    pub fn lists(&self) -> Vec<ListStatus> {
        let listed: Vec<_> = self.held().lists.all().cloned().collect();
        let mut lists: Vec<_> = listed.iter().map(|listed| self.status_of(listed)).collect();
        lists.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
        lists
    }

    fn list_status(&self, name: &ListName) -> Option<ListStatus> {
        self.listed(name).map(|listed| self.status_of(&listed))
    }

    fn status_of(&self, listed: &Listed) -> ListStatus {
        let (looked, failure) = self.progress_of(&listed.definition.name);
        ListStatus {
            definition: Arc::clone(&listed.definition),
            issuer: Arc::clone(&listed.issuer_shown),
            list: listed.list.clone(),
            looked,
            failure,
        }
    }

    /// Reads a list, keeps it and puts it in force. Says whether it is another one than before. `by` handed it in; one that the server
    /// fetched by itself is nobody's act.
    pub(super) async fn load(
        &self,
        definition: &Arc<Definition>,
        bytes: Bytes,
        by: Option<&Caller>,
    ) -> Result<bool, LoadError> {
        let (list, der) = self.parse(definition, bytes).await?;
        let _writer = self.list_writer.lock().await;
        let present = self.listed(&definition.name).ok_or(LoadError::Gone)?;
        // It may have been defined anew while this one was read.
        if present.definition.issuer != definition.issuer {
            return Err(LoadError::Gone);
        }
        if let Some(held) = &present.list {
            if held.digest == list.digest {
                return Ok(false);
            }
            list.check_follows(held)?;
        }
        let files = self.files.get().ok_or(LoadError::NoFiles)?;
        let entry = by.map(|caller| handed_in(caller, &definition.name, &list));
        self.note_in_trail(entry.clone()).await?;
        if let Err(error) = files.write(&definition.name, der).await {
            self.note_in_trail(entry.map(|entry| entry.failed(Code::ServiceUnavailable)))
                .await?;
            return Err(error.into());
        }
        tracing::info!(hub = %self.hub, list = %definition.name, entries = list.entry_count(),
            number = list.number_shown(), this_update = %list.this_update, "a revocation list is in force");
        let definition = Arc::clone(&present.definition);
        // Both were read before, so this cannot fail any more.
        self.put_in_force(definition, Some(Arc::new(list)))
            .map_err(|_| LoadError::Gone)?;
        self.loads.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Adds an entry to the audit trail; nothing happens that it cannot tell of.
    async fn note_in_trail(&self, entry: Option<Entry<'_>>) -> Result<(), LoadError> {
        let Some(entry) = entry else {
            return Ok(());
        };
        let ports = &self.ports;
        audit::note(&*ports.store, &*ports.clock, &self.hub, entry)
            .await
            .map_err(|error| LoadError::Untold(error.detail().unwrap_or_else(|| error.message()).to_owned()))
    }

    /// On a thread of its own: a million entries take a second.
    async fn parse(
        &self,
        definition: &Arc<Definition>,
        bytes: Bytes,
    ) -> Result<(RevocationList, Bytes), LoadError> {
        let bounds = ListBounds {
            entries_max: self.ports.limits.size(Limit::RevocationListEntriesMax),
        };
        let (bytes_max, now) = (self.bytes_max(), self.ports.clock.now());
        let definition = Arc::clone(definition);
        let parsing = tokio::task::spawn_blocking(move || {
            if bytes.len() > bytes_max {
                return Err(ListError::TooLarge(bytes_max));
            }
            let issuer = Certificate::parse(&definition.issuer)?;
            let der = match pem::to_der(&bytes, "X509 CRL") {
                Some(Cow::Borrowed(_)) => bytes,
                Some(Cow::Owned(der)) => Bytes::from(der),
                None => return Err(ListError::Foreign),
            };
            RevocationList::read(&der, &issuer, bounds, now).map(|list| (list, der))
        });
        match parsing.await {
            Ok(parsed) => Ok(parsed?),
            // The server stops, or the parser is wrong; either way there is no list.
            Err(_) => Err(ListError::BrokenOff.into()),
        }
    }

    fn put_in_force(
        &self,
        definition: Arc<Definition>,
        list: Option<Arc<RevocationList>>,
    ) -> Result<(), Error> {
        let listed = Listed::new(definition, list)?;
        self.change(|held| held.lists.insert(listed));
        Ok(())
    }

    pub(super) fn listed(&self, name: &ListName) -> Option<Arc<Listed>> {
        self.held().lists.get(name.as_str()).cloned()
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.ports.limits.size(Limit::RevocationListBytesMax)
    }

    async fn read_definitions(&self) -> Result<Vec<Definition>, Error> {
        let range = Range {
            collection: Collection::Revocations,
            hub: self.hub.clone(),
            prefix: PREFIX.to_owned(),
            after: None,
            // A hub whose limit was lowered keeps what it has.
            limit: 10_000,
        };
        let documents = self.ports.store.scan(&range).await?;
        documents
            .iter()
            .map(|document| {
                let name = document.key.id.strip_prefix(PREFIX).unwrap_or_default();
                Definition::decode(name, &document.body)
            })
            .collect()
    }
}

impl Listed {
    pub(super) fn new(definition: Arc<Definition>, list: Option<Arc<RevocationList>>) -> Result<Self, Error> {
        let issuer = Certificate::parse(&definition.issuer)
            .map_err(|_| Error::bug("the certificate of the issuer of a list could be read before"))?;
        Ok(Self {
            issuer: issuer.subject.into(),
            issuer_shown: shown(issuer.subject).into(),
            key: issuer.key.into(),
            list,
            definition,
        })
    }
}

/// What the audit trail says of a list that is handed in.
fn handed_in<'a>(caller: &'a Caller, name: &ListName, list: &RevocationList) -> Entry<'a> {
    let subject = Subject::new("revocation-list", name.as_str());
    let entry = Entry::new(caller, Act::RevocationUpdate, subject);
    let number = list.number_shown().unwrap_or_else(|| "none".to_owned());
    entry
        .saying(format!("number {number}, {} entries", list.entry_count()))
        .saying(format!("issued {}", list.this_update))
}

fn not_found() -> Error {
    Error::peer(
        Code::GenericNotFound,
        "The hub has no revocation list of this name",
    )
}
