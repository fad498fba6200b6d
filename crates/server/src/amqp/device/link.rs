//! The links of a device: which there are, and how each is accepted (amqp.md A.1).

use amqp::connection::AttachReply;
use amqp::performative::{Attach, Error, Role, SenderSettleMode};
use hub::identity::IdentityId;

use super::super::address::DeviceNode;
use super::super::fault;
use super::DeviceKey;

/// Messages that a device may have on the way: what hubs of Azure's make grant.
const TELEMETRY_CREDIT: u32 = 1_000;

/// Requests for the twin that may wait for one another.
const TWIN_CREDIT: u32 = 20;

/// Answers of methods that may come at once; they are never kept waiting.
const ANSWER_CREDIT: u32 = 100;

/// A link of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct DeviceLink {
    pub(in super::super) device: DeviceKey,
    pub(in super::super) role: LinkRole,
}

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum LinkRole {
    /// Messages of the device come in.
    Telemetry,
    /// Commands go out.
    Commands,
    /// Messages of other modules would go out; only an edge hub has some.
    Inputs,
    /// Calls of methods go out.
    MethodCalls,
    /// Their answers come in.
    MethodAnswers,
    /// Requests for the twin come in.
    TwinRequests,
    /// Their answers, and changes of desired properties, go out.
    TwinAnswers,
}

impl LinkRole {
    /// The role of a link on a node.
    ///
    /// # Errors
    /// The node has no such direction.
    pub(in super::super) fn of(node: DeviceNode, peer: Role, identity: &IdentityId) -> Result<Self, Error> {
        Ok(match (node, peer) {
            (DeviceNode::Events, Role::Sender) => Self::Telemetry,
            (DeviceNode::Events, Role::Receiver) if identity.module.is_some() => Self::Inputs,
            (DeviceNode::Commands, Role::Receiver) => Self::Commands,
            (DeviceNode::Methods, Role::Receiver) => Self::MethodCalls,
            (DeviceNode::Methods, Role::Sender) => Self::MethodAnswers,
            (DeviceNode::Twin, Role::Sender) => Self::TwinRequests,
            (DeviceNode::Twin, Role::Receiver) => Self::TwinAnswers,
            (DeviceNode::Events, Role::Receiver) => {
                return Err(not_allowed("A device sends its events, and receives none."));
            }
            (DeviceNode::Commands, Role::Sender) => {
                return Err(not_allowed("A device receives commands, and sends none."));
            }
        })
    }

    /// How a link is accepted. The largest message is what Azure announces; limits of messages are rules of their own.
    pub(in super::super) fn reply(self, attach: &Attach) -> AttachReply {
        let credit_window = match self {
            Self::Telemetry => TELEMETRY_CREDIT,
            Self::TwinRequests => TWIN_CREDIT,
            Self::MethodAnswers => ANSWER_CREDIT,
            Self::Commands | Self::Inputs | Self::MethodCalls | Self::TwinAnswers => 0,
        };
        let tracked = matches!(self, Self::Commands | Self::MethodCalls)
            && attach.snd_settle_mode != SenderSettleMode::Settled;
        AttachReply {
            credit_window,
            tracked,
            ..AttachReply::default()
        }
    }
}

fn not_allowed(text: &str) -> Error {
    Error::new(fault::NOT_ALLOWED, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::identity::{DeviceId, ModuleId};

    #[test]
    fn each_node_has_its_directions() {
        let id = DeviceId::parse("d").unwrap();
        let device = IdentityId::device(id.clone());
        let module = IdentityId::module(id, ModuleId::parse("m").unwrap());
        let of = |node, peer, identity| LinkRole::of(node, peer, identity).map_err(|error| error.condition);
        for (node, sends, receives) in [
            (
                DeviceNode::Methods,
                LinkRole::MethodAnswers,
                LinkRole::MethodCalls,
            ),
            (DeviceNode::Twin, LinkRole::TwinRequests, LinkRole::TwinAnswers),
            (DeviceNode::Events, LinkRole::Telemetry, LinkRole::Inputs),
        ] {
            assert_eq!(of(node, Role::Sender, &module), Ok(sends));
            assert_eq!(of(node, Role::Receiver, &module), Ok(receives));
        }
        let refused = Err("amqp:not-allowed".to_owned());
        assert_eq!(
            of(DeviceNode::Commands, Role::Receiver, &device),
            Ok(LinkRole::Commands)
        );
        assert_eq!(of(DeviceNode::Commands, Role::Sender, &device), refused);
        assert_eq!(of(DeviceNode::Events, Role::Receiver, &device), refused);
    }
}
