//! Where a reader starts: the selector expression of its source filter (amqp.md C.3).

use hub::clock::Timestamp;
use hub::log::Sequence;

/// Where a reader starts in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the oldest record kept.
    Earliest,
    /// With what arrives after the attach.
    Latest,
    /// After or at a place. Offsets are sequence numbers (docs/decisions/0002).
    At {
        /// What the expression names, for error texts.
        kind: PlaceKind,
        /// The place.
        sequence: Sequence,
        /// Whether the record there is included.
        inclusive: bool,
    },
    /// With the first record enqueued after, or at, a time.
    Time {
        /// The time.
        time: Timestamp,
        /// Whether a record of that very millisecond is included.
        inclusive: bool,
    },
}

/// How a place was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceKind {
    /// By `x-opt-offset`.
    Offset,
    /// By `x-opt-sequence-number`.
    SequenceNumber,
}

/// The expression is none that a reader may use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the filter expression is not understood: expected amqp.annotation.x-opt-offset, x-opt-sequence-number or \
     x-opt-enqueued-time, then > or >=, then a value"
)]
pub(crate) struct InvalidFilter;

impl Start {
    /// Parses an expression; values may be quoted or not, white space is free.
    pub(crate) fn parse(expression: &str) -> Result<Self, InvalidFilter> {
        let rest = expression
            .trim()
            .strip_prefix("amqp.annotation.")
            .ok_or(InvalidFilter)?;
        let operator_at = rest.find('>').ok_or(InvalidFilter)?;
        let (annotation, rest) = rest.split_at(operator_at);
        let rest = rest.strip_prefix('>').unwrap_or_default();
        let (inclusive, value) = match rest.strip_prefix('=') {
            Some(value) => (true, value),
            None => (false, rest),
        };
        let value = unquote(value.trim()).ok_or(InvalidFilter)?;
        match annotation.trim() {
            "x-opt-offset" => Self::place(PlaceKind::Offset, value, inclusive),
            "x-opt-sequence-number" => Self::place(PlaceKind::SequenceNumber, value, inclusive),
            "x-opt-enqueued-time" | "x-opt-enqueuedtimeutc" => {
                let millis: i64 = value.parse().map_err(|_| InvalidFilter)?;
                Ok(Self::Time {
                    time: Timestamp::from_millis(millis),
                    inclusive,
                })
            }
            _ => Err(InvalidFilter),
        }
    }

    fn place(kind: PlaceKind, value: &str, inclusive: bool) -> Result<Self, InvalidFilter> {
        match value {
            "@latest" => Ok(Self::Latest),
            "-1" => Ok(Self::Earliest),
            _ => {
                let sequence = value.parse().map(Sequence).map_err(|_| InvalidFilter)?;
                Ok(Self::At {
                    kind,
                    sequence,
                    inclusive,
                })
            }
        }
    }
}

fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('\'') {
        Some(rest) => rest.strip_suffix('\''),
        None => Some(value),
    }
    .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_start() {
        let at = |kind, sequence, inclusive| Start::At {
            kind,
            sequence: Sequence(sequence),
            inclusive,
        };
        let time = |inclusive| Start::Time {
            time: Timestamp::from_millis(1_654_109_018_176),
            inclusive,
        };
        for (expression, start) in [
            ("amqp.annotation.x-opt-offset > '-1'", Start::Earliest),
            ("amqp.annotation.x-opt-offset >= '-1'", Start::Earliest),
            ("amqp.annotation.x-opt-offset > '@latest'", Start::Latest),
            ("amqp.annotation.x-opt-offset > @latest", Start::Latest),
            (
                "amqp.annotation.x-opt-offset > '12345'",
                at(PlaceKind::Offset, 12_345, false),
            ),
            (
                "amqp.annotation.x-opt-offset >= 12345",
                at(PlaceKind::Offset, 12_345, true),
            ),
            (
                "amqp.annotation.x-opt-sequence-number > 2995",
                at(PlaceKind::SequenceNumber, 2_995, false),
            ),
            (
                "amqp.annotation.x-opt-sequence-number>='42'",
                at(PlaceKind::SequenceNumber, 42, true),
            ),
            ("amqp.annotation.x-opt-sequence-number > '-1'", Start::Earliest),
            (
                "amqp.annotation.x-opt-enqueued-time > '1654109018176'",
                time(false),
            ),
            (
                " amqp.annotation.x-opt-enqueuedtimeutc  >=  1654109018176 ",
                time(true),
            ),
        ] {
            assert_eq!(Start::parse(expression), Ok(start), "{expression}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for expression in [
            "",
            "x-opt-offset > '1'",
            "amqp.annotation.x-opt-offset",
            "amqp.annotation.x-opt-offset > ",
            "amqp.annotation.x-opt-offset > '1",
            "amqp.annotation.x-opt-offset < '1'",
            "amqp.annotation.x-opt-offset > 'abc'",
            "amqp.annotation.x-opt-enqueued-time > '@latest'",
            "amqp.annotation.other > '1'",
            "amqp.annotation.x-opt-sequence-number > '18446744073709551616'",
        ] {
            assert_eq!(Start::parse(expression), Err(InvalidFilter), "{expression}");
        }
    }
}
