//! The JSON of a twin as its device reads it (device-mqtt-https.md 8.1), and of changes that it is told (8.4).

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Error;

use super::Twin;
use super::section::Section;
use super::section_json::{Metadata, PatchJson, SectionJson};
use super::tree::Stamp;

#[derive(Serialize)]
struct DeviceJson<'a> {
    desired: SectionJson<'a>,
    reported: SectionJson<'a>,
}

/// The whole twin: both sections with their versions, nothing else.
pub(super) fn twin(twin: &Twin) -> Result<Bytes, Error> {
    write(&DeviceJson {
        desired: plain(&twin.desired),
        reported: plain(&twin.reported),
    })
}

/// A part of the desired properties as the service sent it, nulls included, with the new version.
pub(super) fn desired_patch(patch: &Map<String, Value>, stamp: Stamp) -> Result<Bytes, Error> {
    write(&PatchJson {
        patch,
        stamp,
        metadata: Metadata::Hidden,
    })
}

/// The desired properties after they were replaced. What is gone is not named: a choice, see docs/formats/twins.md.
pub(super) fn desired_whole(section: &Section) -> Result<Bytes, Error> {
    write(&plain(section))
}

fn plain(section: &Section) -> SectionJson<'_> {
    SectionJson {
        section,
        metadata: Metadata::Hidden,
    }
}

pub(super) fn write(value: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::bug(format!("a twin cannot be written as JSON: {error}")))
}
