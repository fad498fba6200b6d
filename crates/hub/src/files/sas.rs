//! The shared access signature of a blob that the hub serves itself.
//!
//! A peer sends back the fields that it was given; the signature covers them, the account (the hub) and the name of the blob.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::clock::Timestamp;
use crate::identity::GenerationId;
use crate::secret::SymmetricKey;
use crate::tenancy::HubName;

use super::name::{BlobName, CONTAINER};
use super::permissions::Permissions;
use super::service_sas::{PROTOCOL, RESOURCE, ServiceSas, VERSION};

/// Longest query that is looked at, in bytes.
const QUERY_BYTES_MAX: usize = 4_096;

/// The fields of a signature. The identifier is the generation of the device: a later device of the same name has another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobSas {
    /// From when on it is valid; whole seconds.
    pub start: Timestamp,
    /// Until when; whole seconds.
    pub expiry: Timestamp,
    /// What it allows.
    pub permissions: Permissions,
    /// Which incarnation of the device it was made for.
    pub generation: GenerationId,
}

/// Why a signature opens nothing. The peer learns no more than whether a permission was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SasRefusal {
    /// There is none.
    #[error("the request carries no shared access signature")]
    Missing,
    /// It is not of the form that is issued.
    #[error("the shared access signature is malformed")]
    Malformed,
    /// It was made with another key, or over other fields or another blob.
    #[error("the signature does not match the fields and the blob")]
    Signature,
    /// Not yet valid.
    #[error("the shared access signature is not valid yet")]
    NotYet,
    /// No longer valid.
    #[error("the shared access signature has expired")]
    Expired,
    /// The device that it was made for is gone, disabled, or another one.
    #[error("the device that the shared access signature was made for is gone or disabled")]
    Device,
    /// It does not allow this.
    #[error("the shared access signature does not allow the operation")]
    Permission,
}

impl SasRefusal {
    /// Stable label of records.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Malformed => "token_malformed",
            Self::Signature => "signature_mismatch",
            Self::NotYet => "token_not_yet_valid",
            Self::Expired => "token_expired",
            Self::Device => "identity_unknown",
            Self::Permission => "right_missing",
        }
    }

    /// The step that failed, as records name it.
    pub const fn step(self) -> &'static str {
        match self {
            Self::Missing | Self::Malformed => "parse",
            Self::Signature => "signature",
            Self::NotYet | Self::Expired => "expiry",
            Self::Device => "registry",
            Self::Permission => "right",
        }
    }
}

impl BlobSas {
    /// The query with which a device reaches the blob, with its `?`.
    pub(super) fn issue(&self, key: &SymmetricKey, hub: &HubName, blob: &BlobName) -> String {
        let identifier = self.generation.to_string();
        self.service_sas(hub, blob, &identifier).issue(key)
    }

    /// Reads a query and checks that it was issued for this blob and is valid now. The signature is compared in constant time and
    /// before anything else that the query says is believed.
    pub(super) fn check(
        query: &str,
        key: &SymmetricKey,
        hub: &HubName,
        blob: &BlobName,
        now: Timestamp,
    ) -> Result<Self, SasRefusal> {
        let (sas, signature) = Self::parse(query)?;
        let identifier = sas.generation.to_string();
        let text = sas.service_sas(hub, blob, &identifier).text_to_sign();
        if !key.verify(&[text.as_bytes()], &signature) {
            return Err(SasRefusal::Signature);
        }
        if now < sas.start {
            return Err(SasRefusal::NotYet);
        }
        if now >= sas.expiry {
            return Err(SasRefusal::Expired);
        }
        Ok(sas)
    }

