//! What a peer does with a message that it holds under a lock, and what it is told of that (amqp.md 1.6, A.3).

use amqp::performative::{DeliveryState, Error};
use hub::commands::Settlement;
use hub::error::{Code, Error as HubError};

use super::fault;

/// What an outcome asks for; `None` when it is none.
pub(super) fn settlement_of(state: Option<&DeliveryState>) -> Option<Settlement> {
    match state? {
        DeliveryState::Accepted => Some(Settlement::Complete),
        DeliveryState::Rejected { .. } => Some(Settlement::Reject),
        DeliveryState::Released => Some(Settlement::Abandon),
        DeliveryState::Modified {
            undeliverable_here, ..
        } => Some(if *undeliverable_here {
            Settlement::Reject
        } else {
            Settlement::Abandon
        }),
        DeliveryState::Received { .. } | DeliveryState::Other(_) => None,
    }
}

/// `accepted` says that the request was honoured, whatever it was; clients take anything else for a failure (amqp.md 1.6).
pub(super) fn answer(result: &Result<(), HubError>) -> DeliveryState {
    let Err(error) = result else {
        return DeliveryState::Accepted;
    };
    let condition = match error.code() {
        Code::DeviceMessageLockLost => fault::LOCK_LOST,
        _ => fault::INTERNAL,
    };
    DeliveryState::Rejected {
        error: Some(Error::new(condition, error.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp::value::Value;

    #[test]
    fn outcomes_of_the_peer() {
        let modified = |undeliverable_here| DeliveryState::Modified {
            delivery_failed: false,
            undeliverable_here,
            message_annotations: None,
        };
        for (state, settlement) in [
            (DeliveryState::Accepted, Some(Settlement::Complete)),
            (DeliveryState::Released, Some(Settlement::Abandon)),
            (modified(false), Some(Settlement::Abandon)),
            (modified(true), Some(Settlement::Reject)),
            (DeliveryState::Rejected { error: None }, Some(Settlement::Reject)),
            (DeliveryState::Other(Value::Null), None),
        ] {
            assert_eq!(settlement_of(Some(&state)), settlement, "{state:?}");
        }
        assert_eq!(settlement_of(None), None);
    }

    #[test]
    fn the_answer_is_accepted_whatever_was_asked_or_names_the_lost_lock() {
        assert_eq!(answer(&Ok(())), DeliveryState::Accepted);
        let lost = HubError::peer(Code::DeviceMessageLockLost, "x");
        let DeliveryState::Rejected { error: Some(error) } = answer(&Err(lost)) else {
            panic!("not rejected");
        };
        assert_eq!(error.condition, "com.microsoft:message-lock-lost");
    }
}
