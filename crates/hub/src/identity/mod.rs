//! Device and module identities.

mod id;

pub use id::{DeviceId, ID_BYTES_MAX, IdentityId, InvalidId, ModuleId};
