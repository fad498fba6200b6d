//! Listening sockets, the loop that accepts, and what bounds the cost of strangers.

mod accept;
mod bind;
mod drain;
mod strangers;
mod stream;

pub(crate) use accept::{Accept, Arrival, HubFinder, evicted, serve, timed_out};
pub use bind::BindError;
pub(crate) use bind::{Bound, bind};
pub(crate) use drain::{Drain, Draining, Tracker};
pub(crate) use strangers::{Stranger, Strangers};
pub(crate) use stream::Stream;
