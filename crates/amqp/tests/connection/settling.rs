//! What the client says of messages to it (amqp.md 1.6).

use amqp::connection::{AttachReply, Config, Event, LinkId, SendError};
use amqp::performative::{DeliveryState, Disposition, Open, Performative, Role};

use crate::peer::{Peer, begin, detach, disposed, receiver};

const ACCEPTED: Option<DeliveryState> = Some(DeliveryState::Accepted);

/// A session with two links to the client, one tracked and one not, with credit.
fn two_links() -> (Peer, LinkId, LinkId) {
    let mut config = Config::default();
    config.limits.unsettled_per_link_max = 4;
    let mut peer = Peer::open_as(config, Open::default());
    peer.say(0, begin(1_000));
    let plain = peer.attach(0, receiver(0));
    peer.reply = Some(AttachReply {
        tracked: true,
        ..AttachReply::default()
    });
    let tracked = peer.attach(0, receiver(1));
    peer.grant(0, 0, 100);
    peer.grant(0, 1, 100);
    peer.read();
    peer.events();
    (peer, plain, tracked)
}

fn send(peer: &mut Peer, link: LinkId) -> u32 {
    let id = peer.machine.send(link, b"t", 0, &[b"m"], false).unwrap();
    peer.read();
    id
}

fn outcome(link: LinkId, delivery: u32, state: Option<DeliveryState>, settled: bool) -> Event {
    Event::Outcome {
        link,
        delivery,
        state,
        settled,
    }
}

fn answered(first: u32, last: Option<u32>) -> Performative {
    Performative::Disposition(Disposition {
        role: Role::Sender,
        first,
        last,
        settled: true,
        state: ACCEPTED,
        batchable: false,
    })
}

#[test]
fn settled_outcomes_need_no_answer() {
    let (mut peer, plain, tracked) = two_links();
    let (first, second) = (send(&mut peer, plain), send(&mut peer, tracked));
    peer.say(0, disposed(first, first, true, ACCEPTED));
    peer.say(0, disposed(second, second, true, Some(DeliveryState::Released)));
    assert_eq!(peer.read(), []);
    assert_eq!(
        peer.events(),
        [outcome(tracked, second, Some(DeliveryState::Released), true)]
    );
    // It is forgotten.
    peer.say(0, disposed(second, second, true, ACCEPTED));
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
}

#[test]
fn outcomes_that_wait_are_answered_accepted_whatever_they_are() {
    let (mut peer, plain, _) = two_links();
    for state in [
        DeliveryState::Accepted,
        DeliveryState::Released,
        DeliveryState::Rejected { error: None },
    ] {
        let id = send(&mut peer, plain);
        peer.say(0, disposed(id, id, false, Some(state)));
        assert_eq!(peer.performatives(), [answered(id, None)]);
        assert_eq!(peer.events(), []);
    }
}

#[test]
fn outcomes_that_wait_on_a_tracked_link_are_the_drivers() {
    let (mut peer, _, tracked) = two_links();
    let id = send(&mut peer, tracked);
    peer.say(0, disposed(id, id, false, ACCEPTED));
    assert_eq!(peer.read(), []);
    assert_eq!(peer.events(), [outcome(tracked, id, ACCEPTED, false)]);
    peer.machine.settle(tracked, id, DeliveryState::Accepted);
    assert_eq!(peer.performatives(), [answered(id, None)]);
    peer.say(0, disposed(id, id, true, ACCEPTED));
    assert_eq!(peer.events(), []);
}

#[test]
fn a_message_that_is_not_tracked_any_more_is_settled_by_itself() {
    let (mut peer, _, link) = two_links();
    let delivery = send(&mut peer, link);
    peer.machine.untrack(link, delivery);
    peer.read();
    peer.say(
        0,
        disposed(delivery, delivery, false, Some(DeliveryState::Released)),
    );
    assert_eq!(peer.events(), []);
    assert_eq!(peer.performatives(), [answered(delivery, None)]);
}

#[test]
fn what_is_no_outcome_is_not_answered() {
    let (mut peer, plain, tracked) = two_links();
    let (first, second) = (send(&mut peer, plain), send(&mut peer, tracked));
    let received = DeliveryState::Received {
        section_number: 0,
        section_offset: 4,
    };
    for state in [None, Some(received)] {
        peer.say(0, disposed(first, second, false, state));
        assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
    }
    // Forgetting without an outcome is one for the driver.
    peer.say(0, disposed(first, second, true, None));
    assert_eq!(peer.read(), []);
    assert_eq!(peer.events(), [outcome(tracked, second, None, true)]);
}

