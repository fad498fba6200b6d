//! What a hub demands of certificates in general.

use serde::{Deserialize, Serialize};

use crate::access::{Authorized, operation::Management};
use crate::audit::{Act, Entry, Subject};
use crate::error::Error;
use crate::store::{Collection, Expect, Key, Store, Write};
use crate::tenancy::HubName;

use super::service::Revocation;

const ID: &str = "h";
const FORMAT: u8 = 1;

/// docs/formats/revocation.md.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "v")]
    format: u8,
    #[serde(rename = "q")]
    requires_status: bool,
}

impl Revocation {
    /// Whether every certificate below an anchor must be known not to be revoked: by a current list of its issuer.
    pub fn requires_status(&self) -> bool {
        self.held().requires_status
    }

    /// Demands that, or no longer.
    ///
    /// # Errors
    /// It cannot be stored.
    pub async fn require_status(
        &self,
        proof: &Authorized<Management>,
        is_required: bool,
    ) -> Result<(), Error> {
        self.check_hub(proof)?;
        let stored = Stored {
            format: FORMAT,
            requires_status: is_required,
        };
        let body = serde_json::to_vec(&stored)
            .map_err(|error| Error::bug(format!("settings of revocation cannot be written: {error}")))?;
        let _writer = self.list_writer.lock().await;
        let write = Write::Put {
            key: self.key(ID),
            body: body.into(),
            expect: Expect::Any,
        };
        let entry = Entry::new(proof.caller(), Act::SettingUpdate, Subject::setting("revocation"));
        let entry = entry.saying(format!("status required: {is_required}"));
        self.apply(write, entry).await?;
        self.change(|held| held.requires_status = is_required);
        tracing::info!(hub = %self.hub, is_required, by = %proof.actor(), "what is demanded of certificates has changed");
        Ok(())
    }
}

pub(super) async fn read(store: &dyn Store, hub: &HubName) -> Result<bool, Error> {
    let Some(document) = store.get(&Key::new(Collection::Revocations, hub, ID)).await? else {
        return Ok(false);
    };
    match serde_json::from_slice::<Stored>(&document.body) {
        Ok(stored) if stored.format == FORMAT => Ok(stored.requires_status),
        Ok(_) => Err(Error::bug("the settings of revocation are of another version")),
        Err(error) => Err(Error::bug(format!(
            "the settings of revocation are damaged: {error}"
        ))),
    }
}
