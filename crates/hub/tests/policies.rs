//! The policies of a hub (service-rest.md 2.1).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::sync::Arc;

use doubles::World;
use hub::access::{Policies, Policy, Rights};
use hub::entropy::SystemEntropy;
use hub::error::Code;
use hub::limits::Limit;
use hub::store::{Store, StoreError};
use hub::tenancy::HubName;

fn policy(name: &str, rights: Rights) -> Policy {
    Policy::generate(name, rights, &SystemEntropy).unwrap()
}

#[tokio::test]
async fn a_new_hub_has_five_policies_with_keys_of_their_own() {
    let world = World::new().await;
    let policies = world.gate.policies().list();
    let shown: Vec<String> = policies
        .iter()
        .map(|policy| format!("{}: {}", policy.name, policy.rights))
        .collect();
    assert_eq!(
        shown,
        [
            "device: DeviceConnect",
            "iothubowner: RegistryWrite, ServiceConnect, DeviceConnect",
            "registryRead: RegistryRead",
            "registryReadWrite: RegistryWrite",
            "service: ServiceConnect",
        ]
    );
    let keys = policies
        .iter()
        .flat_map(|policy| [policy.primary.expose(), policy.secondary.expose()]);
    assert_eq!(keys.collect::<std::collections::HashSet<_>>().len(), 10);
    // Another hub's creation must not replace them.
    let again = Policies::of_new_hub(&HubName::parse("hub1").unwrap(), &world.vault, &SystemEntropy).unwrap();
    assert!(world.store.apply(again).await.is_err());
}

#[tokio::test]
async fn changes_are_stored_before_they_hold() {
    let world = World::new().await;
    let policies = world.gate.policies();
    let manage = world.gate.authorize_operator();
    policies
        .put(&manage, policy("mine", Rights::REGISTRY_READ))
        .await
        .unwrap();
    policies.delete(&manage, "device").await.unwrap();
    assert_eq!(
        policies.delete(&manage, "device").await.unwrap_err().code(),
        Code::GenericNotFound
    );
    let name = HubName::parse("hub1").unwrap();
    let reopened = Policies::open(
        name,
        world.store.clone(),
        world.vault.clone(),
        world.bus.clone(),
        Arc::clone(&world.limits),
    );
    let reopened = reopened.await.unwrap();
    assert!(reopened.get("device").is_none());
    assert!(reopened.get("Mine").is_none(), "names are case-sensitive");
    assert!(
        reopened
            .get("mine")
            .unwrap()
            .primary
            .is_same(&policies.get("mine").unwrap().primary)
    );

    world.bus.take();
    world.store.fail(Some(StoreError::Stopped("sync".into())));
    assert!(policies.put(&manage, policy("late", Rights::NONE)).await.is_err());
    assert!(policies.delete(&manage, "mine").await.is_err());
    assert!(policies.get("late").is_none() && policies.get("mine").is_some());
    assert!(world.bus.take().is_empty());
}

#[tokio::test]
async fn their_number_is_limited() {
    let world = World::new().await;
    let policies = world.gate.policies();
    let manage = world.gate.authorize_operator();
    for number in 2..10 {
        policies
            .put(&manage, policy(&format!("s{number}"), Rights::SERVICE_CONNECT))
            .await
            .unwrap();
    }
    let error = policies
        .put(&manage, policy("s10", Rights::SERVICE_CONNECT))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::GenericConflict);
    assert_eq!(world.limits.hits(Limit::ServicePoliciesMax), 1);
    policies
        .put(&manage, policy("s2", Rights::SERVICE_CONNECT))
        .await
        .unwrap();
    for number in 13..16 {
        policies
            .put(&manage, policy(&format!("r{number}"), Rights::REGISTRY_READ))
            .await
            .unwrap();
    }
    let error = policies
        .put(&manage, policy("r16", Rights::REGISTRY_READ))
        .await
        .unwrap_err();
    assert!(error.message().contains("policies_max"), "{error}");
    assert_eq!(policies.list().len(), 16);
}

#[tokio::test]
async fn a_proof_of_another_hub_is_worth_nothing() {
    let world = World::new().await;
    let other = World::with_profile(hub::access::HubProfile {
        name: HubName::parse("hub2").unwrap(),
        ..doubles::profile()
    })
    .await;
    let foreign = other.gate.authorize_operator();
    let policies = world.gate.policies();
    assert_eq!(
        policies.delete(&foreign, "device").await.unwrap_err().code(),
        Code::ServerError
    );
    assert!(policies.put(&foreign, policy("x", Rights::ALL)).await.is_err());
    assert_eq!(policies.list().len(), 5);
}
