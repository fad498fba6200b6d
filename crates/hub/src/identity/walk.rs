//! All identities of a hub, page by page, for what looks at each of them inside the server. Their keys go nowhere.

use crate::access::{Authorized, operation};
use crate::error::Error;
use crate::store::{Collection, Document, Range};
use crate::tenancy::HubName;

use super::{Device, DeviceId, Module, ModuleId, Registry, stored, stored_module};

impl Registry {
    /// Devices by id, behind `after`; fewer than `limit` only at the end.
    pub(crate) async fn devices_after(
        &self,
        proof: &Authorized<operation::Management>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Device>, Error> {
        let documents = self.page(Collection::Devices, proof.hub(), after, limit).await?;
        let read = |document: &Document| {
            let id = DeviceId::parse(&document.key.id)
                .map_err(|error| Error::bug(format!("a device is stored under a bad id: {error}")))?;
            Ok(stored::decode_open(&id, document, &self.vault)?)
        };
        documents.iter().map(read).collect()
    }

    /// Modules by `{device}/{module}`, behind `after`; fewer than `limit` only at the end.
    pub(crate) async fn modules_after(
        &self,
        proof: &Authorized<operation::Management>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Module>, Error> {
        let documents = self.page(Collection::Modules, proof.hub(), after, limit).await?;
        let read = |document: &Document| {
            let bad = || Error::bug("a module is stored under a bad id");
            let (device, id) = document.key.id.split_once('/').ok_or_else(bad)?;
            let device = DeviceId::parse(device).map_err(|_| bad())?;
            let id = ModuleId::parse(id).map_err(|_| bad())?;
            Ok(stored_module::decode_open(&device, &id, document, &self.vault)?)
        };
        documents.iter().map(read).collect()
    }

    async fn page(
        &self,
        collection: Collection,
        hub: &HubName,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Document>, Error> {
        let range = Range {
            collection,
            hub: hub.clone(),
            prefix: String::new(),
            after,
            limit,
        };
        Ok(self.store.scan(&range).await?)
    }
}
