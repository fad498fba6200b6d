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
use hub::access::{Policies, Policy, Rights, Rotation};
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
        world.clock.clone(),
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

#[tokio::test]
async fn the_last_policy_with_all_rights_goes_only_on_purpose() {
    let world = World::new().await;
    let policies = world.gate.policies();
    let manage = world.gate.authorize_operator();
    let weaker = policy("iothubowner", Rights::SERVICE_CONNECT);
    for error in [
        policies.delete(&manage, "iothubowner").await.unwrap_err(),
        policies.put(&manage, weaker).await.unwrap_err(),
        policies.replace(&manage, Vec::new(), None).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::InvalidOperation);
    }
    policies.put(&manage, policy("other", Rights::ALL)).await.unwrap();
    policies.delete(&manage, "iothubowner").await.unwrap();
    assert!(policies.delete(&manage, "other").await.is_err());
    policies.delete_also_last_owner(&manage, "other").await.unwrap();
    // A hub without one is not kept from other changes.
    policies.delete(&manage, "device").await.unwrap();
}

#[tokio::test]
async fn keys_rotate_one_at_a_time() {
    let world = World::new().await;
    let policies = world.gate.policies();
    let manage = world.gate.authorize_operator();
    let before = policies.get("service").unwrap();
    let rotate = async |rotation| {
        policies
            .rotate(&manage, "service", rotation, &SystemEntropy)
            .await
            .unwrap()
    };
    let swapped = rotate(Rotation::Swap).await;
    assert!(swapped.primary.is_same(&before.secondary) && swapped.secondary.is_same(&before.primary));
    let first = rotate(Rotation::Primary).await;
    assert!(!first.primary.is_same(&swapped.primary) && first.secondary.is_same(&before.primary));
    let second = rotate(Rotation::Secondary).await;
    assert!(second.primary.is_same(&first.primary) && !second.secondary.is_same(&before.primary));
    assert_eq!(second.rights, Rights::SERVICE_CONNECT);
    let unknown = policies
        .rotate(&manage, "nobody", Rotation::Swap, &SystemEntropy)
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::GenericNotFound);
}

#[tokio::test]
async fn all_are_replaced_at_once_or_none() {
    let world = World::new().await;
    let policies = world.gate.policies();
    let manage = world.gate.authorize_operator();
    let revision = policies.revision();
    let owner = Policy::clone(&policies.get("iothubowner").unwrap());
    let twice = vec![owner.clone(), owner.clone()];
    let error = policies.replace(&manage, twice, None).await.unwrap_err();
    assert_eq!(error.code(), Code::ArgumentInvalid);
    assert_eq!(
        (policies.list().len(), policies.revision()),
        (5, revision.clone())
    );

    let new = vec![owner, policy("mine", Rights::REGISTRY_READ)];
    policies
        .replace(&manage, new.clone(), Some(&revision))
        .await
        .unwrap();
    let names: Vec<String> = policies
        .list()
        .iter()
        .map(|policy| policy.name.to_string())
        .collect();
    assert_eq!(names, ["iothubowner", "mine"]);
    assert_ne!(policies.revision(), revision);
    let stale = policies.replace(&manage, new, Some(&revision)).await.unwrap_err();
    assert_eq!(stale.code(), Code::PreconditionFailed);
    // What is read again has the same revision, and the same policies.
    let reopened = Policies::open(
        HubName::parse("hub1").unwrap(),
        world.store.clone(),
        world.vault.clone(),
        world.bus.clone(),
        world.clock.clone(),
        Arc::clone(&world.limits),
    );
    let reopened = reopened.await.unwrap();
    assert_eq!(reopened.revision(), policies.revision());
    assert_eq!(reopened.list().len(), 2);

    let again = policy("mine", Rights::REGISTRY_READ);
    let error = policies.create(&manage, again).await.unwrap_err();
    assert_eq!(error.code(), Code::GenericConflict);
}
