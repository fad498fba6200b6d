//! The answer to a bulk registry request (service-rest.md 4.6).

use serde::Serialize;

use crate::error::Error;

use super::{ID_BYTES_MAX, ImportMode};

/// The answer to a bulk request: HTTP 200 when successful, 400 otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// Whether every entry was applied.
    pub is_successful: bool,
    /// Entries that were not applied.
    pub errors: Vec<BulkError>,
    /// Entries that were applied in part.
    pub warnings: Vec<BulkWarning>,
}

/// An entry that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkError {
    /// The device as named in the request.
    pub device_id: String,
    /// Name of the code.
    pub error_code: &'static str,
    /// The text for the caller.
    pub error_status: String,
    /// The module as named in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// What was asked for.
    pub operation: String,
}

/// An entry that was applied in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkWarning {
    /// The device.
    pub device_id: String,
    /// Which warning.
    pub warning_code: &'static str,
    /// The text for the caller.
    pub warning_status: String,
}

/// How an entry is named in the answer.
pub(super) struct Report {
    device_id: String,
    module_id: Option<String>,
    operation: String,
}

impl Report {
    pub(super) fn new(id: Option<&str>, module_id: Option<&str>, mode: Option<&str>) -> Self {
        Self {
            device_id: clip(id.unwrap_or_default()),
            module_id: module_id.map(clip),
            operation: mode.map_or_else(|| ImportMode::default().to_string(), clip),
        }
    }

    pub(super) fn without_twin(self, error: &Error) -> BulkWarning {
        BulkWarning {
            device_id: self.device_id,
            warning_code: "DeviceRegisteredWithoutTwin",
            warning_status: format!(
                "The identity was written; its tags and desired properties were not: {error}"
            ),
        }
    }

    pub(super) fn failed(self, error: &Error) -> BulkError {
        BulkError {
            device_id: self.device_id,
            error_code: error.code().name(),
            error_status: error.message().to_owned(),
            module_id: self.module_id,
            operation: self.operation,
        }
    }
}

/// A text of the request, cut to what an id may have, to be repeated in the answer.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(ID_BYTES_MAX).collect()
}
