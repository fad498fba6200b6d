//! The AMQP front end: devices, the links of services, the Event Hubs-compatible endpoint and the redirect to it (amqp.md 1, 2, A,
//! B, C).
//!
//! [`connection`] drives the connection machine over the stream. Links are decided by their address: tokens are put at `$cbs`
//! ([`cbs`]), the event hub is described at `$management` ([`management`]), partitions are read ([`reader`]), services send commands
//! ([`command`]) and receive feedback and file notifications ([`feedback_link`]). The links of devices are a world of their own
//! ([`device`]).

mod address;
mod attach;
mod cbs;
mod command;
mod connection;
mod demand;
mod device;
mod ending;
mod fault;
mod feedback_link;
mod filter;
mod grants;
mod links;
mod management;
mod reader;
mod request;
mod requests;
mod sasl;
mod service_links;
mod settlement;
mod text;
mod told;

pub(crate) use connection::serve;
pub(crate) use demand::LINKS;
pub(crate) use told::Told;

use hub::limits::{Limit, Limits};

/// What every AMQP connection offers and bounds, from the table.
pub(crate) fn config(table: &Limits) -> ::amqp::connection::Config {
    use ::amqp::connection::{Config, Limits as MachineLimits};
    let count = |limit| u32::try_from(table.get(limit)).unwrap_or(u32::MAX);
    Config {
        max_frame_size: count(Limit::AmqpFrameBytesMax),
        idle_time_out: table.time(Limit::IdleSecsMax),
        limits: MachineLimits {
            sessions_max: table.size(Limit::AmqpSessionsPerConnectionMax),
            links_per_session_max: table.size(Limit::AmqpLinksPerConnectionMax),
            links_max: table.size(Limit::AmqpLinksPerConnectionMax),
            ..MachineLimits::default()
        },
        ..Config::default()
    }
}

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    //! What the fuzz entry points of the crate reach of this front end.

    use super::address::Address;
    use super::filter::Start;

    pub(crate) fn filter(text: &str) {
        let _ = Start::parse(text);
    }

    pub(crate) use super::device::fuzz_message as device_message;

    pub(crate) fn address(text: &str) {
        if let Address::Device { identity, .. } = Address::parse(text) {
            assert!(!identity.device.as_str().contains('/'));
        }
    }
}
