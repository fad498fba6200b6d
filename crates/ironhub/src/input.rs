//! Arguments that may be long: as they stand, from a file (`@FILE`) or from standard input (`-`).

use std::fs::File;
use std::io::{self, Read};

use serde_json::value::RawValue;

use crate::failure::Failure;

/// Most that is read; the server takes less.
const INPUT_BYTES_MAX: u64 = 1_024 * 1_024;

/// The bytes that an argument stands for.
pub(crate) fn bytes(argument: &str) -> Result<Vec<u8>, Failure> {
    match (argument, argument.strip_prefix('@')) {
        ("-", _) => read(io::stdin().lock(), "standard input"),
        (_, Some(path)) => {
            let file = File::open(path)
                .map_err(|error| Failure::usage(format!("{path} cannot be read: {error}")))?;
            read(file, path)
        }
        (text, None) => Ok(text.as_bytes().to_vec()),
    }
}

/// The JSON that an argument stands for, spelled as it is given.
pub(crate) fn json(argument: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_slice(&bytes(argument)?).map_err(|error| {
        Failure::usage(format!(
            "what is given is not JSON: {error}. Give JSON in quotes of the shell, @FILE, or - for standard input"
        ))
    })
}

fn read(source: impl Read, place: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    source
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("{place} cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > INPUT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{place} holds more than {INPUT_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    #[test]
    fn arguments_stand_for_themselves_or_for_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        std::fs::write(&path, "{\"a\": 1.0}").unwrap();
        assert_eq!(bytes("text").unwrap(), b"text");
        let at = format!("@{}", path.display());
        assert_eq!(bytes(&at).unwrap(), b"{\"a\": 1.0}");
        assert_eq!(json(&at).unwrap().get(), "{\"a\": 1.0}");
        std::fs::write(&path, vec![b'x'; 1_024 * 1_024 + 1]).unwrap();
        assert_eq!(bytes(&at).unwrap_err().status, Status::Usage);
        assert_eq!(bytes("@/nowhere/at/all").unwrap_err().status, Status::Usage);
    }

    #[test]
    fn what_is_not_json_is_a_usage_error() {
        let failure = json("{a:1}").unwrap_err();
        assert_eq!(failure.status, Status::Usage);
        assert!(failure.text().contains("is not JSON"), "{}", failure.text());
    }
}
