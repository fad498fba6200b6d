//! What a connection offers and bounds. The numbers of a real hub are the defaults (amqp.md 1.3 to 1.5).

use std::time::Duration;

/// Settings of a connection, shared by all of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of this server in its open.
    pub container_id: String,
    /// SASL mechanisms that are offered, best first.
    pub sasl_mechanisms: Vec<String>,
    /// Largest frame that is taken, in bytes; at least 512 (2.7.1).
    pub max_frame_size: u32,
    /// Highest channel number (2.7.1).
    pub channel_max: u16,
    /// Silence after which the peer is given up, announced in our open.
    pub idle_time_out: Duration,
    /// Longest time between two frames of ours to a peer that asks for heartbeats at all, however long it would wait.
    pub heartbeat_max: Duration,
    /// Transfer frames that a session takes before it says that it takes more (2.5.6).
    pub incoming_window: u32,
    /// Highest handle number of a session (2.7.2).
    pub handle_max: u32,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds on what one peer can make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a frame before the connection is open.
    pub early_frame_bytes_max: u32,
    /// Sessions of a connection.
    pub sessions_max: usize,
    /// Links of a session.
    pub links_per_session_max: usize,
    /// Links of a connection.
    pub links_max: usize,
    /// Bytes of deliveries that have arrived in part, on all links together.
    pub partial_bytes_max: usize,
    /// Deliveries to the peer that it has not settled, on one link.
    pub unsettled_per_link_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            container_id: "ironhub".to_owned(),
            sasl_mechanisms: ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]
                .map(str::to_owned)
                .to_vec(),
            max_frame_size: 65_536,
            channel_max: 8_191,
            idle_time_out: Duration::from_secs(240),
            heartbeat_max: Duration::from_secs(30),
            incoming_window: 5_000,
            handle_max: 262_143,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            early_frame_bytes_max: 8_192,
            sessions_max: 8_192,
            links_per_session_max: 4_096,
            links_max: 8_192,
            partial_bytes_max: 4 * 1_024 * 1_024,
            unsettled_per_link_max: 2_048,
        }
    }
}
