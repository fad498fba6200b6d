//! Uploaded files in a store that others run: Azure Blob Storage, or a server that speaks S3.
//!
//! Devices write there directly, with an address that is signed here; this side asks for nothing but whether a file is there. The
//! client is made when it is first needed: a hub whose devices upload nothing pays nothing for it. Refused: passing bytes through
//! the hub, which would make it the bottleneck of a store that was chosen in order not to have one.

mod endpoint;
mod settings;

#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hub::BoxFuture;
use hub::clock::Timestamp;
use hub::files::{BlobError, BlobName, ExternalStore, FoundBlob, Location, Permissions, ServiceSas};
use hub::secret::SymmetricKey;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{Certificate, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, RetryConfig};
use reqwest::Method;

use endpoint::Endpoint;
pub use settings::{Kind, Settings, SettingsError, StoreKey};

/// Time until a connection to the store stands.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Time from a request to the end of its answer, and of all attempts together.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store of others, for one hub.
pub struct ExternalBlobs {
    settings: Settings,
    endpoint: Endpoint,
    authorities: Vec<Certificate>,
    account: Account,
}

/// What signs for the account, and the client that looks.
enum Account {
    Azure {
        key: SymmetricKey,
        client: OnceLock<Result<MicrosoftAzure, String>>,
    },
    S3 {
        client: OnceLock<Result<Arc<AmazonS3>, String>>,
    },
}

impl ExternalBlobs {
    /// Checks the settings; asks nobody.
    pub fn open(settings: Settings) -> Result<Self, SettingsError> {
        let endpoint = settings.check()?;
        let authorities = settings.read_authorities()?;
        let account = match settings.kind {
            Kind::Azure => Account::Azure {
                key: SymmetricKey::parse(settings.key.expose()).map_err(|_| SettingsError::AccountKey)?,
                client: OnceLock::new(),
            },
            Kind::S3 => Account::S3 {
                client: OnceLock::new(),
            },
        };
        Ok(Self {
            settings,
            endpoint,
            authorities,
            account,
        })
    }

    fn client_options(&self) -> ClientOptions {
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_PATIENCE)
            .with_timeout(PATIENCE)
            .with_no_system_certificates(!self.authorities.is_empty());
        let trusted = self.authorities.iter().cloned();
        trusted.fold(options, ClientOptions::with_root_certificate)
    }

    fn azure<'a>(
        &self,
        client: &'a OnceLock<Result<MicrosoftAzure, String>>,
    ) -> Result<&'a MicrosoftAzure, BlobError> {
        let made = client.get_or_init(|| {
            MicrosoftAzureBuilder::new()
                .with_account(&self.settings.account)
                .with_access_key(self.settings.key.expose())
                .with_container_name(&self.settings.container)
                .with_endpoint(self.endpoint.url())
                .with_client_options(self.client_options())
                .with_retry(retries())
                .build()
                .map_err(|error| error.to_string())
        });
        made.as_ref().map_err(|reason| BlobError::Failed(reason.clone()))
    }

    fn s3<'a>(
        &self,
        client: &'a OnceLock<Result<Arc<AmazonS3>, String>>,
    ) -> Result<&'a Arc<AmazonS3>, BlobError> {
        let made = client.get_or_init(|| {
            AmazonS3Builder::new()
                .with_access_key_id(&self.settings.account)
                .with_secret_access_key(self.settings.key.expose())
                .with_bucket_name(&self.settings.container)
                .with_region(&self.settings.region)
                .with_endpoint(self.endpoint.url())
                .with_client_options(self.client_options())
                .with_retry(retries())
                .build()
                .map(Arc::new)
                .map_err(|error| error.to_string())
        });
        made.as_ref().map_err(|reason| BlobError::Failed(reason.clone()))
    }

    async fn signed(&self, blob: &BlobName, now: Timestamp, expiry: Timestamp) -> Result<String, BlobError> {
        let path = path_of(blob)?;
        match &self.account {
            Account::Azure { key, .. } => {
                let sas = ServiceSas {
                    account: &self.settings.account,
                    container: &self.settings.container,
                    blob,
                    // None: a store whose clock is a little behind would refuse it.
                    start: None,
                    expiry,
                    permissions: Permissions::READ.with(Permissions::WRITE),
                    identifier: "",
                };
                Ok(sas.issue(key))
            }
            Account::S3 { client } => {
                let life = expiry.as_secs().saturating_sub(now.as_secs());
                let life = Duration::from_secs(u64::try_from(life).unwrap_or_default());
                let client = self.s3(client)?;
                let url = client.signed_url(Method::PUT, &path, life).await;
                let url = url.map_err(|error| BlobError::Failed(error.to_string()))?;
                Ok(format!("?{}", url.query().unwrap_or_default()))
            }
        }
    }

    async fn found(&self, blob: &BlobName) -> Result<Option<FoundBlob>, BlobError> {
        let path = path_of(blob)?;
        let store: &dyn ObjectStore = match &self.account {
            Account::Azure { client, .. } => self.azure(client)?,
            Account::S3 { client } => self.s3(client)?.as_ref(),
        };
        match store.head(&path).await {
            Ok(found) => Ok(Some(FoundBlob {
                bytes: found.size,
                last_modified: Timestamp::from_micros(found.last_modified.timestamp_micros()),
            })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => {
                Err(BlobError::Refused(chain(&error)))
            }
            Err(error) => Err(BlobError::Unreachable(chain(&error))),
        }
    }
}

impl ExternalStore for ExternalBlobs {
    fn location(&self) -> Location {
        Location {
            host: self.endpoint.host().to_owned(),
            container: self.endpoint.container(&self.settings.container),
        }
    }

    fn sign<'a>(
        &'a self,
        blob: &'a BlobName,
        now: Timestamp,
        expiry: Timestamp,
    ) -> BoxFuture<'a, Result<String, BlobError>> {
        Box::pin(self.signed(blob, now, expiry))
    }

    fn look<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<Option<FoundBlob>, BlobError>> {
        Box::pin(self.found(blob))
    }
}

impl std::fmt::Debug for ExternalBlobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalBlobs")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A device waits for the answer: two attempts, in seconds.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 1,
        retry_timeout: PATIENCE,
        ..RetryConfig::default()
    }
}

/// The name exactly, or none: object stores know no empty segments.
fn path_of(blob: &BlobName) -> Result<Path, BlobError> {
    let path = Path::parse(blob.as_str()).map_err(|error| BlobError::Name(error.to_string()))?;
    if path.as_ref() == blob.as_str() {
        Ok(path)
    } else {
        Err(BlobError::Name("it begins or ends with a slash".to_owned()))
    }
}

/// An error with its causes, each said once: an outer one often repeats the text of the inner one.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}
