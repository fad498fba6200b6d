//! Modules in tests, and a store whose callers take turns.

use std::sync::Arc;

use hub::BoxFuture;
use hub::access::{ModuleCaller, Operation};
use hub::error::Error;
use hub::identity::{IdentityId, IfMatch, Module, ModuleDraft, ModuleId, Registry};
use hub::store::{ApplyError, Document, Key, Range, Store, StoreError, Version, Write};
use tokio::task::yield_now;

use super::{MemoryStore, World, id};

pub(crate) fn module_id(text: &str) -> ModuleId {
    ModuleId::parse(text).unwrap()
}

pub(crate) fn module(device: &str, name: &str) -> IdentityId {
    IdentityId::module(id(device), module_id(name))
}

impl World {
    pub(crate) fn caller<O: Operation>(&self) -> ModuleCaller<O> {
        self.operator().into()
    }

    pub(crate) fn module_draft(&self, json: &str, device: &str, name: &str) -> ModuleDraft {
        ModuleDraft::from_json(json.as_bytes(), &id(device), &module_id(name), &self.limits).unwrap()
    }

    pub(crate) async fn put_module(
        &self,
        device: &str,
        name: &str,
        body: &str,
        if_match: IfMatch,
    ) -> Result<Module, Error> {
        let draft = self.module_draft(body, device, name);
        self.registry
            .put_module(&self.caller(), &id(device), &module_id(name), &draft, if_match)
            .await
    }

    pub(crate) async fn get_module(&self, device: &str, name: &str) -> Result<Module, Error> {
        self.registry
            .get_module(&self.caller(), &id(device), &module_id(name))
            .await
    }

    pub(crate) async fn delete_module(
        &self,
        device: &str,
        name: &str,
        if_match: Option<&str>,
    ) -> Result<(), Error> {
        let if_match = IfMatch::parse(if_match);
        self.registry
            .delete_module(&self.caller(), &id(device), &module_id(name), &if_match)
            .await
    }

    pub(crate) async fn modules(&self, device: &str) -> Vec<String> {
        let modules = self.registry.list_modules(&self.caller(), &id(device)).await;
        let modules = modules.unwrap();
        modules.iter().map(|module| module.id.to_string()).collect()
    }

    /// Another registry over the same store, in which every call of the store lets others go first.
    pub(crate) fn polite_registry(&self) -> Registry {
        let store = Arc::new(Polite(Arc::clone(&self.store)));
        let entropy = Arc::new(super::CountingEntropy::default());
        Registry::new(
            store,
            self.vault.clone(),
            self.bus.clone(),
            self.clock.clone(),
            entropy,
            self.limits.clone(),
        )
    }
}

/// Yields before each call, so that callers interleave call by call.
struct Polite(Arc<MemoryStore>);

impl Store for Polite {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Document>, StoreError>> {
        Box::pin(async move {
            yield_now().await;
            self.0.get(key).await
        })
    }

    fn scan<'a>(&'a self, range: &'a Range) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        Box::pin(async move {
            yield_now().await;
            self.0.scan(range).await
        })
    }

    fn apply(&self, batch: Vec<Write>) -> BoxFuture<'static, Result<Version, ApplyError>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            yield_now().await;
            store.apply(batch).await
        })
    }

    fn counter<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<i64, StoreError>> {
        self.0.counter(key)
    }
}
