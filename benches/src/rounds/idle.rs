//! Memory of connections that say nothing.

use std::time::Duration;

use super::connect_all;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::report::Report;
use crate::running::Running;

/// What a server frees late, it has freed after this.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// Connects so many clients to a fresh server and weighs it before and after.
pub(crate) async fn measure(
    running: &Running,
    connections: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let before = running.process().resident_bytes()?;
    let clients = connect_all(running.endpoint(), connections).await?;
    tokio::time::sleep(SETTLE).await;
    let after = running.process().resident_bytes()?;
    let each = after.saturating_sub(before) as f64 / clients.len() as f64;
    report.record(running.name(), Metric::IdleKib, each / 1_024.0);
    Ok(())
}
