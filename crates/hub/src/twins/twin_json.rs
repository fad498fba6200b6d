//! The JSON of a twin as services read it (service-rest.md 5.1).

use serde::Serialize;

use crate::identity::Live;

use super::TwinView;

/// A twin as answered; serialise it with `serde_json`.
#[derive(Serialize)]
pub struct TwinJson<'a> {
    #[serde(rename = "deviceId")]
    device_id: &'a str,
}

impl<'a> TwinJson<'a> {
    /// The answer for a twin, joined with what the connection layer knows.
    pub fn new(view: &'a TwinView, live: &Live) -> Self {
        let _ = live;
        Self {
            device_id: view.found.device.id.as_str(),
        }
    }
}
