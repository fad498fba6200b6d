//! One write of a twin: judged against what is there, and told of afterwards (service-rest.md 5.2 to 5.4, 13.2).

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::bus::Mail;
use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::events::NoticeKind;
use crate::identity::{IdentityId, IfMatch};
use crate::limits::{Limit, Limits};

use super::body::{Sections, Wish};
use super::section::{Section, SectionName};
use super::section_json::{Metadata, PatchJson, ValuesJson};
use super::twin_json::{PropertiesJson, as_text};
use super::{Twin, TwinEtag, device_json};

/// What somebody asks to be written; read and checked.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// A service's PATCH.
    Patch(Sections, IfMatch),
    /// A service's PUT.
    Replace(Sections, IfMatch),
    /// A device's patch of its reported properties, and the version that it expects them to have.
    Report(Map<String, Value>, Option<u64>),
    /// The model that a device announces.
    Announce(String),
}

/// What a write did, beside the twin that it left.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Sections were merged into.
    Updated(Box<Patches>),
    /// Tags and desired properties were replaced.
    Replaced,
    /// Nothing that anybody is told.
    Unseen,
}

/// What was merged, as it was sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Patches {
    tags: Option<Map<String, Value>>,
    desired: Option<Map<String, Value>>,
    reported: Option<Map<String, Value>>,
}

impl Request {
    /// Carries the request out on a twin; `None` when it changes nothing.
    ///
    /// # Errors
    /// `PreconditionFailed`, `DeviceModelMaxPropertiesExceeded`. The twin is of no use then.
    pub(super) fn judge(
        &self,
        twin: &mut Twin,
        identity: &IdentityId,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Option<Effect>, Error> {
        let effect = match self {
            Self::Patch(sections, if_match) => {
                twin.etag.check(if_match, identity)?;
                if sections.is_empty() {
                    return Ok(None);
                }
                twin.patch(sections, now, limits)?
            }
            Self::Replace(sections, if_match) => {
                twin.etag.check(if_match, identity)?;
                twin.replace(sections, now, limits)?
            }
            Self::Report(patch, expected) => {
                check_expected(twin.reported.version, *expected)?;
                twin.reported.merge(patch, now);
                twin.reported.check_size(SectionName::Reported, limits)?;
                Effect::Updated(Box::new(Patches {
                    reported: Some(patch.clone()),
                    ..Patches::default()
                }))
            }
            Self::Announce(model_id) => {
                if twin.model_id.as_ref() == Some(model_id) {
                    return Ok(None);
                }
                twin.model_id = Some(model_id.clone());
                // No section is written, so that no version moves: a choice, see docs/formats/twins.md.
                return Ok(Some(Effect::Unseen));
            }
        };
        twin.version = twin.version.saturating_add(1);
        Ok(Some(effect))
    }
}

/// The code is not confirmed (device-mqtt-https.md 8.2).
fn check_expected(version: u64, expected: Option<u64>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != version => Err(Error::peer(
            Code::PreconditionFailed,
            format!("Version mismatch: the reported properties have version {version}, not {expected}"),
        )),
        _ => Ok(()),
    }
}

impl Twin {
    fn patch(&mut self, sections: &Sections, now: Timestamp, limits: &Limits) -> Result<Effect, Error> {
        let tags = patch_of(&sections.tags, self.tags.as_ref());
        let desired = patch_of(&sections.desired, Some(&self.desired));
        if let Some(patch) = &tags {
            // Tags that were never there cannot be cleared into being.
            if self.tags.is_some() || sections.tags != Wish::Clear {
                let section = self.tags.get_or_insert_with(|| Section::fresh(now));
                section.merge(patch, now);
                section.check_size(SectionName::Tags, limits)?;
            }
        }
        if let Some(patch) = &desired {
            self.desired.merge(patch, now);
            self.desired.check_size(SectionName::Desired, limits)?;
        }
        self.etag = self.etag.next();
        Ok(Effect::Updated(Box::new(Patches {
            tags,
            desired,
            reported: None,
        })))
    }

