//! The table of limits: one row is all it takes to add one.

use super::{Definition, UNLIMITED, Unit};

macro_rules! limits {
    ($($variant:ident $name:literal $unit:ident $native:expr, $azure:expr, $meaning:literal;)*) => {
        /// A limit of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit {
            $(#[doc = $meaning] $variant,)*
        }

        impl Limit {
            /// Every limit, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The row of the table.
            pub const fn definition(self) -> &'static Definition {
                match self {
                    $(Self::$variant => {
                        const ROW: Definition = Definition {
                            limit: Limit::$variant,
                            name: $name,
                            unit: Unit::$unit,
                            native: $native,
                            azure: $azure,
                            meaning: $meaning,
                        };
                        &ROW
                    })*
                }
            }

            /// The limit of a configuration key.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

impl Limit {
    /// Configuration key and metric label.
    pub const fn name(self) -> &'static str {
        self.definition().name
    }
}

limits! {
    // Connections.
    UnauthenticatedBytesMax "unauthenticated_bytes_max" Bytes 8_192, None,
        "Bytes that a peer may send before it has proved who it is.";
    UnauthenticatedSecsMax "unauthenticated_secs_max" Seconds 10, None,
        "Seconds that a peer may take before it has proved who it is.";
    HandshakesConcurrentMax "handshakes_concurrent_max" Count 512, None,
        "TLS handshakes under way at one time.";
    ConnectionsMax "connections_max" Count 200_000, None,
        "Open connections of the server.";
    FailedAuthenticationsPerMinuteMax "failed_authentications_per_minute_max" Count 300, None,
        "Failed logins from one address in a minute before single ones leave no records and claims that failed there are refused sooner.";
    FailedLoginsPerMinuteMax "failed_logins_per_minute_max" Count 30, None,
        "Failed logins in the name of one identity or policy from one address in a minute before further ones of the identity are refused unread, and single ones of the policy leave no records.";
    FailedLoginsTrackedMax "failed_logins_tracked_max" Count 65_536, None,
        "Claims whose failed logins are remembered; read at the start.";
    ConnectionOutboundBytesMax "connection_outbound_bytes_max" Bytes 1_048_576, None,
        "Bytes that wait for one peer to read them before it is closed.";
    IdleSecsMax "idle_secs_max" Seconds 240, None,
        "Seconds without a frame or request on a connection that is not MQTT.";
    KeepAliveSecsMax "keep_alive_secs_max" Seconds 1_767, None,
        "Longest silence of an MQTT connection, whatever keep alive it asks for.";
    DrainSecsMax "drain_secs_max" Seconds 20, None,
        "Seconds that open connections are given when the server stops.";

    WebSocketFrameBytesMax "websocket_frame_bytes_max" Bytes 16_777_216, None,
        "Bytes of one frame of a WebSocket, whatever it carries.";
    DeviceRequestBytesMax "device_request_bytes_max" Bytes 524_288, None,
        "Bytes of the body of a device's HTTPS request: a batch of full size in base64, and some air.";

    // MQTT.
    MqttPacketBytesMax "mqtt_packet_bytes_max" Bytes 327_680, None,
        "Bytes of one MQTT packet: a message of full size, its topic and some air.";
    SubscriptionsPerConnectionMax "subscriptions_per_connection_max" Count 5, None,
        "Topic filters that one connection may subscribe to.";
    PublishesInFlightMax "publishes_in_flight_max" Count 256, None,
        "Messages of one connection that wait to become durable before its socket is read on.";

    // AMQP.
    AmqpFrameBytesMax "amqp_frame_bytes_max" Bytes 65_536, None,
        "Bytes of one AMQP frame.";
    AmqpSessionsPerConnectionMax "amqp_sessions_per_connection_max" Count 8_192, None,
        "Sessions of one AMQP connection.";
    AmqpLinksPerConnectionMax "amqp_links_per_connection_max" Count 8_192, None,
        "Links of one AMQP connection.";
    GrantsPerConnectionMax "grants_per_connection_max" Count 4_096, None,
        "Tokens that one AMQP connection may hold.";
    ReceiverBytesMax "receiver_bytes_max" Bytes 1_048_576, None,
        "Bytes read ahead for one telemetry receiver.";
    ReceiversPerPartitionMax "receivers_per_partition_max" Count 5, None,
        "Receivers of one partition in one consumer group.";
    ConsumerGroupsMax "consumer_groups_max" Count 20, None,
        "Consumer groups of a hub, the default one counted.";

    // Telemetry.
    MessageBytesMax "message_bytes_max" Bytes 262_144, None,
        "Bytes of a telemetry message, properties counted, and of a batch.";
    BatchMessagesMax "batch_messages_max" Count 8_192, None,
        "Telemetry messages of one batch.";
    MessagePropertiesMax "message_properties_max" Count 1_000, None,
        "Application properties of one message.";

    // Registry.
    DevicesPerHubMax "devices_per_hub_max" Count UNLIMITED, Some(1_000_000),
        "Devices of a hub.";
    ModulesPerDeviceMax "modules_per_device_max" Count 50, None,
        "Modules of a device, those of the edge runtime not counted.";
    BulkDevicesMax "bulk_devices_max" Count 100, None,
        "Entries of one bulk registry request.";
    ListDevicesMax "list_devices_max" Count 1_000, None,
        "Devices in the answer to a list request.";
    StatusReasonCharsMax "status_reason_chars_max" Count 128, None,
        "Characters of a status reason.";
    ManagedByCharsMax "managed_by_chars_max" Count 128, None,
        "Characters that say who looks after a module.";
    EdgeLevelsMax "edge_levels_max" Count 5, None,
        "Edge devices above one another.";
    WriteAttemptsMax "write_attempts_max" Count 64, None,
        "Attempts of one registry write that meets other writers of the same identity.";
    RegistryBodyBytesMax "registry_body_bytes_max" Bytes 1_048_576, None,
        "Bytes of a registry request.";

    // Twins.
    TagsBytesMax "tags_bytes_max" Bytes 8_192, None,
        "Bytes of the tags of a twin, counted as the service does.";
    TwinPropertiesBytesMax "twin_properties_bytes_max" Bytes 32_768, None,
        "Bytes of the desired, and of the reported, properties of a twin, counted as the service does.";
    TwinBodyBytesMax "twin_body_bytes_max" Bytes 262_144, None,
        "Bytes of a twin document or patch as it is sent.";
    ModelIdBytesMax "model_id_bytes_max" Bytes 2_048, None,
        "Bytes of the model id that a device announces.";
    TwinWatchersMax "twin_watchers_max" Count 1_000, None,
        "Watchers of twins at one time.";

    // Direct methods.
    MethodPayloadBytesMax "method_payload_bytes_max" Bytes 131_072, None,
        "Bytes of the payload of a direct method, each way.";
    MethodsInFlightPerDeviceMax "methods_in_flight_per_device_max" Count 1_000, Some(10),
        "Direct methods under way on one device or module.";

    // Commands.
    CommandBytesMax "command_bytes_max" Bytes 65_536, None,
        "Bytes of a cloud-to-device message, properties counted.";
    CommandsPerQueueMax "commands_per_queue_max" Count 50, None,
        "Cloud-to-device messages that wait for one device or module.";
    CommandDefaultLifeSecs "command_default_life_secs" Seconds 3_600, None,
        "Seconds until a cloud-to-device message expires whose sender did not say.";
    CommandLifeSecsMax "command_life_secs_max" Seconds 172_800, None,
        "Seconds until the expiry that a sender may ask for at most.";
    CommandDeliveriesMax "command_deliveries_max" Count 10, None,
        "Times that a cloud-to-device message is abandoned before it is given up.";
    CommandLockSecs "command_lock_secs" Seconds 60, None,
        "Seconds for which a receiver holds a cloud-to-device message.";
    FeedbackDelaySecs "feedback_delay_secs" Seconds 1, Some(15),
        "Seconds that a feedback record waits for others to share a batch.";
    FeedbackBatchMax "feedback_batch_max" Count 64, None,
        "Records of one feedback batch.";
    FeedbackLifeSecs "feedback_life_secs" Seconds 3_600, None,
        "Seconds until a feedback record expires.";
    FeedbackDeliveriesMax "feedback_deliveries_max" Count 10, None,
        "Times that a feedback batch is abandoned before its records are given up.";
    FeedbackLockSecs "feedback_lock_secs" Seconds 60, None,
        "Seconds for which a receiver holds a feedback batch.";

    // File upload.
    FileUploadsPerDeviceMax "file_uploads_per_device_max" Count 10, None,
        "File uploads under way of one device.";
    FileSasLifeSecs "file_sas_life_secs" Seconds 3_600, None,
        "Seconds for which the address of an upload is valid and its slot is held.";
    FileRequestBytesMax "file_request_bytes_max" Bytes 16_384, None,
        "Bytes of a request that begins or ends a file upload.";
    FileNotificationLifeSecs "file_notification_life_secs" Seconds 3_600, None,
        "Seconds until a file notification expires.";
    FileNotificationLockSecs "file_notification_lock_secs" Seconds 60, None,
        "Seconds for which a receiver holds a file notification.";
    FileNotificationDeliveriesMax "file_notification_deliveries_max" Count 100, None,
        "Times that a file notification is abandoned before it is given up.";
    BlobPutBytesMax "blob_put_bytes_max" Bytes 268_435_456, None,
        "Bytes of a file that is uploaded in one request.";
    BlobBlockBytesMax "blob_block_bytes_max" Bytes 104_857_600, None,
        "Bytes of one block of a file that is uploaded in blocks.";
    BlobBytesMax "blob_bytes_max" Bytes 10_737_418_240, None,
        "Bytes of a file that is uploaded in blocks, and of all its blocks that wait.";
    BlobHubBytesMax "blob_hub_bytes_max" Bytes 107_374_182_400, None,
        "Bytes of all files of a hub that it keeps itself, of their blocks that wait, and of what is under way.";
    BlobBlocksMax "blob_blocks_max" Count 50_000, None,
        "Blocks of one file.";
    BlobBlockListBytesMax "blob_block_list_bytes_max" Bytes 8_388_608, None,
        "Bytes of a request that lists the blocks of a file.";
    BlobStagingSecs "blob_staging_secs" Seconds 86_400, None,
        "Seconds after which blocks that became no file are removed.";

    // Access.
    TokenBytesMax "token_bytes_max" Bytes 4_096, None,
        "Bytes of a shared access signature.";
    SasClockSkewSecs "sas_clock_skew_secs" Seconds 300, None,
        "Seconds after its expiry for which a token is still taken in a new check.";
    SasExpiryGraceSecs "sas_expiry_grace_secs" Seconds 600, None,
        "Seconds after the expiry of its token at which an open connection is ended.";
    BearerTokenBytesMax "bearer_token_bytes_max" Bytes 16_384, None,
        "Bytes of a bearer token.";
    VerifiedTokensMax "verified_tokens_max" Count 4_096, None,
        "Bearer tokens of a hub whose signatures are remembered.";
    IssuersMax "issuers_max" Count 16, None,
        "Issuers of bearer tokens that a hub trusts.";
    IssuerDocumentBytesMax "issuer_document_bytes_max" Bytes 262_144, None,
        "Bytes of a document that an issuer of bearer tokens publishes.";
    IssuerKeysPauseSecs "issuer_keys_pause_secs" Seconds 10, None,
        "Seconds after the keys of an issuer were asked for until they are asked for again, whatever keys tokens name.";
    IssuerKeysFreshSecs "issuer_keys_fresh_secs" Seconds 3_600, None,
        "Seconds after which the keys of an issuer are read again when a token comes.";
    IssuerKeysSecsMax "issuer_keys_secs_max" Seconds 86_400, None,
        "Seconds for which the keys of an issuer count that cannot be read again.";
    RolesMax "roles_max" Count 256, None,
        "Roles of a hub, the built-in ones not counted.";
    AssignmentsMax "assignments_max" Count 4_096, None,
        "Role assignments of a hub.";
    PoliciesMax "policies_max" Count 16, None,
        "Shared access policies of a hub.";
    ServicePoliciesMax "service_policies_max" Count 10, None,
        "Shared access policies of a hub that hold the right `ServiceConnect`.";
    AuthoritiesMax "authorities_max" Count 25, None,
        "CA certificates of a hub.";
    CertificateBytesMax "certificate_bytes_max" Bytes 16_384, None,
        "Bytes of one certificate that is uploaded.";

    // The hub as a resource.
    HubTagsMax "hub_tags_max" Count 50, None,
        "Tags of a hub.";
    HubDescriptionBytesMax "hub_description_bytes_max" Bytes 65_536, None,
        "Bytes of the tags of a hub and of the comment on it.";
    // Network.
    NetworkRulesMax "network_rules_max" Count 100, None,
        "Network rules of a hub.";

    // Revocation.
    RevocationBlocksMax "revocation_blocks_max" Count 100_000, None,
        "Entries of the block list of a hub.";
    RevocationListsMax "revocation_lists_max" Count 64, None,
        "Revocation lists of a hub.";
    RevocationListBytesMax "revocation_list_bytes_max" Bytes 67_108_864, None,
        "Bytes of one revocation list.";
    RevocationListEntriesMax "revocation_list_entries_max" Count 2_000_000, None,
        "Entries of one revocation list: they take 13 to 25 bytes of memory each.";
    OcspRespondersMax "ocsp_responders_max" Count 64, None,
        "OCSP responders of a hub.";
    OcspAnswersMax "ocsp_answers_max" Count 100_000, None,
        "Answers of one OCSP responder that are kept beyond those that open connections stand on; each takes about 400 bytes.";
    OcspAnswerBytesMax "ocsp_answer_bytes_max" Bytes 32_768, None,
        "Bytes of one answer of an OCSP responder.";
    OcspPatienceSecs "ocsp_patience_secs" Seconds 4, None,
        "Seconds for which a login waits for an OCSP responder.";

    // Audit trail.
    AuditEntriesMax "audit_entries_max" Count 1_000_000, None,
        "Entries of the audit trail of a hub; the oldest ones go, a thousand at a time.";
    AuditAgeSecsMax "audit_age_secs_max" Seconds 34_560_000, None,
        "Seconds for which entries of the audit trail are kept; those over age go once a day.";

    // Advice.
    AdviseKeyAgeSecs "advise_key_age_secs" Seconds 7_776_000, None,
        "Seconds after which a key that was not changed is advised about.";
    AdviseIdleSecs "advise_idle_secs" Seconds 7_776_000, None,
        "Seconds after which a device that was not heard of, or a policy that was not used, is advised about.";
    AdviseExpirySecs "advise_expiry_secs" Seconds 2_592_000, None,
        "Seconds before its expiry from which a certificate is advised about.";
    AdviseTokenLifeSecs "advise_token_life_secs" Seconds 2_592_000, None,
        "Seconds for which a token may be good at a login without being advised about.";
    AdviseKeysMax "advise_keys_max" Count 4_000_000, None,
        "Keys that are compared with each other by one survey; each takes 8 bytes while it runs.";

    // Records.
    RecordsKeptMax "records_kept_max" Count 4_096, None,
        "Records of refused and closed connections that are kept.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_complete_and_names_unique() {
        for limit in Limit::ALL {
            let row = limit.definition();
            assert_eq!(row.limit, *limit);
            assert_eq!(Limit::from_name(row.name), Some(*limit));
            assert!(row.meaning.ends_with('.'), "{}", row.name);
            assert!(
                row.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{}",
                row.name
            );
            assert_ne!(
                row.azure,
                Some(row.native),
                "{} states a difference that is none",
                row.name
            );
            let unit_shown = match row.unit {
                Unit::Bytes => row.name.contains("bytes"),
                Unit::Seconds => row.name.contains("secs"),
                Unit::Count => !row.name.contains("bytes") && !row.name.contains("secs"),
            };
            assert!(unit_shown, "{}", row.name);
        }
        assert_eq!(Limit::from_name("nope"), None);
    }
}
