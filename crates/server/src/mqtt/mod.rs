//! The MQTT front end: from CONNECT to the close, for devices and modules (device-mqtt-https.md 3 to 9).
//!
//! [`login`] decides who the peer is, [`connection`] drives the session machine over the stream. [`window`] is what a
//! connection remembers of commands under way; the other modules take user names, topics, filters and property bags
//! apart, or put them together.

#[cfg(test)]
mod access_matrix;
mod command_topic;
mod connection;
mod demand;
mod ending;
mod login;
mod properties;
mod subscriptions;
mod topic;
mod username;
mod window;

pub(crate) use connection::serve;
pub(crate) use demand::{TOPICS, Way};
pub(crate) use login::{code_of, limits};

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    //! What the fuzz entry points of the crate reach of this front end.

    use hub::identity::IdentityId;
    use hub::telemetry::Message;

    use super::properties::read_bag;
    use super::topic::{Inbound, judge_filter};
    use super::username::Username;

    pub(crate) fn topic<'a>(text: &'a str, identity: &IdentityId, message: &mut Message<'a>) {
        let _ = judge_filter(text, identity);
        if let Ok(Inbound::Telemetry { bag }) = Inbound::parse(text, identity) {
            read_bag(bag, message);
        } else {
            read_bag(text, message);
        }
    }

    pub(crate) fn username(text: &str) {
        if let Ok(username) = Username::parse(text) {
            let shown = format!("{}/{}", username.host, username.device);
            assert!(text.starts_with(&shown), "{shown}");
        }
    }
}