    /// What is not named becomes empty; tags that were never set stay absent.
    fn replace(&mut self, sections: &Sections, now: Timestamp, limits: &Limits) -> Result<Effect, Error> {
        let nothing = Map::new();
        let document = |wish: &Wish| match wish {
            Wish::Write(document) => Some(document.clone()),
            Wish::Keep | Wish::Clear => None,
        };
        let tags = document(&sections.tags);
        if self.tags.is_some() || tags.is_some() {
            let section = self.tags.get_or_insert_with(|| Section::fresh(now));
            section.replace(tags.as_ref().unwrap_or(&nothing), now);
            section.check_size(SectionName::Tags, limits)?;
        }
        let desired = document(&sections.desired);
        self.desired.replace(desired.as_ref().unwrap_or(&nothing), now);
        self.desired.check_size(SectionName::Desired, limits)?;
        self.etag = self.etag.next();
        Ok(Effect::Replaced)
    }
}

/// A null in the place of a section is the patch that removes all of its members, so that devices and readers learn which.
fn patch_of(wish: &Wish, section: Option<&Section>) -> Option<Map<String, Value>> {
    match wish {
        Wish::Keep => None,
        Wish::Clear => Some(section.map(Section::clearing).unwrap_or_default()),
        Wish::Write(patch) => Some(patch.clone()),
    }
}

impl Effect {
    /// The kind of the event, if there is one.
    pub(super) fn notice(&self) -> Option<NoticeKind> {
        match self {
            Self::Updated(_) => Some(NoticeKind::TwinUpdated),
            Self::Replaced => Some(NoticeKind::TwinReplaced),
            Self::Unseen => None,
        }
    }

    /// What the identity's connection is told.
    pub(super) fn mail(&self, twin: &Twin) -> Result<Option<Mail>, Error> {
        let document = match self {
            Self::Updated(patches) => match &patches.desired {
                Some(patch) => device_json::desired_patch(patch, twin.desired.stamp)?,
                None => return Ok(None),
            },
            Self::Replaced => device_json::desired_whole(&twin.desired)?,
            Self::Unseen => return Ok(None),
        };
        Ok(Some(Mail::Desired {
            version: twin.desired.version,
            document,
        }))
    }

    /// The body of the event.
    pub(super) fn event(&self, twin: &Twin, identity: &IdentityId) -> Result<Bytes, Error> {
        match self {
            Self::Updated(patches) => device_json::write(&UpdateJson::new(twin, patches)),
            Self::Replaced | Self::Unseen => whole(twin, identity),
        }
    }
}

/// Body of `updateTwin`: what was written, nothing else.
#[derive(Serialize)]
struct UpdateJson<'a> {
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<PartsJson<'a>>,
}

#[derive(Serialize)]
struct PartsJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<PatchJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<PatchJson<'a>>,
}

impl<'a> UpdateJson<'a> {
    fn new(twin: &Twin, patches: &'a Patches) -> Self {
        let part = |patch, section: &Section, metadata| PatchJson {
            patch,
            stamp: section.stamp,
            metadata,
        };
        let (desired, reported) = (patches.desired.as_ref(), patches.reported.as_ref());
        let parts = PartsJson {
            desired: desired.map(|patch| part(patch, &twin.desired, Metadata::Versions)),
            reported: reported.map(|patch| part(patch, &twin.reported, Metadata::Times)),
        };
        Self {
            version: twin.version,
            tags: patches.tags.as_ref(),
            properties: (desired.is_some() || reported.is_some()).then_some(parts),
        }
    }
}

/// Body of `replaceTwin` and of the lifecycle events: the twin, without what belongs to the identity.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WholeJson<'a> {
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    #[serde(serialize_with = "as_text")]
    etag: TwinEtag,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<ValuesJson<'a>>,
    properties: PropertiesJson<'a>,
}

/// The twin as events tell of it.
pub(super) fn whole(twin: &Twin, identity: &IdentityId) -> Result<Bytes, Error> {
    device_json::write(&WholeJson {
        device_id: identity.device.as_str(),
        module_id: identity.module.as_ref().map(crate::identity::ModuleId::as_str),
        etag: twin.etag,
        version: twin.version,
        tags: twin.tags.as_ref().map(|tags| ValuesJson(&tags.members)),
        properties: PropertiesJson::new(twin),
    })
}

/// Reads the model id that a device announced.
///
/// # Errors
/// `ArgumentInvalid`.
pub(super) fn model_id(text: &str, limits: &Limits) -> Result<String, Error> {
    limits.check_len(Limit::ModelIdBytesMax, text.len())?;
    Ok(text.to_owned())
}
