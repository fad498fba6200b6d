//! Uploads under way go with their device. Its notifications are dropped when they are met, and its addresses open nothing more.

use crate::BoxFuture;
use crate::identity::{Change, Companion};
use crate::store::{Expect, StoreError, Write};
use crate::tenancy::HubName;

use super::slots::Slots;
use super::uploads::Files;

impl Companion for Files {
    fn writes<'a>(
        &'a self,
        hub: &'a HubName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Vec<Write>, StoreError>> {
        Box::pin(async move {
            let Change::Deleted { before } = change else {
                return Ok(Vec::new());
            };
            let id = before.id();
            if id.module.is_some() {
                return Ok(Vec::new());
            }
            Ok(vec![Write::Delete {
                key: Slots::key(hub, &id.device),
                expect: Expect::Any,
            }])
        })
    }
}
