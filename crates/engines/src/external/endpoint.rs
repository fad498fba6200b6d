//! Where a store answers: `https://{host}[:{port}][/{path}]`.

/// The address of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    host: String,
    /// Without slashes around it; empty for most.
    path: String,
}

impl Endpoint {
    /// Reads an address. Only HTTPS: devices are given no other, and credentials travel.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let plain = |text: &str, more: &[u8]| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        let is_address = !host.is_empty()
            && plain(host, b"-.:[]")
            && plain(path, b"-._/")
            && path.split('/').all(|segment| !matches!(segment, "." | ".."));
        is_address.then(|| Self {
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Host, with its port if one was given.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What stands between host and name in the address of a blob.
    pub(super) fn container(&self, container: &str) -> String {
        if self.path.is_empty() {
            container.to_owned()
        } else {
            format!("{}/{container}", self.path)
        }
    }

    /// The whole address, without a slash behind it.
    pub(super) fn url(&self) -> String {
        let separator = if self.path.is_empty() { "" } else { "/" };
        format!("https://{}{separator}{}", self.host, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_a_path() {
        let plain = Endpoint::parse("https://acct.blob.core.windows.net/").unwrap();
        assert_eq!(plain.host(), "acct.blob.core.windows.net");
        assert_eq!(plain.container("files"), "files");
        assert_eq!(plain.url(), "https://acct.blob.core.windows.net");
        let emulator = Endpoint::parse("https://127.0.0.1:10000/devstoreaccount1").unwrap();
        assert_eq!(emulator.host(), "127.0.0.1:10000");
        assert_eq!(emulator.container("files"), "devstoreaccount1/files");
        assert_eq!(emulator.url(), "https://127.0.0.1:10000/devstoreaccount1");
        for bad in [
            "",
            "http://a",
            "https://",
            "a.example",
            "https://user@a",
            "https://a?x=y",
            "https://a/b#c",
            "https://a/../b",
        ] {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }
}
