//! The client side: how commands reach a running server.

mod call;
mod connection_string;
mod https;
mod lines;
mod refusal;
mod tls;

pub(crate) use call::{Answer, Call};
pub(crate) use connection_string::ConnectionString;
pub(crate) use https::{Client, block_on, escaped};
pub(crate) use lines::Lines;
use tls::{connect, connector};
