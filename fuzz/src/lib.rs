//! The fuzz targets, as one table: `fuzz/run` gives them to libFuzzer, `cargo test` replays their corpus.

/// A target: its name and its function, which panics when it has found something.
pub type Target = (&'static str, fn(&[u8]));

/// Every parser and machine that takes bytes from a peer or from the disk.
pub const TARGETS: &[Target] = &[
    ("amqp_address", server::fuzzing::address),
    ("amqp_connection", amqp::fuzzing::connection),
    ("amqp_device_message", server::fuzzing::amqp_device_message),
    ("amqp_filter", server::fuzzing::filter),
    ("amqp_message", amqp::fuzzing::message),
    ("amqp_performative", amqp::fuzzing::performative),
    ("amqp_sasl", amqp::fuzzing::sasl),
    ("amqp_value", amqp::fuzzing::value),
    ("auth_explain", server::fuzzing::auth_explain),
    ("blob_sas", hub::fuzzing::blob_sas),
    ("block_list", server::fuzzing::block_list),
    ("client_certificate", hub::fuzzing::client_certificate),
    ("device_json", hub::fuzzing::device_json),
    ("device_request", server::fuzzing::device_request),
    ("mqtt_packet", mqtt::fuzzing::packet),
    ("mqtt_session", mqtt::fuzzing::session),
    ("mqtt_topic", server::fuzzing::topic_and_bag),
    ("mqtt_username", server::fuzzing::username),
    ("ocsp_response", hub::fuzzing::ocsp_response),
    ("revocation_list", hub::fuzzing::revocation_list),
    ("bearer_token", hub::fuzzing::bearer_token),
    ("sas_token", hub::fuzzing::sas_token),
    ("segment_recovery", engines::fuzzing::segment_recovery),
    ("tls_hello", server::fuzzing::tls_hello),
    ("twin_json", hub::fuzzing::twin_json),
    ("websocket_frames", server::fuzzing::websocket_frames),
];

/// Deterministic small changes of inputs: what a fuzzer does first, without its eyes.
#[derive(Debug, Clone)]
pub struct Mutations {
    state: u64,
}

impl Mutations {
    /// A series that is the same for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// xorshift64*.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// A changed copy of `input`, at times joined with a part of `other`.
    pub fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let byte = self.next().to_le_bytes()[0];
            match self.below(6) {
                0 => bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|found| *found ^= 1 << (byte % 8)),
                1 => bytes.iter_mut().skip(at).take(1).for_each(|found| *found = byte),
                2 => bytes.insert(at, byte),
                3 => bytes.truncate(at),
                4 => {
                    let end = (at + self.below(16)).min(bytes.len());
                    bytes.drain(at.min(end)..end);
                }
                _ => {
                    let from = self.below(other.len());
                    bytes.extend_from_slice(other.get(from..).unwrap_or_default());
                }
            }
        }
        bytes
    }
}

/// Runs a target by its name.
///
/// # Panics
/// When there is no such target, or when it has found something.
#[allow(clippy::panic, reason = "a fuzz target is named by its own file")]
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, run)) => run(data),
        None => panic!("there is no target {name}"),
    }
}

/// What a target says that was not built by the fuzzer.
pub fn explain(name: &str) {
    eprintln!("{name} is run by the fuzzer: fuzz/run 60 {name}");
}
