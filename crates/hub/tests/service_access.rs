//! Who may call the service side (service-rest.md 2.1 and 2.3).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::time::Duration;

use doubles::{HOST, PRIMARY, SECONDARY, World, in_an_hour, key, policy_token, profile, world};
use hub::access::{HubProfile, Operation, Policy, Reason, Rights, operation, sas};
use hub::error::Code;

/// Every default policy against the kinds of operations, as tokens for the whole hub.
#[tokio::test]
async fn the_matrix_of_policies_and_operations() {
    let world = world().await;
    for (policy, read, write, service, statistics, purge) in [
        ("iothubowner", true, true, true, true, true),
        ("service", false, false, true, true, true),
        ("device", false, false, false, false, false),
        ("registryRead", true, false, false, true, false),
        ("registryReadWrite", true, true, false, true, true),
    ] {
        let token = policy_token(&world, HOST, policy);
        let token = token.as_str();
        let allowed = [
            (holds::<operation::ReadDevices>(&world, token), read),
            (holds::<operation::ReadStatistics>(&world, token), read),
            (holds::<operation::ReadHub>(&world, token), read),
            (holds::<operation::ReadConsumerGroups>(&world, token), read),
            (holds::<operation::WriteDevices>(&world, token), write),
            (holds::<operation::DeleteDevices>(&world, token), write),
            (holds::<operation::BulkDevices>(&world, token), write),
            (holds::<operation::WriteConsumerGroups>(&world, token), write),
            (holds::<operation::ReadTwins>(&world, token), service),
            (holds::<operation::WriteTwins>(&world, token), service),
            (holds::<operation::InvokeMethods>(&world, token), service),
            (holds::<operation::SendCommands>(&world, token), service),
            (holds::<operation::ReceiveFeedback>(&world, token), service),
            (
                holds::<operation::ReceiveFileNotifications>(&world, token),
                service,
            ),
            (holds::<operation::ReadUploads>(&world, token), service),
            (holds::<operation::ReadEvents>(&world, token), service),
            (
                holds::<operation::ReadConnectionStatistics>(&world, token),
                statistics,
            ),
            (holds::<operation::PurgeCommands>(&world, token), purge),
            (
                holds::<operation::Management>(&world, token),
                policy == "iothubowner",
            ),
        ];
        assert_eq!(allowed.len(), operation::ALL.len());
        for (index, (holds, expected)) in allowed.into_iter().enumerate() {
            assert_eq!(holds, expected, "{policy}, {index}");
        }
    }
}

fn holds<O: Operation>(world: &World, token: &str) -> bool {
    world.gate.authorize_service::<O>(token, "devices/d1").is_ok()
}

#[tokio::test]
async fn service_tokens_are_bound_to_paths() {
    let world = world().await;
    for (resource, path, expected) in [
        (HOST, "/devices/d1", None),
        (HOST, "", None),
        ("hub1.example.test/devices", "devices", None),
        ("hub1.example.test/devices/d1", "/devices/d1", None),
        ("hub1.example.test/Devices/d1", "/devices/d1/modules/m", None),
        (
            "hub1.example.test/devices/d1",
            "/devices/D1",
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/d1",
            "/devices/d12",
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/d1",
            "/devices",
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices",
            "/statistics/devices",
            Some(Reason::ScopeMismatch),
        ),
        ("other.example.test", "/devices/d1", Some(Reason::HostForeign)),
    ] {
        let token = policy_token(&world, resource, "iothubowner");
        let outcome = world
            .gate
            .authorize_service::<operation::ReadDevices>(&token, path);
        assert_eq!(
            outcome.err().map(|refusal| refusal.reason),
            expected,
            "{resource} {path}"
        );
    }
    let own = sas::create(
        "hub1.example.test/devices/Dev%1",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    for (text, reason) in [
        ("", Reason::CredentialMissing),
        ("Bearer aaa.bbb.ccc", Reason::BearerUnsupported),
        ("aaa.bbb.ccc", Reason::BearerUnsupported),
        ("Basic abc", Reason::TokenMalformed),
        (own.as_str(), Reason::TokenMalformed),
    ] {
        let refusal = world
            .gate
            .authorize_service::<operation::ReadDevices>(text, "devices/d1")
            .unwrap_err();
        assert_eq!(refusal.reason, reason, "{text}");
        assert_eq!(refusal.to_peer().code(), Code::IotHubUnauthorizedAccess);
        assert_eq!(refusal.to_peer().message(), "Unauthorized");
    }
    world.clock.advance(Duration::from_secs(3_600 + 393));
    let late = world
        .gate
        .authorize_service::<operation::ReadDevices>(&policy_token(&world, HOST, "service"), "devices");
    assert_eq!(
        late.unwrap_err().to_string(),
        "token expired 393 s ago by the server's clock"
    );
}

/// service-rest.md 2.1: the vector of the service side, with the policy's key put in place.
#[tokio::test]
async fn the_published_service_vector_is_accepted() {
    let world = world().await;
    let policy = Policy {
        name: "owner".into(),
        rights: Rights::ALL,
        primary: key(SECONDARY),
        secondary: key(PRIMARY),
    };
    world
        .gate
        .policies()
        .put(&world.gate.authorize_operator(), policy)
        .await
        .unwrap();
    world.gate.set_profile(HubProfile {
        hosts: vec![hub::tenancy::HostName::new("hub.example.test")],
        ..profile()
    });
    // The slash of base64 stays unescaped in some clients; the plus sign too.
    let token = "SharedAccessSignature sr=hub.example.test&sig=hJEp5ar+YiEr+foPsPoSzoTPk4v7sNwy5oxU7SkseX4=&se=1900000000&skn=owner";
    let proof = world
        .gate
        .authorize_service::<operation::WriteDevices>(token, "devices/d1")
        .unwrap();
    assert_eq!(proof.actor().to_string(), "policy 'owner'");
    assert_eq!(proof.hub().as_str(), "hub1");
}
