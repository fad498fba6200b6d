//! Roles of those who come with bearer tokens: what a role grants, who has it, and whose tokens count (service-rest.md 2.2).

mod assignment;
mod directory;
mod pattern;
mod role;
mod stored;

pub use assignment::{Assignee, AssigneeKind, Assignment};
pub use directory::Directory;
pub use role::{BUILT_IN, BuiltIn, Role};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// Whether a text is fit for the name of an issuer.
pub(super) fn is_name(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_fit)
}
