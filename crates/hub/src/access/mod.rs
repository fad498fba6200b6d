//! Who may do what: tokens, policies, proofs and refusals (device-mqtt-https.md 2, service-rest.md 2, amqp.md 2).
//!
//! [`Gate`] is the one place of decision, for every protocol alike. It answers with a proof ([`proof`]) that operations demand
//! and that cannot be made elsewhere, or with a [`Refusal`] that says to the operator what was expected and what came.
//! A decision costs one read of the store and one or two HMACs; policies are held in memory.

mod admission;
pub mod bearer;
mod caller;
mod checks;
mod credential;
mod gate;
mod gate_bearer;
mod gate_certificates;
mod gate_edge;
mod gate_grants;
mod grant;
pub mod operation;
mod plain;
mod policies;
mod policy;
mod profile;
pub mod proof;
mod refusal;
mod rights;
pub mod roles;
pub mod sas;
mod scope;
mod trail;

pub use admission::Admitted;
pub use caller::{Caller, Provenance};
pub use credential::Credential;
pub use gate::{Gate, Usage};
pub use gate_bearer::Bearer;
pub use grant::{Grant, Holder};
pub use operation::{Operation, Operations};
pub use plain::PlainUser;
pub use policies::Policies;
pub(crate) use policy::reseal as reseal_policy;
pub use policy::{InvalidRotation, Policy, Rotation};
pub use profile::{HubProfile, Rules};
pub use proof::{
    Actor, AuthKind, AuthMethod, AuthScope, Authenticated, Authorized, EdgeDevice, ModuleCaller,
};
/// The names of [`operation`]s as they were.
pub mod right {
    pub use super::operation::{Management, Operation as Right};
}

pub use refusal::{Reason, Refusal, Step, Subject};
pub use rights::{InvalidRights, Rights};
pub use scope::{Resource, Scope};
pub use trail::{Explanation, PassedStep};
