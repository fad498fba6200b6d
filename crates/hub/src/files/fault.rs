//! What a failure of a store of blobs is to the caller of the hub.

use crate::error::{Code, Error};

use super::blob::BlobError;

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full(_) | BlobError::Unreachable(_) => {
                Self::environment(Code::ServiceUnavailable, error.to_string())
            }
            BlobError::Failed(_) | BlobError::Damaged(_) => {
                Self::environment(Code::ServerError, error.to_string())
            }
            BlobError::Refused(_) => {
                let message =
                    "The store of files refuses the hub: its operator has to look at the credentials";
                Self::operator(Code::InvalidStorageEndpointOrBlob, message).with_detail(error.to_string())
            }
            BlobError::Name(_) => Self::argument(error.to_string()),
            BlobError::Condition { .. } | BlobError::UnknownBlock | BlobError::TooMuch => {
                Self::bug(error.to_string())
            }
        }
    }
}
