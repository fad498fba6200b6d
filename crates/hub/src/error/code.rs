//! The one table of numeric error codes (service-rest.md 15.2). The HTTP status is the first three digits; official clients
//! compare name and number, so both are wire truth. Codes that no hub of ours can ever send are left out.

use std::fmt;

macro_rules! codes {
    ($($number:literal $name:ident $meaning:literal;)*) => {
        /// A numeric error code of the service, by its wire name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Code {
            $(#[doc = $meaning] $name = $number,)*
        }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name, as in the header `iothub-errorcode` and in `ErrorCode:{name};`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// The code of a number.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    400_000 GenericBadRequest "The request cannot be understood.";
    400_001 InvalidProtocolVersion "The api-version is missing or unknown.";
    400_002 DeviceInvalidResultCount "The number of results asked for is out of range.";
    400_003 InvalidOperation "The operation does not fit the state of the resource.";
    400_004 ArgumentInvalid "An argument is not valid.";
    400_005 ArgumentNull "A required field is missing.";
    400_006 IotHubFormatError "A body or an id is malformed.";
    400_007 DeviceStorageEntitySerializationError "An identity cannot be stored in the form given.";
    400_008 BlobContainerValidationError "The container of an import or export cannot be used.";
    400_009 ImportWarningExistsError "An import ended with warnings.";
    400_010 InvalidSchemaVersion "The schema version is unknown.";
    400_011 DeviceDefinedMultipleTimes "A bulk request names an identity twice.";
    400_012 DeserializationError "The body is not the JSON that the operation expects.";
    400_013 BulkRegistryOperationFailure "Entries of a bulk request failed.";
    400_014 DefaultStorageEndpointNotConfigured "File upload has no storage configured.";
    400_015 InvalidFileUploadCorrelationId "The correlation id of a file upload is unknown.";
    400_016 ExpiredFileUploadCorrelationId "The correlation id of a file upload has expired.";
    400_017 InvalidStorageEndpoint "A storage endpoint is not valid.";
    400_018 InvalidMessagingEndpoint "A messaging endpoint is not valid.";
    400_019 InvalidFileUploadCompletionStatus "The completion status of a file upload is not valid.";
    400_020 InvalidStorageEndpointOrBlob "A storage endpoint or blob is not valid.";
    400_021 RequestCanceled "The request was canceled.";
    400_022 InvalidStorageEndpointProperty "A property of a storage endpoint is not valid.";
    400_023 EtagDoesNotMatch "The etag in the body does not match.";
    400_024 RequestTimedOut "The request took too long to arrive.";
    400_025 UnsupportedOperationOnReplica "A replica does not offer the operation.";
    400_026 NullMessage "A message is missing.";
    400_027 ConnectionForcefullyClosedOnNewConnection "A newer connection of the same identity took over.";
    400_028 InvalidDeviceScope "The device scope names no edge device.";
    400_031 InvalidEndpointAuthenticationType "The authentication type of an endpoint is not valid.";
    400_032 ManagedIdentityNotEnabled "The hub has no managed identity.";
    400_035 InvalidPolicyKey "The key to regenerate is neither primary, secondary nor both.";
    400_036 BulkRegenerateDeviceKeyOperationFailure "Keys of some identities could not be regenerated.";
    400_053 ProofOfPossessionFailed "The certificate does not prove that its maker holds the key of the CA.";
    400_100 InvalidRouteTestInput "The input of a route test is not valid.";
    400_101 InvalidSourceOnRoute "The source of a route is not valid.";
    400_102 RoutingNotEnabled "Routing is not enabled.";
    400_103 InvalidContentEncodingOrType "Content encoding or type do not allow the body to be queried.";
    400_301 CannotRegisterModuleToModule "A module cannot have modules.";
    400_302 TenantHubRoutingNotEnabled "Routing is not enabled for this hub.";
    400_401 InvalidConfigurationTargetCondition "The target condition of a configuration is not valid.";
    400_402 InvalidConfigurationContent "The content of a configuration is not valid.";
    400_403 CannotModifyImmutableConfigurationContent "The content of a configuration cannot be changed.";
    400_404 InvalidConfigurationCustomMetricsQuery "A metrics query of a configuration is not valid.";
    400_501 InvalidPnPInterfaceDefinition "An interface definition is not valid.";
    400_502 InvalidPnPDesiredProperties "Desired properties do not fit their interface.";
    400_503 InvalidPnPReportedProperties "Reported properties do not fit their interface.";
    400_504 InvalidPnPWritableReportedProperties "Acknowledged properties do not fit their interface.";
    400_505 InvalidDigitalTwinJsonPatch "The body is not a JSON patch.";
    400_506 InvalidDigitalTwinPayload "The payload of a digital twin call is not valid.";
    400_507 InvalidDigitalTwinPatch "The patch cannot be applied to the digital twin.";
    400_508 InvalidDigitalTwinPatchPath "A path of the patch is not valid.";
    401_000 GenericUnauthorized "The caller is not authorised.";
    401_001 IotHubNotFound "The hub is unknown.";
    401_002 IotHubUnauthorizedAccess "The credential is missing, wrong, expired, or lacks the right.";
    401_003 IotHubUnauthorized "The credential of a connection is no longer valid.";
    401_004 ElasticPoolNotFound "The pool is unknown.";
    401_100 SystemModuleModifyUnauthorizedAccess "System modules are written by the hub alone.";
    403_000 GenericForbidden "The operation is forbidden.";
    403_001 IotHubSuspended "The hub is suspended.";
    403_002 IotHubQuotaExceeded "The quota of the hub is used up.";
    403_003 JobQuotaExceeded "Too many import or export jobs.";
    403_004 DeviceMaximumQueueDepthExceeded "The command queue of the device is full.";
    403_005 IotHubMaxCbsTokenExceeded "A connection presented too many tokens.";
    403_006 DeviceMaximumActiveFileUploadLimitExceeded "The device has too many file uploads under way.";
    403_007 DeviceMaximumQueueSizeExceeded "The command queue of the device holds too many bytes.";
    403_008 RoutingEndpointResponseForbidden "A routing endpoint refused the hub.";
    403_009 InvalidMessageExpiryTime "The expiry of a message is not valid.";
    403_010 OperationNotAvailableInCurrentTier "The tier of the hub does not include the operation.";
    403_011 KeyEncryptionKeyRevoked "The key that encrypts the hub's data was revoked.";
    403_012 DeviceDisabled "The device is disabled.";
    403_100 DeviceModelMaxPropertiesExceeded "A section of the twin is over its size.";
    403_101 DeviceModelMaxIndexablePropertiesExceeded "The twin has too many indexed properties.";
    403_800 DeviceMaximumInflightMethodExceeded "The device has too many direct methods under way.";
    404_000 GenericNotFound "The path is unknown.";
    404_001 DeviceNotFound "The device is not registered, or disabled where a device asks.";
    404_002 JobNotFound "The job is unknown.";
    404_004 QuotaMetricNotFound "The quota metric is unknown.";
    404_005 SystemPropertyNotFound "The system property is unknown.";
    404_006 AmqpAddressNotFound "The AMQP address is unknown.";
    404_007 RoutingEndpointResponseNotFound "A routing endpoint answered that it does not know the resource.";
    404_008 CertificateNotFound "The certificate is unknown.";
    404_009 ElasticPoolTenantHubNotFound "The hub of the pool is unknown.";
    404_010 ModuleNotFound "The module is not registered.";
    404_011 AzureTableStoreNotFound "The table store is unknown.";
    404_012 IotHubFailingOver "The hub is moving to another place.";
    404_013 FeatureNotSupported "The hub does not offer the feature.";
    404_014 DigitalTwinInterfaceNotFound "The interface of the digital twin is unknown.";
    404_101 QueryStoreClusterNotFound "The query store is unknown.";
    404_103 DeviceNotOnline "The device is not connected.";
    404_104 DeviceConnectionClosedRemotely "The device's connection was closed.";
    404_301 ConfigurationNotFound "The configuration is unknown.";
    404_302 GroupNotFound "The group is unknown.";
    404_401 DigitalTwinModelNotFound "The model of the digital twin is unknown.";
    404_402 InterfaceNameModelNotFound "The model of the interface is unknown.";
    405_000 GenericMethodNotAllowed "The path does not offer the method.";
    405_102 OperationNotAllowedInCurrentState "The state of the resource does not allow the operation.";
    405_103 ImportDevicesNotSupported "The hub does not import devices.";
    405_104 BulkAddDevicesNotSupported "The hub does not add devices in bulk.";
    409_000 GenericConflict "The operation conflicts with another.";
    409_001 DeviceAlreadyExists "A device of this id exists.";
    409_002 LinkCreationConflict "A link of this name or role exists.";
    409_003 CallbackSubscriptionConflict "A subscription of this kind exists.";
    409_101 ModelAlreadyExists "A model of this id exists.";
    409_102 DeviceLocked "The device is locked by another operation.";
    409_103 DeviceJobAlreadyExists "The device has a job of this id.";
    409_104 JobAlreadyExists "A job of this id exists.";
    409_301 ModuleAlreadyExistsOnDevice "A module of this id exists on the device.";
    409_401 ConfigurationAlreadyExists "A configuration of this id exists.";
    409_402 ApplyConfigurationAlreadyInProgressOnDevice "A configuration is being applied to the device.";
    412_000 GenericPreconditionFailed "A condition of the request does not hold.";
    412_001 PreconditionFailed "The resource has another etag than the request names.";
    412_002 DeviceMessageLockLost "The lock of the message is gone.";
    412_003 JobRunPreconditionFailed "The job cannot run as things stand.";
    412_004 InflightMessagesInLink "The link has messages under way.";
    413_000 GenericRequestEntityTooLarge "The body is too large.";
    413_001 MessageTooLarge "The message is too large.";
    413_002 TooManyDevices "A bulk request names too many identities.";
    413_003 TooManyModulesOnDevice "The device has too many modules.";
    413_101 ConfigurationCountLimitExceeded "The hub has too many configurations.";
    415_000 GenericUnsupportedMediaType "The media type is not supported.";
    415_101 IncompatibleDataType "The data type does not fit.";
    429_000 GenericTooManyRequests "Too many requests.";
    429_001 ThrottlingException "The operation is throttled.";
    429_002 ThrottleBacklogLimitExceeded "Too many throttled operations wait.";
    429_003 ThrottlingBacklogTimeout "A throttled operation waited too long.";
    429_004 ThrottlingMaxActiveJobCountExceeded "Too many jobs run.";
    429_005 DeviceThrottlingLimitExceeded "The device is throttled.";
    499_000 ClientClosedRequest "The client went away before the answer.";
    500_001 ServerError "The hub failed.";
    500_002 JobCancelled "The job was canceled.";
    500_008 GenericTimeout "The hub took too long.";
    500_009 InvalidThrottleParameter "A throttle is configured wrongly.";
    502_000 GenericBadGateway "The device's answer is not valid.";
    503_000 GenericServiceUnavailable "The hub is not available.";
    503_001 ServiceUnavailable "The hub cannot do this at the moment.";
    503_003 PartitionNotFound "The partition is unknown.";
    503_004 IotHubActivationFailed "The hub could not be activated.";
    503_005 ServerBusy "The hub is busy.";
    503_006 IotHubRestoring "The hub is being restored.";
    503_008 ReceiveLinkOpensThrottled "Receivers are opened too fast.";
    503_101 ConnectionUnavailable "The connection cannot be used.";
    503_102 DeviceUnavailable "The device cannot be reached.";
    504_000 GenericGatewayTimeout "Nothing answered in time.";
    504_101 GatewayTimeout "The device did not answer in time.";
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The HTTP status: the first three digits.
    pub const fn status(self) -> u16 {
        // Every number has six digits, so the quotient fits.
        #[allow(clippy::cast_possible_truncation, reason = "at most 999")]
        let status = (self.number() / 1_000) as u16;
        status
    }
}

/// Name and number, for people.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_read_back() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(code.meaning().ends_with('.'), "{code}");
        }
        assert_eq!(Code::from_number(400_029), None, "fault injection is never sent");
    }

    #[test]
    fn known_rows() {
        assert_eq!(Code::IotHubUnauthorizedAccess.number(), 401_002);
        assert_eq!(Code::DeviceAlreadyExists.status(), 409);
        assert_eq!(Code::DeviceNotOnline.to_string(), "DeviceNotOnline (404103)");
    }
}
