//! Short texts, and texts that nobody is shown.

use std::path::Path;

use engines::external::StoreKey;

use super::{Form, Raw, quoted};

/// A name. Empty until it is given.
pub(in crate::config) const fn name() -> Form<String> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<String, String> {
        raw.text("a name").map(str::to_owned)
    }
    Form {
        name: "name",
        read,
        write: |name| (!name.is_empty()).then(|| quoted(name)),
    }
}

/// An address of HTTPS.
pub(in crate::config) const fn optional_address() -> Form<Option<String>> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<Option<String>, String> {
        let text = raw.text("an address")?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
    Form {
        name: "address, such as \"https://files.example.com\"",
        read,
        write: |address| address.as_deref().map(quoted),
    }
}

/// A key. It is read, and never written.
pub(in crate::config) const fn secret() -> Form<StoreKey> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<StoreKey, String> {
        raw.text("a key").map(StoreKey::new)
    }
    Form {
        name: "secret text",
        read,
        write: |_| None,
    }
}
