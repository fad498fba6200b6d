//! Fuzz entry points.

use super::hello::{Found, read};

/// What is whole stays the same with more behind it, and what was unreadable does not become readable.
pub(crate) fn hello(data: &[u8]) {
    let found = read(data);
    let longer = read(&[data, &[0x16]].concat());
    match found {
        Found::Whole(_) | Found::Unreadable => assert_eq!(found, longer),
        Found::Incomplete => {}
    }
    if let Found::Whole(hello) = found {
        let name = hello.server_name.as_deref().unwrap_or_default();
        assert!(name.len() <= 253 && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
        // A number takes 6 characters, a name of a suite at most 45, and each suite came in two bytes.
        assert!(hello.offer.to_string().len() <= 24 * data.len() + 64);
    }
}
