//! Lists: TOML arrays in the file, values between commas elsewhere.

use std::net::SocketAddr;
use std::path::Path;

use hub::events::EventSources;

use super::{Form, Raw, quoted};

/// Addresses with ports.
pub(in crate::config) const fn addresses() -> Form<Vec<SocketAddr>> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<Vec<SocketAddr>, String> {
        items(raw, "an address")?
            .into_iter()
            .map(|text| {
                text.parse().map_err(|_| {
                    format!(
                        "\"{text}\" is not an address with a port; write \"0.0.0.0:8883\", or \"[::]:8883\" for IPv6"
                    )
                })
            })
            .collect()
    }
    Form {
        name: "list of addresses, such as [\"0.0.0.0:8883\", \"[::]:8883\"]",
        read,
        write: |addresses| Some(array(addresses.iter().map(SocketAddr::to_string))),
    }
}

/// Host names, in lower case.
pub(in crate::config) const fn names() -> Form<Vec<String>> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<Vec<String>, String> {
        Ok(items(raw, "a host name")?
            .into_iter()
            .map(str::to_ascii_lowercase)
            .collect())
    }
    Form {
        name: "list of host names, such as [\"hub1.example.com\"]",
        read,
        write: |names| Some(array(names.iter().cloned())),
    }
}

/// Event sources of a hub by name.
pub(in crate::config) const fn event_sources() -> Form<EventSources> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<EventSources, String> {
        let mut sources = EventSources::default();
        for name in items(raw, "an event source")? {
            match name {
                "twin_changes" => sources.twin_changes = true,
                "lifecycle" => sources.lifecycle = true,
                "connection_state" => sources.connection_state = true,
                other => {
                    return Err(format!(
                        "\"{other}\" is none of \"twin_changes\", \"lifecycle\" and \"connection_state\""
                    ));
                }
            }
        }
        Ok(sources)
    }
    Form {
        name: "list of \"twin_changes\", \"lifecycle\", \"connection_state\"",
        read,
        write: |sources| {
            let names = [
                (sources.twin_changes, "twin_changes"),
                (sources.lifecycle, "lifecycle"),
                (sources.connection_state, "connection_state"),
            ];
            let chosen = names.iter().filter(|(chosen, _)| *chosen);
            Some(array(chosen.map(|(_, name)| (*name).to_owned())))
        },
    }
}

pub(super) fn items<'a>(raw: &'a Raw, wanted: &str) -> Result<Vec<&'a str>, String> {
    match raw {
        Raw::Text(text) => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect()),
        Raw::List(items) => items.iter().map(|item| item.text(wanted)).collect(),
        other => Err(format!("a list is expected here, not {}", other.kind())),
    }
}

pub(super) fn array(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| quoted(&item)).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_list_in_both_notations() {
        let text = Raw::Text("127.0.0.1:1, [::1]:2 ,".to_owned());
        let list = Raw::List(vec![
            Raw::Text("127.0.0.1:1".to_owned()),
            Raw::Text("[::1]:2".to_owned()),
        ]);
        let read = |raw| (addresses().read)(raw, None).unwrap();
        assert_eq!(read(&text), read(&list));
        assert_eq!(
            (addresses().write)(&read(&list)),
            Some("[\"127.0.0.1:1\", \"[::1]:2\"]".to_owned())
        );
        assert_eq!(read(&Raw::Text(String::new())), []);
    }
}
