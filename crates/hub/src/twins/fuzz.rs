//! What fuzzing demands of the bodies of twin requests (`crate::fuzzing`).

use crate::clock::Timestamp;
use crate::identity::{DeviceId, GenerationId, IdentityId, IfMatch};
use crate::limits::{Fidelity, Limits};

use super::body::{Sections, reported_patch};
use super::change::Request;
use super::section::Section;
use super::{Twin, TwinEtag, stored};

/// Reads a body in every way, carries it out, and stores the outcome.
pub(crate) fn body(data: &[u8]) {
    let limits = Limits::new(Fidelity::Native);
    let Ok(device) = DeviceId::parse("d1") else {
        return;
    };
    let identity = IdentityId::device(device);
    let mut requests = Vec::new();
    if let Ok(sections) = Sections::from_json(data, &limits) {
        requests.push(Request::Patch(sections.clone(), IfMatch::Absent));
        requests.push(Request::Replace(sections, IfMatch::Any));
    }
    if let Ok(patch) = reported_patch(data, &limits) {
        requests.push(Request::Report(patch, None));
    }
    let now = Timestamp::from_secs(1);
    let mut twin = Twin {
        generation: GenerationId::from_ticks(1),
        etag: TwinEtag(1),
        version: 2,
        model_id: None,
        tags: None,
        desired: Section::fresh(now),
        reported: Section::fresh(now),
    };
    for request in requests {
        let mut after = twin.clone();
        let Ok(Some(effect)) = request.judge(&mut after, &identity, now, &limits) else {
            continue;
        };
        assert!(effect.mail(&after).is_ok() && effect.event(&after, &identity).is_ok());
        let read = stored::encode(&after).and_then(|document| stored::decode(&identity, &document));
        assert!(
            read.is_ok_and(|read| read == after),
            "a twin does not survive being stored"
        );
        twin = after;
    }
}
