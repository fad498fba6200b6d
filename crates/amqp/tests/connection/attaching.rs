//! Attaching, refusing and detaching links (amqp.md 1.5).

use amqp::connection::{AttachReply, Event, SendError};
use amqp::performative::{Attach, Detach, Error, Performative, ReceiverSettleMode, Role, SenderSettleMode};
use amqp::value::Value;

use crate::peer::{Peer, Said, attach_as, begin, condition_of, detach, grant, receiver, sender, whole};

/// The attach that the server answers with, first of what it wrote.
fn answer(peer: &mut Peer) -> Attach {
    match peer.read().into_iter().next() {
        Some(Said::Amqp(_, performative, _)) => match *performative {
            Performative::Attach(attach) => attach,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn source_target_and_settle_modes_are_echoed() {
    for role in [Role::Sender, Role::Receiver] {
        for snd_settle_mode in [
            SenderSettleMode::Unsettled,
            SenderSettleMode::Settled,
            SenderSettleMode::Mixed,
        ] {
            for rcv_settle_mode in [ReceiverSettleMode::First, ReceiverSettleMode::Second] {
                let mut asked = attach_as(role, "name", 7);
                asked.snd_settle_mode = snd_settle_mode;
                asked.rcv_settle_mode = rcv_settle_mode;
                let source = asked.source.as_mut().unwrap();
                source.filter = Some(Value::Map(vec![(
                    Value::Symbol("apache.org:selector-filter:string".to_owned()),
                    Value::Described(
                        Box::new(Value::Ulong(0x0000_468c_0000_0004)),
                        Box::new(Value::String("amqp.annotation.x-opt-offset > '-1'".to_owned())),
                    ),
                )]));
                source.outcomes = vec!["amqp:accepted:list".to_owned()];
                let mut peer = Peer::begun();
                let link = peer.attach(0, asked.clone());
                let answer = answer(&mut peer);
                assert_ne!(answer.role, role);
                assert_eq!(
                    (answer.name, answer.handle, answer.source, answer.target),
                    (asked.name, asked.handle, asked.source, asked.target)
                );
                assert_eq!(
                    (answer.snd_settle_mode, answer.rcv_settle_mode),
                    (snd_settle_mode, rcv_settle_mode)
                );
                assert_eq!(
                    peer.machine.settle_modes(link),
                    Some((snd_settle_mode, rcv_settle_mode))
                );
                // One client reads it without looking, another detaches when it is missing.
                let count = (role == Role::Receiver).then_some(0);
                assert_eq!(answer.initial_delivery_count, count);
            }
        }
    }
}

#[test]
fn a_terminus_that_the_peer_left_out_is_there_in_the_answer() {
    let mut asked = sender(0);
    asked.source = None;
    let mut peer = Peer::begun();
    peer.attach(0, asked);
    let answer = answer(&mut peer);
    assert!(answer.source.is_some() && answer.target.is_some());
}

#[test]
fn a_sender_gets_its_size_and_its_credit_with_the_answer() {
    let mut peer = Peer::begun();
    peer.reply = Some(AttachReply {
        message_bytes_max: 262_144,
        credit_window: 7,
        offered_capabilities: vec!["cap".to_owned()],
        ..AttachReply::default()
    });
    peer.attach(0, sender(3));
    let said = peer.performatives();
    let [Performative::Attach(answer), Performative::Flow(flow)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(answer.max_message_size, Some(262_144));
    assert_eq!(answer.offered_capabilities, ["cap"]);
    assert_eq!(
        (
            flow.handle,
            flow.delivery_count,
            flow.link_credit,
            flow.next_incoming_id
        ),
        (Some(3), Some(0), Some(7), Some(1))
    );
}

#[test]
fn a_refusal_is_an_attach_without_nodes_and_a_detach() {
    for attach in [sender(0), receiver(0)] {
        let mut peer = Peer::begun();
        peer.reply = None;
        let link = peer.attach(0, attach.clone());
        assert_eq!(peer.read(), []);
        let error = Error::new("amqp:not-found", "No such node.");
        peer.machine.refuse_attach(link, &attach, error.clone());
        let said = peer.performatives();
        let [Performative::Attach(answer), Performative::Detach(detached)] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert_eq!(
            (
                &answer.name,
                &answer.source,
                &answer.target,
                answer.initial_delivery_count
            ),
            (&attach.name, &None, &None, None)
        );
        assert_ne!(answer.role, attach.role);
        assert_eq!(
            *detached,
            Detach {
                handle: 0,
                closed: true,
                error: Some(error),
            }
        );
        // The answer to our detach needs none; then the handle is free.
        peer.say(0, detach(0));
        assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
        peer.attach(0, attach);
    }
}

#[test]
fn names_are_unique_in_their_session_and_direction_only() {
    let mut peer = Peer::begun();
    peer.say(1, begin(10));
    peer.attach(0, attach_as(Role::Sender, "TwinLink", 0));
    peer.attach(0, attach_as(Role::Receiver, "TwinLink", 1));
    peer.attach(1, attach_as(Role::Sender, "TwinLink", 0));
    peer.read();
    peer.say(0, Performative::Attach(attach_as(Role::Sender, "TwinLink", 2)));
    assert_eq!(peer.events(), []);
    assert_eq!(condition_of(&peer.read()), "amqp:resource-locked");
    // The refused link holds the name no more than before.
    peer.say(0, detach(2));
    peer.say(0, detach(0));
    peer.events();
    peer.attach(0, attach_as(Role::Sender, "TwinLink", 2));
}

#[test]
fn a_name_is_free_once_its_link_was_detached_by_us() {
    let mut peer = Peer::begun();
    let link = peer.attach(0, attach_as(Role::Receiver, "name", 0));
    peer.machine.detach(link, None);
    // A client that was told to go comes back at once, on another handle, before its detach.
    peer.attach(0, attach_as(Role::Receiver, "name", 1));
}

#[test]
fn a_detach_is_answered_alike() {
    for closed in [true, false] {
        let mut peer = Peer::begun();
        let link = peer.attach(0, sender(0));
        peer.read();
        let error = Error::new("amqp:internal-error", "Gone.");
        peer.say(
            0,
            Performative::Detach(Detach {
                handle: 0,
                closed,
                error: Some(error.clone()),
            }),
        );
        assert_eq!(
            peer.performatives(),
            [Performative::Detach(Detach {
                handle: 0,
                closed,
                error: None
            })]
        );
        assert_eq!(peer.events(), [Event::Detached(link, Some(error))]);
        // A second link on the handle is another one.
        let second = peer.attach(0, sender(0));
        assert_ne!(link, second);
        peer.read();
        peer.machine.forget(link, 1);
        peer.machine.detach(link, None);
        assert_eq!(peer.read(), []);
    }
}

#[test]
fn what_comes_after_our_detach_is_thrown_away() {
    let mut peer = Peer::begun();
    let (incoming, outgoing) = (peer.attach(0, sender(0)), peer.attach(0, receiver(1)));
    peer.read();
    for link in [incoming, outgoing] {
        peer.machine
            .detach(link, Some(Error::new("amqp:link:stolen", "Another reader came.")));
        assert_eq!(condition_of(&peer.read()), "amqp:link:stolen");
        peer.machine.detach(link, None);
    }
    peer.transfer(0, whole(0, 0), b"late");
    peer.say(0, grant(1, 0, 10));
    peer.say(0, detach(0));
    peer.say(0, detach(1));
    assert_eq!((peer.read(), peer.events()), (vec![], vec![]));
    assert_eq!(
        peer.machine.send(outgoing, b"t", 0, &[b"m"], false),
        Err(SendError::NotAttached)
    );
}

#[test]
fn an_undecided_link_that_is_detached_gets_its_attach_first() {
    for attach in [sender(0), receiver(0)] {
        let mut peer = Peer::begun();
        peer.reply = None;
        let link = peer.attach(0, attach.clone());
        peer.say(0, detach(0));
        let said = peer.performatives();
        let [Performative::Attach(answer), Performative::Detach(_)] = said.as_slice() else {
            panic!("a detach of a link that was never attached: {said:?}");
        };
        assert_eq!(
            (&answer.name, &answer.source, &answer.target),
            (&attach.name, &None, &None)
        );
        assert_ne!(answer.role, attach.role);
        assert_eq!(peer.events(), [Event::Detached(link, None)]);
        // The decision comes too late.
        peer.machine.accept_attach(link, &attach, AttachReply::default());
        peer.machine
            .refuse_attach(link, &attach, Error::new("amqp:not-found", "No such node."));
        assert_eq!(peer.read(), []);
    }
}

#[test]
fn a_transfer_on_an_undecided_link_refuses_it() {
    let mut peer = Peer::begun();
    peer.reply = None;
    let attach = sender(0);
    let link = peer.attach(0, attach.clone());
    peer.transfer(0, whole(0, 0), b"early");
    let said = peer.read();
    assert_eq!(condition_of(&said), "amqp:link:transfer-limit-exceeded");
    let [Said::Amqp(0, first, _), Said::Amqp(0, _, _)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(matches!(&**first, Performative::Attach(answer) if answer.target.is_none()));
    assert!(matches!(peer.events().as_slice(), [Event::Detached(id, Some(_))] if *id == link));
    peer.machine.accept_attach(link, &attach, AttachReply::default());
    assert_eq!(peer.read(), []);
}

#[test]
fn an_undecided_link_of_a_session_that_ends_is_reported() {
    let mut peer = Peer::begun();
    peer.reply = None;
    let link = peer.attach(0, sender(0));
    peer.say(0, crate::peer::end());
    assert_eq!(peer.events(), [Event::Detached(link, None)]);
    assert!(matches!(peer.performatives().as_slice(), [Performative::End(end)] if end.error.is_none()));
}

#[test]
fn credit_that_comes_before_the_decision_counts() {
    let mut peer = Peer::begun();
    peer.reply = None;
    let attach = receiver(0);
    let link = peer.attach(0, attach.clone());
    peer.grant(0, 0, 3);
    assert_eq!(peer.events(), []);
    assert_eq!(peer.machine.credit(link), 0);
    peer.machine.accept_attach(link, &attach, AttachReply::default());
    assert_eq!(peer.events(), [Event::Credit(link)]);
    assert_eq!(peer.machine.credit(link), 3);
}
