//! Device and module identities: what is registered in a hub (service-rest.md 3 and 4).
//!
//! [`Registry`] keeps them; [`crate::access`] decides by them who may do what. A device or module is one small document with
//! compare-and-set; nothing that moves with connections or traffic is in it, so that traffic never conflicts with administration.

mod audited;
mod authentication;
mod authentication_json;
mod batch;
mod bulk;
mod bulk_result;
mod change;
mod device;
mod device_json;
mod etag;
mod found;
mod generation;
mod id;
mod import_mode;
mod key_rotation;
mod module;
mod module_json;
mod module_registry;
mod parents;
mod placement;
mod registry;
mod sealed_keys;
mod statistics;
mod stored;
mod stored_module;
mod system_modules;
mod walk;

pub use authentication::{Authentication, Thumbprint, Wanted};
pub use bulk::BulkRequest;
pub use bulk_result::{BulkError, BulkResult, BulkWarning};
pub use change::{Change, Companion, Hold};
pub use device::{Device, Draft, Live, Status};
pub use device_json::DeviceJson;
pub use etag::{Etag, IfMatch};
pub use found::{Found, IdentityRef, find};
pub use generation::GenerationId;
pub use id::{DeviceId, ID_BYTES_MAX, IdentityId, InvalidId, ModuleId};
pub use import_mode::ImportMode;
pub use key_rotation::{Extent, KeyRotation, RegenerateRequest, RegenerateResult};
pub use module::{EDGE_RUNTIME, Module, ModuleDraft};
pub use module_json::ModuleJson;
pub use placement::{EdgeScope, Placement};
pub use registry::Registry;
pub(crate) use registry::{load, load_module};
pub use sealed_keys::SealedKeys;
pub use statistics::Statistics;
pub(crate) use stored::reseal as reseal_device;
pub(crate) use stored_module::reseal as reseal_module;
