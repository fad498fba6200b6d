//! What the commands for devices and those for modules share: credentials on the way in, and what is shown of an identity.

use clap::Args;
use hub::error::Code;
use hub::secret::SymmetricKey;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Client, block_on};
use crate::context::Context;
use crate::failure::{Failure, Status};
use crate::output::{self, note, printable};

/// How a new identity authenticates.
#[derive(Debug, Args)]
pub(super) struct CredentialArguments {
    /// SHA-1 or SHA-256 thumbprint of the certificate, instead of keys
    #[arg(long, value_name = "HEX")]
    thumbprint: Option<String>,
    /// Thumbprint of a second certificate
    #[arg(long, value_name = "HEX", requires = "thumbprint")]
    secondary_thumbprint: Option<String>,
    /// It has a certificate of an authority that the hub knows, instead of keys
    #[arg(long, conflicts_with = "thumbprint")]
    certificate_authority: bool,
}

impl CredentialArguments {
    /// The member `authentication` of an identity (service-rest.md 4.4).
    pub(super) fn authentication(&self) -> Value {
        if let Some(thumbprint) = &self.thumbprint {
            let thumbprints =
                json!({ "primaryThumbprint": thumbprint, "secondaryThumbprint": self.secondary_thumbprint });
            json!({ "type": "selfSigned", "x509Thumbprint": thumbprints })
        } else if self.certificate_authority {
            json!({ "type": "certificateAuthority" })
        } else {
            json!({ "type": "sas" })
        }
    }
}

/// Which keys of an identity become others.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
#[allow(clippy::struct_excessive_bools, reason = "the flags of a choice of one")]
pub(super) struct RotationArguments {
    /// A new primary key
    #[arg(long)]
    primary: bool,
    /// A new secondary key
    #[arg(long)]
    secondary: bool,
    /// Two new keys: whoever is connected is put out
    #[arg(long)]
    both: bool,
    /// Each key in the place of the other: nobody is put out
    #[arg(long)]
    swap: bool,
}

impl RotationArguments {
    /// The name on the wire (service-rest.md 4.6), and what is done by it.
    fn chosen(&self) -> (&'static str, &'static str) {
        match self {
            Self { primary: true, .. } => ("primaryKey", "has a new primary key"),
            Self { both: true, .. } => ("both", "has two new keys"),
            Self { swap: true, .. } => ("swap", "has its keys in each other's place"),
            // One of the four is there: the group is required.
            Self { .. } => ("secondaryKey", "has a new secondary key"),
        }
    }
}

/// Gives an identity other keys, and prints the connection string with a key that is good from now on: the new one, or the
/// primary one of two. `ids` are the fields of the string that name it, `who` names it in words.
pub(super) fn rotate_keys(
    client: &ClientArguments,
    (device, module): (&str, Option<&str>),
    rotation: &RotationArguments,
    (who, ids): (&str, &str),
) -> Result<(), Failure> {
    let server = Client::new(&Context::of(client)?)?;
    let (key, done) = rotation.chosen();
    let body = json!({ "policyKey": key, "devices": [{ "id": device, "moduleId": module }] });
    let result = block_on(server.regenerate(&body))?;
    let Some(rotated) = result.pointer("/rotatedKeys/0") else {
        return Err(not_rotated(&result, who));
    };
    let field = if rotation.secondary {
        "secondaryKey"
    } else {
        "primaryKey"
    };
    let new_key = rotated.get(field).and_then(Value::as_str);
    let new_key =
        new_key.ok_or_else(|| Failure::failed(format!("the answer of the server has no {field}")))?;
    let string = format!("HostName={};{ids};SharedAccessKey={new_key}", server.host());
    if client.output.is_json() {
        return output::json(&json!({
            "deviceId": device, "moduleId": module, "rotated": key, "connectionString": string,
        }));
    }
    let which = if rotation.secondary {
        "secondary"
    } else {
        "primary"
    };
    note(&format!(
        "{who} {done}. Its connection string with the {which} key, a secret:"
    ));
    output::line(&string)
}

fn not_rotated(result: &Value, who: &str) -> Failure {
    let text = |pointer: &str| text(result, pointer);
    let name = text("/errors/0/errorCode");
    let code = Code::ALL.iter().copied().find(|code| code.name() == name);
    match code {
        Some(Code::DeviceNotFound | Code::ModuleNotFound) => {
            Failure::new(Status::NotFound, format!("not found: {who} ({name})"))
        }
        _ => Failure::failed(format!(
            "the keys of {who} are as they were: {} ({name})",
            text("/errors/0/errorStatus")
        )),
    }
}

/// The connection string of an identity; `ids` are the fields that name it.
pub(super) fn connection_string(host: &str, ids: &str, identity: &Value) -> String {
    match key_of(identity, false) {
        Some(key) => format!("HostName={host};{ids};SharedAccessKey={key}"),
        None => format!("HostName={host};{ids};x509=true"),
    }
}

/// A key of an identity; `who` names it in the failure.
pub(super) fn usable_key(identity: &Value, secondary: bool, who: &str) -> Result<SymmetricKey, Failure> {
    let key = key_of(identity, secondary)
        .ok_or_else(|| Failure::failed(format!("{who} has no keys: it authenticates with a certificate")))?;
    SymmetricKey::parse(key)
        .map_err(|error| Failure::failed(format!("the key of {who} cannot be used: {error}")))
}

fn key_of(identity: &Value, secondary: bool) -> Option<&str> {
    let name = if secondary { "secondaryKey" } else { "primaryKey" };
    identity
        .pointer("/authentication/symmetricKey")?
        .get(name)?
        .as_str()
}

/// Keys are printed only by the commands that are there for it.
pub(super) fn remove_keys(identity: &mut Value) {
    if let Some(authentication) = identity.get_mut("authentication").and_then(Value::as_object_mut) {
        authentication.remove("symmetricKey");
    }
}

/// The identities of a list, without their keys.
pub(super) fn without_keys(list: &mut Value) -> Vec<Value> {
    let mut identities = list.as_array_mut().map(std::mem::take).unwrap_or_default();
    identities.iter_mut().for_each(remove_keys);
    identities
}

/// A value, or a dash for none.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => printable(&other.to_string()),
    }
}

/// A time, or a dash for "never" (service-rest.md 1).
pub(super) fn time(value: &Value, pointer: &str) -> String {
    let text = text(value, pointer);
    if text.starts_with("0001-01-01T00:00:00") {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_removed() {
        let mut device = json!({ "authentication": {
            "type": "sas", "symmetricKey": { "primaryKey": "canary1", "secondaryKey": "canary2" } } });
        assert_eq!(key_of(&device, false), Some("canary1"));
        assert_eq!(key_of(&device, true), Some("canary2"));
        remove_keys(&mut device);
        assert!(!device.to_string().contains("canary"));
        assert_eq!(key_of(&device, false), None);
    }

    #[test]
    fn never_is_a_dash() {
        let device = json!({ "a": "0001-01-01T00:00:00Z", "b": "2026-01-01T00:00:00Z", "c": null });
        assert_eq!(
            [time(&device, "/a"), time(&device, "/b"), time(&device, "/c")],
            ["-", "2026-01-01T00:00:00Z", "-"]
        );
    }
}
