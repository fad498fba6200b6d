//! The randomness port: keys, tokens and identifiers are drawn here.

/// Where random bytes come from. One instance for the whole server.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer with bytes nobody can predict.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random numbers through the crypto library.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        #[allow(
            clippy::expect_used,
            reason = "a machine without randomness must not run a hub"
        )]
        aws_lc_rs::rand::fill(bytes).expect("the operating system provides random numbers");
    }
}
