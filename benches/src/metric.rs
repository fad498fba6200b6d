//! What is measured: one table of titles, units and targets.

/// What a number ought to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Target {
    /// Ironhub's own number, at most.
    at_most: Option<f64>,
    /// Ironhub's own number, at least.
    at_least: Option<f64>,
    /// Ironhub's number by the peer's, at most.
    ratio_at_most: Option<f64>,
    /// Ironhub's number by the peer's, at least.
    ratio_at_least: Option<f64>,
}

const NONE: Target = Target {
    at_most: None,
    at_least: None,
    ratio_at_most: None,
    ratio_at_least: None,
};

macro_rules! metrics {
    ($($(#[doc = $meaning:literal])* $variant:ident $title:literal $unit:literal $digits:literal
        { $($limit:ident: $value:literal),* };)*) => {
        /// A number that a run gives.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Metric {
            $($(#[doc = $meaning])* $variant,)*
        }

        impl Metric {
            /// What stands in the report: title, unit, digits after the point.
            pub(crate) const fn label(self) -> (&'static str, &'static str, usize) {
                match self { $(Self::$variant => ($title, $unit, $digits),)* }
            }

            /// What it ought to be.
            pub(crate) const fn target(self) -> Target {
                match self { $(Self::$variant => Target { $($limit: Some($value),)* ..NONE },)* }
            }
        }
    };
}

metrics! {
    /// Start to ready.
    StartMillis "start to ready" "ms" 1 { at_most: 100.0 };
    /// Resident memory without a connection.
    EmptyMib "memory, empty server" "MiB" 2 { at_most: 15.0 };
    /// Resident memory of one more idle connection.
    IdleKib "memory per idle connection" "KiB" 2 { at_most: 7.0, ratio_at_most: 0.5 };
    /// Acknowledged messages in a second, under full load.
    LoadRate "full load: acknowledged" "msg/s" 0 {};
    /// Processor time of a million of them.
    LoadCpu "full load: CPU per million" "s" 2 { ratio_at_most: 0.5 };
    /// Publish to PUBACK at a fixed rate, median.
    PacedMedian "paced: publish to PUBACK, p50" "ms" 3 {};
    /// The same, 99th percentile.
    PacedTail "paced: publish to PUBACK, p99" "ms" 3 { at_most: 4.0 };
    /// Processor time of a million messages at that rate.
    PacedCpu "paced: CPU per million" "s" 2 { ratio_at_most: 2.0 };
    /// Connects for a second of the server's processor.
    ConnectsPerCpu "connects per server CPU second" "1/s" 0 { ratio_at_least: 2.0 };
    /// Connects in a second.
    ConnectRate "connects" "1/s" 0 {};
    /// The first of the two with a key for each device.
    DeviceKeyConnectsPerCpu "connects per CPU second, own keys" "1/s" 0 {};
    /// Clients of a storm that were not let in.
    StormRefused "storm: refused" "clients" 0 { at_most: 0.0 };
    /// Beginning of a storm to the CONNACK of its median client.
    StormMedianSecs "storm: until half are in" "s" 2 {};
    /// The same for its last client.
    StormSecs "storm: until the last is in" "s" 2 { ratio_at_most: 1.0 };
    /// Resident memory of one more connection, measured as the next.
    UnsubscribedKib "not subscribed: memory a connection" "KiB" 2 {};
    /// The same with subscriptions to twin, methods and commands.
    SubscribedKib "all subscribed: memory a connection" "KiB" 2 {};
    /// How much the subscriptions are of it.
    SubscriptionsKib "subscriptions of a connection" "KiB" 2 { at_most: 0.5 };
    /// Call of a method to its answer, median.
    MethodMedian "methods: call to answer, p50" "ms" 3 { at_most: 1.0 };
    /// The same, 99th percentile.
    MethodTail "methods: call to answer, p99" "ms" 3 { at_most: 5.0 };
    /// Processor time of a call.
    MethodCpu "methods: CPU a call" "us" 1 {};
    /// Reported patches in a second.
    ReportedRate "reported: durable patches" "1/s" 0 { at_least: 5_000.0 };
    /// Patch to answer, median.
    ReportedMedian "reported: patch to answer, p50" "ms" 3 {};
    /// The same, 99th percentile.
    ReportedTail "reported: patch to answer, p99" "ms" 3 {};
    /// Processor time of a patch.
    ReportedCpu "reported: CPU a patch" "us" 1 {};
    /// Desired patch to notification, median.
    DesiredMedian "desired: patch to device, p50" "ms" 3 {};
    /// The same, 99th percentile.
    DesiredTail "desired: patch to device, p99" "ms" 3 { at_most: 10.0 };
    /// Processor time of a patch.
    DesiredCpu "desired: CPU a patch" "us" 1 {};
    /// Commands sent in a second.
    QueuedRate "commands: sent" "1/s" 0 {};
    /// Processor time of one.
    QueuedCpu "commands: CPU for each" "us" 1 {};
    /// Disk space of one that waits.
    QueuedDiskBytes "commands: disk for each" "bytes" 0 {};
    /// What sending one added to resident memory.
    QueuedMemoryBytes "commands: memory for each" "bytes" 0 { at_most: 64.0 };
    /// What one that waits adds to the memory of a server that starts.
    QueuedRestartBytes "commands: the same, after a restart" "bytes" 0 { at_most: 64.0 };
    /// Start to ready with all of them waiting.
    QueuedRestartMillis "commands: start to ready" "ms" 1 { at_most: 100.0 };
    /// Messages in a second to one reader.
    ReaderRate "reader: messages" "1/s" 0 { at_least: 300_000.0 };
    /// Processor time of one.
    ReaderCpu "reader: CPU a message" "us" 2 { at_most: 2.0 };
    /// Acknowledged messages in a second under full load over MQTT, in the run of the next ones.
    MqttRate "MQTT: acknowledged" "msg/s" 0 {};
    /// Processor time of a million of them.
    MqttCpu "MQTT: CPU per million" "s" 2 {};
    /// The same over AMQP.
    AmqpRate "AMQP: acknowledged" "msg/s" 0 {};
    /// Processor time of a million of them.
    AmqpCpu "AMQP: CPU per million" "s" 2 {};
    /// By that over MQTT.
    AmqpByMqtt "AMQP by MQTT: CPU" "ratio" 2 { at_most: 1.3 };
    /// The same over HTTPS, one message under way on each connection.
    HttpsRate "HTTPS: acknowledged" "msg/s" 0 {};
    /// Processor time of a million of them.
    HttpsCpu "HTTPS: CPU per million" "s" 2 {};
    /// By that over MQTT.
    HttpsByMqtt "HTTPS by MQTT: CPU" "ratio" 2 {};
    /// Memory of the server's own for a device that shares an AMQP connection.
    MultiplexedFirstKib "multiplexed: first devices, each" "KiB" 2 { at_most: 3.0 };
    /// The same for those that come after them.
    MultiplexedKib "multiplexed: further devices, each" "KiB" 2 { at_most: 3.0 };
    /// Its link for commands.
    MultiplexedCommandsKib "multiplexed: link for commands" "KiB" 2 {};
    /// All that became resident since the start for the first of them: code and caches that are there once as well.
    MultiplexedSinceStartKib "multiplexed: first devices, each, all since start" "KiB" 2 {};
    /// Connects with a certificate of a CA of the hub, for a second of the server's processor.
    AuthorityConnectsPerCpu "X.509 by CA: connects per CPU sec" "1/s" 0 { ratio_at_least: 0.7 };
    /// The same by the thumbprint of the certificate.
    ThumbprintConnectsPerCpu "X.509 by thumbprint: the same" "1/s" 0 { ratio_at_least: 0.7 };
    /// Upload of a list of a million serial numbers to its being in force.
    RevocationLoadSecs "revocation: list loaded" "s" 2 { at_most: 5.0 };
    /// What it adds to the memory of a server's own.
    RevocationMib "revocation: memory of the list" "MiB" 1 { at_most: 64.0 };
    /// Start to ready of a server that keeps the list.
    RevocationStartMillis "revocation: start to ready" "ms" 1 {};
    /// The check of a path without any list.
    RevocationCheckMicros "revocation: check without a list" "us" 3 {};
    /// How much longer it takes with that list.
    RevocationAddedMicros "revocation: added by the list" "us" 3 { at_most: 2.0 };
    /// The decision over an operation for what stands on a policy.
    PolicyDecisionMicros "authorization: decision, policy" "us" 3 { at_most: 1.0 };
    /// The same for a principal with roles.
    RolesDecisionMicros "authorization: decision, roles" "us" 3 { at_most: 1.0 };
    /// A request with a shared access signature: token and decision.
    SasRequestMicros "authorization: request, SAS" "us" 2 {};
    /// A request with a bearer token that was seen before: token and decision.
    KnownBearerMicros "authorization: request, known JWT" "us" 2 { at_most: 5.0 };
    /// The check of a bearer token, RS256, that was not seen before.
    Rs256Micros "authorization: new JWT, RS256" "us" 1 {};
    /// The same, ES256.
    Es256Micros "authorization: new JWT, ES256" "us" 1 {};
    /// Start to ready, with a small registry.
    SmallStartMillis "small registry: start to ready" "ms" 1 {};
    /// Start to ready, with a large registry.
    LargeStartMillis "large registry: start to ready" "ms" 1 { at_most: 1_000.0 };
    /// Time of a connect, small registry.
    SmallConnectMillis "small registry: connect, p50" "ms" 3 {};
    /// Time of a connect, large registry.
    LargeConnectMillis "large registry: connect, p50" "ms" 3 {};
    /// How much longer a connect takes with the large registry.
    ConnectGrowthPercent "large by small registry: connect" "% more" 1 { at_most: 10.0 };
    /// Disk space of a device.
    DiskBytes "large registry: disk per device" "bytes" 0 { at_most: 1_024.0 };
}

impl Target {
    /// Whether it is reached; `None` without a target, or when a number that it asks for was not measured.
    pub(crate) fn is_met(self, own: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        let mut met = None;
        for (limit, value, is_upper) in [
            (self.at_most, own, true),
            (self.at_least, own, false),
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
            self.at_least.map(|limit| format!(">= {limit}")),
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
