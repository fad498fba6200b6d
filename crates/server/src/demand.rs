//! What the paths, links and topics of every protocol ask of who uses them: the words that the tables of the front ends share.
//!
//! Each front end has one table that does not compile without a row: routes in `http::demand`, links in `amqp::demand`, topics in
//! `mqtt::demand`. From them come the questions to the gate, the page `docs/reference/authorisation.md`, and the expectations of the
//! tests that try everything with every kind of credential.

use hub::access::operation::{Definition, Operation};

/// What a peer must be, or be allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Demand {
    /// Allowed an operation of the service side.
    Operation(&'static Definition),
    /// Allowed an operation, or the edge device itself whose modules are asked for.
    OperationOrEdge(&'static Definition),
    /// The device or module itself.
    Itself,
    /// The holder of any token of the hub: what is done there has no effect.
    AnyToken,
    /// Nothing: it is where credentials are brought.
    Nothing,
    /// Nobody is let in.
    Never,
}

impl Demand {
    /// The demand of an operation.
    pub(crate) const fn operation<O: Operation>() -> Self {
        Self::Operation(O::DEFINITION)
    }

    /// Whether the operation is what is demanded.
    pub(crate) fn is_for<O: Operation>(self) -> bool {
        match self {
            Self::Operation(row) | Self::OperationOrEdge(row) => row.name == O::DEFINITION.name,
            Self::Itself | Self::AnyToken | Self::Nothing | Self::Never => false,
        }
    }
}