    fn parse(query: &str) -> Result<(Self, [u8; 32]), SasRefusal> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(SasRefusal::Malformed);
        }
        let field = |name: &str| {
            query.split('&').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                (key == name).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
            })
        };
        let signature = field("sig").ok_or(SasRefusal::Missing)?;
        let wanted = |name: &str| field(name).ok_or(SasRefusal::Malformed);
        let is_issued = wanted("sv")? == VERSION && wanted("sr")? == RESOURCE && wanted("spr")? == PROTOCOL;
        if !is_issued {
            return Err(SasRefusal::Malformed);
        }
        // Whole seconds, as signed: a fraction would not be covered.
        let time = |name: &str| match wanted(name)?.parse::<Timestamp>() {
            Ok(time) => Ok(Timestamp::from_secs(time.as_secs())),
            Err(_) => Err(SasRefusal::Malformed),
        };
        let generation = wanted("si")?.parse().map_err(|_| SasRefusal::Malformed)?;
        let sas = Self {
            start: time("st")?,
            expiry: time("se")?,
            permissions: Permissions::parse(&wanted("sp")?),
            generation: GenerationId::from_ticks(generation),
        };
        let signature = STANDARD.decode(signature).map_err(|_| SasRefusal::Malformed)?;
        let signature = signature.try_into().map_err(|_| SasRefusal::Malformed)?;
        Ok((sas, signature))
    }

    fn service_sas<'a>(&self, hub: &'a HubName, blob: &'a BlobName, identifier: &'a str) -> ServiceSas<'a> {
        ServiceSas {
            account: hub.as_str(),
            container: CONTAINER,
            blob,
            start: Some(self.start),
            expiry: self.expiry,
            permissions: self.permissions,
            identifier,
        }
    }
}

