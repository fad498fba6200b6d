//! Fuzz entry points: one function per parser and machine, with the invariants they must keep.

use std::sync::Arc;
use std::time::Duration;

use crate::connection::{AttachReply, Config, Connection, Event, SaslCode};
use crate::message::{Properties, SectionKind, Sections};
use crate::performative::{Performative, Target};
use crate::sasl::SaslFrame;
use crate::value::Value;

/// What is decoded is written to something that decodes to the same.
pub fn value(data: &[u8]) {
    if let Ok((value, length)) = Value::decode(data) {
        assert!(length <= data.len());
        let mut written = Vec::new();
        value.encode(&mut written);
        assert_eq!(Value::decode(&written), Ok((value, written.len())));
    }
}

/// A performative is written whole and read back as it was.
pub fn performative(data: &[u8]) {
    if let Ok((performative, length)) = Performative::decode(data) {
        assert!(length <= data.len());
        let mut written = Vec::new();
        performative.encode(&mut written);
        let again = Performative::decode(&written);
        // A coordinator is never accepted, so it is never written back as one.
        let has_coordinator = matches!(&performative, Performative::Attach(attach)
            if attach.target.as_ref().is_some_and(Target::is_coordinator));
        if has_coordinator {
            assert!(again.is_ok());
        } else {
            assert_eq!(again, Ok((performative, written.len())));
        }
    }
}

/// A SASL frame is written and read back.
pub fn sasl(data: &[u8]) {
    if let Ok(frame) = SaslFrame::decode(data) {
        let mut written = Vec::new();
        frame.encode(&mut written);
        assert_eq!(SaslFrame::decode(&written), Ok(frame));
    }
}

/// Sections lie one behind the other.
pub fn message(data: &[u8]) {
    let mut length = 0;
    for section in Sections::new(data).map_while(Result::ok) {
        length += section.whole.len();
        if section.kind == SectionKind::Properties {
            let _ = Properties::decode(section.value);
        }
    }
    assert!(length <= data.len());
}

/// A connection says the same of the same bytes, whole or in pieces, and stays bounded.
pub fn connection(data: &[u8]) {
    let step = data.first().map_or(1, |first| usize::from(*first % 31) + 1);
    let data = data.get(1..).unwrap_or_default();
    assert_eq!(run(data, data.len().max(1)), run(data, step));
}

fn run(data: &[u8], step: usize) -> (Vec<String>, Vec<u8>) {
    let mut connection = Connection::new(Arc::new(Config::default()), Duration::ZERO);
    let (mut said, mut output) = (Vec::new(), Vec::new());
    let (mut taken, mut arrived) = (0, 0);
    while arrived < data.len() {
        arrived = (arrived + step).min(data.len());
        loop {
            let input = data.get(taken..arrived).unwrap_or_default();
            let result = connection.handle_input(Duration::ZERO, input);
            while let Some(event) = connection.poll_event() {
                said.push(format!("{event:?}"));
                answer(&mut connection, event);
            }
            output.append(connection.output());
            match result {
                Ok(Some(length)) => taken += length,
                Ok(None) => break,
                Err(violation) => {
                    said.push(violation.to_string());
                    return (said, output);
                }
            }
        }
    }
    (said, output)
}

fn answer(connection: &mut Connection, event: Event) {
    match event {
        Event::SaslInit { .. } | Event::SaslResponse(_) => connection.sasl_outcome(SaslCode::Ok),
        Event::Opened(open) => connection.accept_open(Duration::ZERO, open.hostname),
        Event::Attached(link, attach) => {
            connection.accept_attach(
                link,
                &attach,
                AttachReply {
                    tracked: true,
                    ..AttachReply::default()
                },
            );
        }
        Event::Delivered(link, delivery) => {
            connection.dispose(link, delivery.id, crate::performative::DeliveryState::Accepted);
        }
        Event::Credit(link) => {
            let _ = connection.send(link, &[1], 0, &[b"hello"], false);
            connection.exhausted(link);
        }
        Event::Outcome { link, delivery, .. } => {
            connection.settle(link, delivery, crate::performative::DeliveryState::Accepted);
        }
        Event::Detached(..) | Event::Closed(_) => {}
    }
}
