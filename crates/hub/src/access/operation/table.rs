//! The rows.

use super::super::rights::Rights;
use super::Action::{self, Control, Data};
use super::{Definition, Operation, sealed};

macro_rules! operations {
    ($($name:ident [$($rights:ident)+] $action:expr, $specification:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl sealed::Sealed for $name {}

            impl Operation for $name {
                const DEFINITION: &'static Definition = &Definition {
                    name: stringify!($name),
                    meaning: $meaning,
                    policies: &[$(Rights::$rights),+],
                    action: $action,
                    specification: $specification,
                    index: Place::$name as u8,
                };
            }
        )*

        /// The order of the rows.
        enum Place { $($name,)* }

        /// Every operation, in the order of the table.
        pub const ALL: &[&Definition] = &[$($name::DEFINITION,)*];
    };
}

operations! {
    // The registry.
    ReadDevices [REGISTRY_READ] Data(&["devices/read"]), "service-rest.md 2.3",
        "Read devices and modules, with their keys.";
    WriteDevices [REGISTRY_WRITE] Data(&["devices/write"]), "service-rest.md 2.3",
        "Create and change devices and modules.";
    DeleteDevices [REGISTRY_WRITE] Data(&["devices/delete"]), "service-rest.md 2.3",
        "Delete devices and modules.";
    BulkDevices [REGISTRY_WRITE] Data(&["devices/write", "devices/delete"]), "service-rest.md 2.3",
        "Create, change and delete many devices with one request.";
    ReadStatistics [REGISTRY_READ] Data(&["statistics/read"]), "service-rest.md 2.3",
        "Count the registered devices.";
    ReadConnectionStatistics [REGISTRY_READ SERVICE_CONNECT] Data(&["statistics/read"]), "service-rest.md 2.3",
        "Count the connected devices.";
    // Twins and methods.
    ReadTwins [SERVICE_CONNECT] Data(&["twins/read"]), "service-rest.md 2.3",
        "Read twins, and watch their changes.";
    WriteTwins [SERVICE_CONNECT] Data(&["twins/write"]), "service-rest.md 2.3",
        "Change tags and desired properties of twins.";
    InvokeMethods [SERVICE_CONNECT] Data(&["directMethods/invoke/action"]), "service-rest.md 2.3",
        "Call direct methods.";
    // Commands and what comes of them.
    SendCommands [SERVICE_CONNECT] Data(&["cloudToDeviceMessages/send/action"]), "service-rest.md 2.2",
        "Send commands to devices and modules.";
    PurgeCommands [SERVICE_CONNECT REGISTRY_WRITE] Data(&["cloudToDeviceMessages/queue/purge/action"]), "service-rest.md 2.3",
        "Remove the commands that wait for a device or module.";
    ReceiveFeedback [SERVICE_CONNECT] Data(&["cloudToDeviceMessages/feedback/action"]), "service-rest.md 2.3",
        "Receive and settle feedback about commands.";
    ReceiveFileNotifications [SERVICE_CONNECT] Data(&["fileUpload/notifications/action"]), "service-rest.md 2.2",
        "Receive and settle notifications of uploaded files.";
    // What devices sent. With Azure, files are guarded by their storage account, and no role opens the built-in endpoint.
    ReadUploads [SERVICE_CONNECT] Action::None, "docs/file-upload.md",
        "Read and delete uploaded files.";
    ReadEvents [SERVICE_CONNECT] Action::None, "service-rest.md 2.2",
        "Read the built-in endpoint.";
    // The hub itself. With Azure these are paths of the management plane.
    ReadHub [REGISTRY_READ] Control(&["read"]), "service-rest.md 16.2",
        "Read the hub's state and its records of connections.";
    ReadConsumerGroups [REGISTRY_READ] Control(&["eventHubEndpoints/consumerGroups/read"]), "service-rest.md 16.2",
        "List consumer groups.";
    WriteConsumerGroups [REGISTRY_WRITE] Control(&[
            "eventHubEndpoints/consumerGroups/write",
            "eventHubEndpoints/consumerGroups/delete",
        ]), "service-rest.md 16.2",
        "Create and delete consumer groups.";
    // A policy that may do everything else may do this too, as its holder could not be kept from anything by refusing it.
    Management [ALL] Control(&["write", "delete", "listkeys/action"]), "service-rest.md 16.2",
        "Change the hub itself: its policies, authorities, roles and settings.";
}
