//! What a shared access signature allows: the letters of its field `sp`.

use std::fmt;

/// A set of permissions on one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

/// In the order in which Azure writes them.
const LETTERS: [(Permissions, char); 4] = [
    (Permissions::READ, 'r'),
    (Permissions::CREATE, 'c'),
    (Permissions::WRITE, 'w'),
    (Permissions::DELETE, 'd'),
];

impl Permissions {
    /// Read content, properties and the list of blocks.
    pub const READ: Self = Self(1);
    /// Write a blob that does not exist yet.
    pub const CREATE: Self = Self(2);
    /// Write, also over what is there.
    pub const WRITE: Self = Self(4);
    /// Delete.
    pub const DELETE: Self = Self(8);

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every permission of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Reads letters. Letters that mean nothing here are passed over: they allow nothing.
    pub fn parse(letters: &str) -> Self {
        let bits = LETTERS
            .into_iter()
            .filter(|(_, letter)| letters.contains(*letter))
            .fold(0, |bits, (permission, _)| bits | permission.0);
        Self(bits)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        LETTERS
            .into_iter()
            .filter(|(permission, _)| self.contains(*permission))
            .try_for_each(|(_, letter)| f.write_char(letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_read_back() {
        let both = Permissions::READ.with(Permissions::WRITE);
        assert_eq!(both.to_string(), "rw");
        assert_eq!(Permissions::parse("wr"), both);
        assert_eq!(Permissions::parse("racwdxltmeop").to_string(), "rcwd");
        assert!(!both.contains(Permissions::DELETE));
        assert!(!Permissions::parse("").contains(Permissions::READ));
    }
}