/// What can be read must come out as it went in, signed with a key of ours.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_query(query: &str) {
    let (Ok(hub), Ok(blob)) = (HubName::parse("hub1"), BlobName::parse("d/f")) else {
        return;
    };
    let Ok(key) = SymmetricKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") else {
        return;
    };
    if let Ok((sas, _)) = BlobSas::parse(query) {
        let issued = sas.issue(&key, &hub, &blob);
        let found = BlobSas::check(issued.trim_start_matches('?'), &key, &hub, &blob, sas.start);
        let expected = if sas.start < sas.expiry {
            Ok(sas)
        } else {
            Err(SasRefusal::Expired)
        };
        assert_eq!(found, expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn key() -> SymmetricKey {
        SymmetricKey::parse(KEY).unwrap()
    }

    fn hub() -> HubName {
        HubName::parse("hub1").unwrap()
    }

    fn sas() -> BlobSas {
        BlobSas {
            start: "2021-07-30T05:21:00Z".parse().unwrap(),
            expiry: "2021-07-30T06:21:00Z".parse().unwrap(),
            permissions: Permissions::READ.with(Permissions::WRITE),
            generation: GenerationId::from_ticks(637_612_875_240_648_717),
        }
    }

    fn blob(name: &str) -> BlobName {
        BlobName::parse(name).unwrap()
    }

    /// Signature made by `azure-storage-blob` 12.31.1 (`BlobSharedAccessSignature`, its version set to ours) over the same fields.
    #[test]
    fn signs_as_azure_storage_does() {
        let query = sas().issue(&key(), &hub(), &blob("dev 1/my file.txt"));
        assert!(query.starts_with("?sv=2020-12-06&sr=b&st="), "{query}");
        let signature = query.split("sig=").nth(1).unwrap();
        assert_eq!(
            percent_decode_str(signature).decode_utf8().unwrap(),
            "QMOhxWa1bYyFiX8pqvdjXFGnfLNPtbSaG/8JPW/N6iI="
        );
    }

    #[test]
    fn valid_from_its_start_to_its_end() {
        let sas = sas();
        let query = sas.issue(&key(), &hub(), &blob("d/f"));
        let check = |now| BlobSas::check(&query[1..], &key(), &hub(), &blob("d/f"), now);
        let second = Timestamp::from_secs(1).as_micros();
        let before = |time: Timestamp| Timestamp::from_micros(time.as_micros() - second);
        assert_eq!(check(sas.start), Ok(sas.clone()));
        assert_eq!(check(before(sas.expiry)), Ok(sas.clone()));
        assert_eq!(check(before(sas.start)), Err(SasRefusal::NotYet));
        assert_eq!(check(sas.expiry), Err(SasRefusal::Expired));
    }

    #[test]
    fn every_changed_field_is_noticed() {
        let query = sas().issue(&key(), &hub(), &blob("d/f"));
        let query = &query[1..];
        let now = sas().start;
        let check = |query: &str, name: &str| BlobSas::check(query, &key(), &hub(), &blob(name), now);
        assert!(check(&format!("comp=block&blockid=x&{query}"), "d/f").is_ok());
        assert_eq!(check(query, "d/g"), Err(SasRefusal::Signature));
        let other = HubName::parse("hub2").unwrap();
        let elsewhere = BlobSas::check(query, &key(), &other, &blob("d/f"), now);
        assert_eq!(elsewhere, Err(SasRefusal::Signature));
        for (from, to) in [
            ("sp=rw", "sp=rwd"),
            ("06%3A21", "07%3A21"),
            ("05%3A21", "04%3A21"),
            ("si=6", "si=7"),
        ] {
            assert!(query.contains(from), "{query}");
            assert_eq!(
                check(&query.replace(from, to), "d/f"),
                Err(SasRefusal::Signature),
                "{to}"
            );
        }
        for (from, to) in [
            ("sv=2020-12-06", "sv=2015-04-05"),
            ("sr=b", "sr=c"),
            ("spr=https", "spr=https%2Chttp"),
            ("sig=", "sig=x"),
            ("si=6", "si=x"),
        ] {
            assert_eq!(
                check(&query.replace(from, to), "d/f"),
                Err(SasRefusal::Malformed),
                "{to}"
            );
        }
        assert_eq!(check("", "d/f"), Err(SasRefusal::Missing));
    }

    proptest! {
        /// What is issued is accepted for its blob, and for no other.
        #[test]
        fn issued_signatures_come_back(
            name in "[^\\x00-\\x1f\\x7f-\\x9f./][^\\x00-\\x1f\\x7f-\\x9f.]{0,60}",
            other in "[^\\x00-\\x1f\\x7f-\\x9f./][^\\x00-\\x1f\\x7f-\\x9f.]{0,60}",
            bits in 0_u8..16,
            start in 0_i64..4_000_000_000,
            life in 1_i64..86_400,
            ticks in any::<i64>(),
        ) {
            let letters: String = "rcwd".chars().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, c)| c).collect();
            let sas = BlobSas {
                start: Timestamp::from_secs(start),
                expiry: Timestamp::from_secs(start + life),
                permissions: Permissions::parse(&letters),
                generation: GenerationId::from_ticks(ticks),
            };
            let query = sas.issue(&key(), &hub(), &blob(&name));
            prop_assert!(query.bytes().all(|byte| byte.is_ascii_graphic()), "{query}");
            let now = sas.start;
            let found = BlobSas::check(&query[1..], &key(), &hub(), &blob(&name), now);
            prop_assert_eq!(found.as_ref(), Ok(&sas));
            if other != name {
                let found = BlobSas::check(&query[1..], &key(), &hub(), &blob(&other), now);
                prop_assert_eq!(found, Err(SasRefusal::Signature));
            }
        }

        /// No text makes the reader panic, and none without the key is accepted.
        #[test]
        fn arbitrary_queries_are_refused(query in "(s[vrtep]|sig|si|spr|x)=.{0,20}(&(sv|sr|st|se|sp|spr|si|sig)=[ -~]{0,50}){0,8}") {
            let found = BlobSas::check(&query, &key(), &hub(), &blob("d/f"), Timestamp::from_secs(0));
            prop_assert!(found.is_err());
        }
    }
}
