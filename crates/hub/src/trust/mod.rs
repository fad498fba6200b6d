//! Trust in certificates: what is known of those that lost it ([`revocation`]).

pub mod revocation;
