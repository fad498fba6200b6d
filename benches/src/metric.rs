//! What is measured: one table of titles, units and targets.

/// A number that a run gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Metric {
    /// Start to ready.
    StartMillis,
    /// Resident memory without a connection.
    EmptyMib,
    /// Resident memory of one more idle connection.
    IdleKib,
    /// Acknowledged messages in a second, under full load.
    LoadRate,
    /// Processor time of a million of them.
    LoadCpu,
    /// Publish to PUBACK at a fixed rate, median.
    PacedMedian,
    /// The same, 99th percentile.
    PacedTail,
    /// Processor time of a million messages at that rate.
    PacedCpu,
    /// Connects for a second of the server's processor.
    ConnectsPerCpu,
    /// Connects in a second.
    ConnectRate,
    /// The first of the two with a key for each device.
    DeviceKeyConnectsPerCpu,
    /// Clients of a storm that were not let in.
    StormRefused,
    /// Beginning of a storm to the CONNACK of its median client.
    StormMedianSecs,
    /// The same for its last client.
    StormSecs,
    /// Start to ready, with a small registry.
    SmallStartMillis,
    /// Start to ready, with a large registry.
    LargeStartMillis,
    /// Time of a connect, small registry.
    SmallConnectMillis,
    /// Time of a connect, large registry.
    LargeConnectMillis,
    /// How much longer a connect takes with the large registry.
    ConnectGrowthPercent,
    /// Disk space of a device.
    DiskBytes,
}

/// What a number ought to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Target {
    /// Ironhub's own number, at most.
    pub(crate) at_most: Option<f64>,
    /// Ironhub's number by the peer's, at most.
    pub(crate) ratio_at_most: Option<f64>,
    /// Ironhub's number by the peer's, at least.
    pub(crate) ratio_at_least: Option<f64>,
}

impl Metric {
    /// What stands in the report: title, unit, digits after the point.
    pub(crate) const fn label(self) -> (&'static str, &'static str, usize) {
        match self {
            Self::StartMillis => ("start to ready", "ms", 1),
            Self::EmptyMib => ("memory, empty server", "MiB", 2),
            Self::IdleKib => ("memory per idle connection", "KiB", 2),
            Self::LoadRate => ("full load: acknowledged", "msg/s", 0),
            Self::LoadCpu => ("full load: CPU per million", "s", 2),
            Self::PacedMedian => ("paced: publish to PUBACK, p50", "ms", 3),
            Self::PacedTail => ("paced: publish to PUBACK, p99", "ms", 3),
            Self::PacedCpu => ("paced: CPU per million", "s", 2),
            Self::ConnectsPerCpu => ("connects per server CPU second", "1/s", 0),
            Self::ConnectRate => ("connects", "1/s", 0),
            Self::DeviceKeyConnectsPerCpu => ("connects per CPU second, own keys", "1/s", 0),
            Self::StormRefused => ("storm: refused", "clients", 0),
            Self::StormMedianSecs => ("storm: until half are in", "s", 2),
            Self::StormSecs => ("storm: until the last is in", "s", 2),
            Self::SmallStartMillis => ("small registry: start to ready", "ms", 1),
            Self::LargeStartMillis => ("large registry: start to ready", "ms", 1),
            Self::SmallConnectMillis => ("small registry: connect, p50", "ms", 3),
            Self::LargeConnectMillis => ("large registry: connect, p50", "ms", 3),
            Self::ConnectGrowthPercent => ("large by small registry: connect", "% more", 1),
            Self::DiskBytes => ("large registry: disk per device", "bytes", 0),
        }
    }

    /// What it ought to be.
    pub(crate) const fn target(self) -> Target {
        match self {
            Self::StartMillis => target(Some(100.0), None, None),
            Self::EmptyMib => target(Some(15.0), None, None),
            Self::IdleKib => target(Some(7.0), Some(0.5), None),
            Self::LoadCpu => target(None, Some(0.5), None),
            Self::PacedTail => target(Some(4.0), None, None),
            Self::PacedCpu => target(None, Some(2.0), None),
            Self::ConnectsPerCpu => target(None, None, Some(2.0)),
            Self::StormRefused => target(Some(0.0), None, None),
            Self::StormSecs => target(None, Some(1.0), None),
            Self::LargeStartMillis => target(Some(1_000.0), None, None),
            Self::ConnectGrowthPercent => target(Some(10.0), None, None),
            Self::DiskBytes => target(Some(1_024.0), None, None),
            Self::LoadRate
            | Self::PacedMedian
            | Self::ConnectRate
            | Self::DeviceKeyConnectsPerCpu
            | Self::StormMedianSecs
            | Self::SmallStartMillis
            | Self::SmallConnectMillis
            | Self::LargeConnectMillis => target(None, None, None),
        }
    }
}

const fn target(at_most: Option<f64>, ratio_at_most: Option<f64>, ratio_at_least: Option<f64>) -> Target {
    Target {
        at_most,
        ratio_at_most,
        ratio_at_least,
    }
}

impl Target {
    /// Whether it is reached; `None` without a target, or when a number that it asks for was not measured.
    pub(crate) fn is_met(self, own: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        let mut met = None;
        for (limit, value, is_upper) in [
            (self.at_most, own, true),
            (self.ratio_at_most, ratio, true),
            (self.ratio_at_least, ratio, false),
        ] {
            if let Some(limit) = limit {
                let value = value?;
                let holds = if is_upper { value <= limit } else { value >= limit };
                met = Some(met.unwrap_or(true) && holds);
            }
        }
        met
    }

    /// For the report.
    pub(crate) fn text(self) -> String {
        let parts = [
            self.at_most.map(|limit| format!("<= {limit}")),
            self.ratio_at_most.map(|limit| format!("ratio <= {limit}")),
            self.ratio_at_least.map(|limit| format!("ratio >= {limit}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_by_every_part() {
        let idle = Metric::IdleKib.target();
        assert_eq!(idle.is_met(Some(7.0), Some(0.5)), Some(true));
        assert_eq!(idle.is_met(Some(7.1), Some(0.5)), Some(false));
        assert_eq!(idle.is_met(Some(7.0), Some(0.6)), Some(false));
        assert_eq!(idle.is_met(Some(7.0), None), None);
        assert_eq!(idle.text(), "<= 7, ratio <= 0.5");
        let connects = Metric::ConnectsPerCpu.target();
        assert_eq!(connects.is_met(Some(1.0), Some(1.9)), Some(false));
        assert_eq!(Metric::LoadRate.target().is_met(Some(1.0), Some(1.0)), None);
    }
}
