//! File upload: a device asks for a place, writes a file there, and says that it is done (device-mqtt-https.md 11.6).
//!
//! An upload is a slot that the device holds until it says how it ended, or until the slot expires. The place is a blob: its
//! address carries a shared access signature ([`BlobSas`]) for that one blob, and whoever comes with it is given a [`BlobAccess`],
//! which is the only way to the bytes. Bytes lie behind the seam [`BlobStore`]; or in an [`ExternalStore`], which devices reach
//! without the hub. Services hear of uploads through [`FileNotifications`].
//!
//! Refused: handing out the store's own keys, and a public container. A device reaches nothing but the blob that it asked for, for
//! as long as it is registered and enabled.

mod access;
mod blob;
mod companion;
mod correlation;
mod fault;
mod name;
mod notification;
mod notifications;
mod permissions;
mod place;
mod room;
mod sas;
mod secret;
mod service_sas;
mod slots;
mod uploads;

pub use access::{BlobAccess, BlobUpload};
pub use blob::{
    BlobError, BlobHeaders, BlobProperties, BlobReader, BlobStore, BlobWriter, Block, BlockId, Condition,
    InvalidBlockId, StagingBounds,
};
pub use name::{BlobName, CONTAINER, InvalidBlobName};
pub use notifications::{FileNotification, FileNotifications};
pub use permissions::Permissions;
pub use place::{ExternalStore, FoundBlob, Location, Place};
#[cfg(feature = "fuzzing")]
pub(crate) use sas::fuzz_query;
pub use sas::{BlobSas, SasRefusal};
pub(crate) use secret::{ID as SECRET_ID, reseal as reseal_key};
pub use service_sas::ServiceSas;
pub use uploads::{Files, HubFiles, Upload};
