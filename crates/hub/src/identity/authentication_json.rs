//! The member `authentication` of devices and modules on the wire (service-rest.md 4.4).

use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::ModuleId;
use super::authentication::{Authentication, Thumbprint, Wanted};

/// Credentials as answered. Holds keys, therefore neither `Debug` nor `Display`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthenticationJson<'a> {
    symmetric_key: SymmetricKeyJson<'a>,
    #[serde(rename = "x509Thumbprint")]
    x509_thumbprint: ThumbprintJson<'a>,
    r#type: &'static str,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct SymmetricKeyJson<'a> {
    primary_key: Option<&'a str>,
    secondary_key: Option<&'a str>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct ThumbprintJson<'a> {
    primary_thumbprint: Option<&'a str>,
    secondary_thumbprint: Option<&'a str>,
}

impl<'a> AuthenticationJson<'a> {
    pub(super) fn new(authentication: &'a Authentication) -> Self {
        let mut json = Self {
            symmetric_key: SymmetricKeyJson::default(),
            x509_thumbprint: ThumbprintJson::default(),
            r#type: authentication.type_name(),
        };
        match authentication {
            Authentication::Sas { primary, secondary } => {
                json.symmetric_key.primary_key = Some(primary.expose());
                json.symmetric_key.secondary_key = Some(secondary.expose());
            }
            Authentication::SelfSigned { primary, secondary } => {
                json.x509_thumbprint.primary_thumbprint = primary.as_ref().map(Thumbprint::as_str);
                json.x509_thumbprint.secondary_thumbprint = secondary.as_ref().map(Thumbprint::as_str);
            }
            Authentication::SealedSas(_) | Authentication::CertificateAuthority | Authentication::None => {}
        }
        json
    }
}

/// Credentials as sent.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthenticationBody {
    symmetric_key: Option<SymmetricKeyBody>,
    #[serde(rename = "x509Thumbprint")]
    x509_thumbprint: Option<ThumbprintBody>,
    r#type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct SymmetricKeyBody {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ThumbprintBody {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

impl AuthenticationBody {
    /// The credentials that the body of a device asks for.
    pub(super) fn wanted(&self) -> Result<Wanted, Error> {
        self.wanted_as(self.r#type.as_deref())
    }

    /// The credentials that the body of a module asks for. The type `none` is there for the modules of the edge runtime alone;
    /// for any other it silently means `sas`.
    pub(super) fn wanted_of_module(&self, id: &ModuleId) -> Result<Wanted, Error> {
        match self.r#type.as_deref() {
            Some(none) if none.eq_ignore_ascii_case(Authentication::None.type_name()) => {
                if id.is_system() {
                    return Ok(Wanted::Given(Authentication::None));
                }
                self.wanted_as(Some("sas"))
            }
            given => self.wanted_as(given),
        }
    }

    fn wanted_as(&self, type_name: Option<&str>) -> Result<Wanted, Error> {
        let keys = self.symmetric_key.as_ref();
        let thumbprints = self.x509_thumbprint.as_ref();
        Wanted::from_parts(
            type_name,
            [
                keys.and_then(|keys| keys.primary_key.as_deref()),
                keys.and_then(|keys| keys.secondary_key.as_deref()),
            ],
            [
                thumbprints.and_then(|thumbprints| thumbprints.primary_thumbprint.as_deref()),
                thumbprints.and_then(|thumbprints| thumbprints.secondary_thumbprint.as_deref()),
            ],
        )
    }
}
