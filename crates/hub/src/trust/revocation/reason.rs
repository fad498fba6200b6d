//! Why a certificate was revoked (RFC 5280 5.3.1).

use std::fmt;
use std::str::FromStr;

macro_rules! reasons {
    ($($variant:ident $number:literal $name:literal $meaning:literal;)*) => {
        /// Why a certificate was revoked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its number in lists and answers.
            pub const fn number(self) -> u8 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The reason of a number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// Its name in RFC 5280.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    Unspecified 0 "unspecified" "Nobody said.";
    KeyCompromise 1 "keyCompromise" "The key may be in other hands.";
    CaCompromise 2 "cACompromise" "The key of the CA may be in other hands.";
    AffiliationChanged 3 "affiliationChanged" "The name is no longer true.";
    Superseded 4 "superseded" "Another certificate took its place.";
    CessationOfOperation 5 "cessationOfOperation" "It is no longer needed.";
    CertificateHold 6 "certificateHold" "On hold; it may come back.";
    RemoveFromCrl 8 "removeFromCRL" "No longer on hold.";
    PrivilegeWithdrawn 9 "privilegeWithdrawn" "What it was given was taken back.";
    AaCompromise 10 "aACompromise" "The attribute authority may be in other hands.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason is unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn or aACompromise"
)]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    /// Names compare without case. `removeFromCRL` revokes nothing and is none here.
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.name().eq_ignore_ascii_case(text) && *reason != Self::RemoveFromCrl)
            .ok_or(UnknownReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            if *reason != Reason::RemoveFromCrl {
                assert_eq!(reason.name().to_lowercase().parse(), Ok(*reason));
            }
        }
        assert_eq!(Reason::from_number(7), None);
        assert_eq!("removeFromCRL".parse::<Reason>(), Err(UnknownReason));
    }
}
