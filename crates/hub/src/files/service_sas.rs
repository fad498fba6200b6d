//! The service SAS of Azure Storage for one blob, version 2020-12-06: what is signed, and the query that carries it.
//!
//! The hub signs so for its own files and for those that it keeps in an account of Azure Storage. Fields that are never issued
//! (addresses, overrides of headers, snapshots) are signed as empty: adding one to a query has no effect.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::clock::Timestamp;
use crate::secret::SymmetricKey;

use super::name::BlobName;
use super::permissions::Permissions;

/// The version whose string-to-sign is used.
pub(super) const VERSION: &str = "2020-12-06";

/// A single blob.
pub(super) const RESOURCE: &str = "b";

/// Only over TLS.
pub(super) const PROTOCOL: &str = "https";

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct ServiceSas<'a> {
    /// The storage account.
    pub account: &'a str,
    /// The container.
    pub container: &'a str,
    /// The blob.
    pub blob: &'a BlobName,
    /// From when on it is valid, in whole seconds; always, if there is none.
    pub start: Option<Timestamp>,
    /// Until when, in whole seconds.
    pub expiry: Timestamp,
    /// What it allows.
    pub permissions: Permissions,
    /// The signed identifier; may be empty.
    pub identifier: &'a str,
}

impl ServiceSas<'_> {
    /// The query, with its `?`.
    pub fn issue(&self, key: &SymmetricKey) -> String {
        let text = self.text_to_sign();
        let signature = STANDARD.encode(key.sign(&[text.as_bytes()]));
        let start = self.start.map(seconds).unwrap_or_default();
        let mut query = format!("?sv={VERSION}&sr={RESOURCE}");
        for (name, value) in [
            ("st", start.as_str()),
            ("se", seconds(self.expiry).as_str()),
            ("sp", self.permissions.to_string().as_str()),
            ("spr", PROTOCOL),
            ("si", self.identifier),
            ("sig", signature.as_str()),
        ] {
            // What is left out is signed as empty; a set of permissions may be empty, and is said all the same.
            if value.is_empty() && name != "sp" {
                continue;
            }
            // A String takes everything.
            let _ = write!(query, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        query
    }

    /// Sixteen fields in their order, with a newline between.
    pub(super) fn text_to_sign(&self) -> String {
        let permissions = self.permissions.to_string();
        let (start, expiry) = (self.start.map(seconds).unwrap_or_default(), seconds(self.expiry));
        let resource = format!("/blob/{}/{}/{}", self.account, self.container, self.blob);
        let fields: [&str; 16] = [
            &permissions,
            &start,
            &expiry,
            &resource,
            self.identifier,
            "", // sip
            PROTOCOL,
            VERSION,
            RESOURCE,
            "", // snapshot
            "", // ses
            "", // rscc
            "", // rscd
            "", // rsce
            "", // rscl
            "", // rsct
        ];
        fields.join("\n")
    }
}

/// `2021-07-30T06:21:00Z`.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_secs(time.as_secs()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signature made by `azure-storage-blob` 12.31.1 (`BlobSharedAccessSignature`, its version set to ours) over the same fields.
    #[test]
    fn signs_as_azure_storage_does_without_start_and_identifier() {
        let key = SymmetricKey::parse(
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
        );
        let sas = ServiceSas {
            account: "devstoreaccount1",
            container: "files",
            blob: &BlobName::parse("dev 1/my file.txt").unwrap(),
            start: None,
            expiry: "2021-07-30T06:21:00Z".parse().unwrap(),
            permissions: Permissions::READ.with(Permissions::WRITE),
            identifier: "",
        };
        assert_eq!(
            sas.issue(&key.unwrap()),
            "?sv=2020-12-06&sr=b&se=2021%2D07%2D30T06%3A21%3A00Z&sp=rw&spr=https&sig=Hwsff5usZ2naWAo%2FEdN0lRLFduKBfN9jMdljqDeaoSs%3D"
        );
    }
}
