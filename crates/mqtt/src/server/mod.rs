//! The server's side of a session, without I/O.
//!
//! ```text
//!              CONNECT               accept
//!  Connecting ---------> Deciding --------------> Open ----DISCONNECT----> Closed
//!       |                   |  refuse               |
//!       +--- violation -----+--------> Closed <-----+--- violation, timeout
//! ```
//!
//! Call order: [`Session::handle_input`] over the bytes that came, until it wants more; the commands for what its events ask;
//! [`Session::next_timeout`] before waiting, and [`Session::handle_timeout`] when that moment has come. Times are durations since
//! an origin of the driver's choice. Commands append to a buffer of the driver's, so that an idle session owns none.

mod session;
mod violation;

pub use session::{Command, Event, Limits, OwnedWill, Session, WindowFull};
pub use violation::{Timeout, Violation};