#[test]
fn a_range_may_span_links() {
    let (mut peer, plain, tracked) = two_links();
    // Ids 0 to 6: plain, tracked, plain, plain, tracked, tracked, plain.
    let links = [plain, tracked, plain, plain, tracked, tracked, plain];
    for (id, link) in (0..).zip(links) {
        assert_eq!(send(&mut peer, link), id);
    }
    peer.say(0, disposed(0, 6, false, ACCEPTED));
    assert_eq!(
        peer.performatives(),
        [answered(0, None), answered(2, Some(3)), answered(6, None)]
    );
    assert_eq!(
        peer.events(),
        [1, 4, 5].map(|id| outcome(tracked, id, ACCEPTED, false))
    );
    peer.say(0, disposed(0, 6, true, ACCEPTED));
    assert_eq!(peer.read(), []);
    assert_eq!(
        peer.events(),
        [1, 4, 5].map(|id| outcome(tracked, id, ACCEPTED, true))
    );
}

#[test]
fn a_range_that_runs_backwards_is_none() {
    let (mut peer, _, tracked) = two_links();
    send(&mut peer, tracked);
    peer.say(0, disposed(5, 0, false, ACCEPTED));
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
}

#[test]
fn a_range_over_the_wrap_is_one() {
    // No test sends four thousand million messages; that a range may begin before the wrap is seen from the other side of it.
    let (mut peer, plain, tracked) = two_links();
    let (first, second) = (send(&mut peer, plain), send(&mut peer, tracked));
    peer.say(0, disposed(u32::MAX - 1, second, false, ACCEPTED));
    assert_eq!(peer.performatives(), [answered(u32::MAX - 1, Some(first))]);
    assert_eq!(peer.events(), [outcome(tracked, second, ACCEPTED, false)]);
}

#[test]
fn a_message_that_is_sent_settled_is_forgotten_at_once() {
    let (mut peer, _, tracked) = two_links();
    for id in 0..10 {
        assert_eq!(peer.machine.send(tracked, b"t", 0, &[b"m"], true), Ok(id));
    }
    peer.read();
    peer.say(0, disposed(0, 9, true, ACCEPTED));
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
}

#[test]
fn too_many_that_are_not_settled_block_the_link_until_one_is() {
    for by_us in [true, false] {
        let (mut peer, plain, tracked) = two_links();
        for _ in 0..4 {
            send(&mut peer, tracked);
        }
        assert_eq!(
            peer.machine.send(tracked, b"t", 0, &[b"m"], false),
            Err(SendError::Blocked)
        );
        assert!(!peer.machine.can_send(tracked) && peer.machine.can_send(plain));
        // A flow does not change that.
        peer.grant(0, 1, 100);
        assert!(!peer.machine.can_send(tracked));
        peer.events();
        if by_us {
            peer.machine.settle(tracked, 2, DeliveryState::Accepted);
            assert_eq!(peer.events(), [Event::Credit(tracked)]);
        } else {
            peer.say(0, disposed(2, 2, true, ACCEPTED));
            assert_eq!(
                peer.events(),
                [outcome(tracked, 2, ACCEPTED, true), Event::Credit(tracked)]
            );
        }
        assert_eq!(peer.machine.send(tracked, b"t", 0, &[b"m"], false), Ok(4));
        assert!(!peer.machine.can_send(tracked));
    }
}

#[test]
fn outcomes_of_a_link_that_is_gone_are_no_ones() {
    for by_us in [true, false] {
        let (mut peer, _, tracked) = two_links();
        let id = send(&mut peer, tracked);
        if by_us {
            peer.machine.detach(tracked, None);
        } else {
            peer.say(0, detach(1));
        }
        peer.read();
        peer.events();
        peer.say(0, disposed(id, id, true, ACCEPTED));
        assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
    }
}

#[test]
fn what_the_client_says_of_its_own_messages_is_nothing_new() {
    let (mut peer, _, tracked) = two_links();
    let id = send(&mut peer, tracked);
    peer.say(
        0,
        Performative::Disposition(Disposition {
            role: Role::Sender,
            first: id,
            last: None,
            settled: true,
            state: ACCEPTED,
            batchable: false,
        }),
    );
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
}
