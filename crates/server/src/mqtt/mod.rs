//! The MQTT front end: from CONNECT to the close, for devices and modules (device-mqtt-https.md 3 to 6).
//!
//! [`login`] decides who the peer is, [`connection`] drives the session machine over the stream, the other modules take user
//! names, topics and property bags apart.

mod connection;
mod ending;
mod login;
mod properties;
mod topic;
mod username;

pub(crate) use connection::serve;
pub(crate) use login::limits;
