//! Sets of operations, as roles are worked out to.

use super::{ALL, Definition};

/// A set of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operations(u32);

const _: () = assert!(ALL.len() <= 32, "a set of operations has 32 bits");

impl Operations {
    /// No operation.
    pub const NONE: Self = Self(0);

    /// The operations that a test picks from the table.
    pub fn that(mut picks: impl FnMut(&Definition) -> bool) -> Self {
        let picked = ALL.iter().filter(|row| picks(row));
        picked.fold(Self::NONE, |set, row| set.with(Self(1 << row.index)))
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether an operation is in the set.
    pub const fn contains(self, operation: &Definition) -> bool {
        self.0 & (1 << operation.index) != 0
    }

    /// The operations, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = &'static Definition> {
        ALL.iter().copied().filter(move |row| self.contains(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_picked() {
        let twins = Operations::that(|row| row.name.ends_with("Twins"));
        let names: Vec<_> = twins.iter().map(|row| row.name).collect();
        assert_eq!(names, ["ReadTwins", "WriteTwins"]);
        for row in ALL {
            assert_eq!(twins.contains(row), names.contains(&row.name), "{}", row.name);
            assert!(!Operations::NONE.contains(row));
        }
        let all = Operations::that(|_| true);
        assert_eq!(all.iter().count(), ALL.len());
        assert_eq!(all.with(twins), all);
    }
}
