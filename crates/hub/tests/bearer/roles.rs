//! What roles give, to whom, and how they are kept.

use hub::access::roles::{Assignee, AssigneeKind, Assignment, Directory, Role};
use hub::access::{Operation, Reason, operation};
use hub::error::Code;
use serde_json::json;

use crate::doubles::World;
use crate::issuer::{Signer, assign, world};

fn may<O: Operation>(world: &World, token: &str) -> bool {
    world.gate.authorize_service::<O>(token, "").is_ok()
}

fn role(json: serde_json::Value) -> Role {
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn roles_come_by_subject_group_and_app_role_of_the_same_issuer() {
    let signer = Signer::p256();
    let (world, published) = world().await;
    published.keys(&[signer.jwk("k")]);
    let token = signer.token(
        "k",
        "ES256",
        &json!({"groups": ["g1", "g2"], "roles": ["Operators"]}),
    );
    world.gate.prepare(&token).await;
    let refused = world
        .gate
        .authorize_service::<operation::ReadTwins>(&token, "")
        .unwrap_err();
    assert_eq!(refused.reason, Reason::PrincipalUnassigned);
    assert_eq!(
        refused.to_peer_on("GET", "/twins/d1").message(),
        "Principal subject is not authorized for GET on /twins/d1 due to no assigned permissions"
    );
    assign(&world, AssigneeKind::Group, "g2", "iot hub twin contributor").await;
    assert!(may::<operation::ReadTwins>(&world, &token) && may::<operation::WriteTwins>(&world, &token));
    assert!(!may::<operation::ReadDevices>(&world, &token));
    // An id means what kind it is of.
    for kind in [AssigneeKind::Subject, AssigneeKind::Group] {
        assign(&world, kind, "Operators", "IoT Hub Owner").await;
    }
    assert!(!may::<operation::Management>(&world, &token));
    assign(
        &world,
        AssigneeKind::AppRole,
        "Operators",
        "IoT Hub Registry Contributor",
    )
    .await;
    assert!(may::<operation::BulkDevices>(&world, &token) && may::<operation::WriteTwins>(&world, &token));
    assert!(!may::<operation::InvokeMethods>(&world, &token));
}

#[tokio::test]
async fn own_roles_change_for_all_who_have_them() {
    let signer = Signer::p256();
    let (world, published) = world().await;
    published.keys(&[signer.jwk("k")]);
    let token = signer.token("k", "ES256", &json!({}));
    world.gate.prepare(&token).await;
    let (directory, proof) = (world.gate.directory().unwrap(), world.operator());
    let night =
        json!({"roleName": "Night shift", "dataActions": ["Microsoft.Devices/IotHubs/directMethods/*"]});
    directory.put_role(&proof, role(night)).await.unwrap();
    let id = assign(&world, AssigneeKind::Subject, "subject", "night SHIFT").await;
    assert_eq!(
        id,
        assign(&world, AssigneeKind::Subject, "subject", "Night shift").await
    );
    assert_eq!(directory.assignments().len(), 1);
    assert!(may::<operation::InvokeMethods>(&world, &token) && !may::<operation::ReadTwins>(&world, &token));
    world.bus.take();
    let other =
        json!({"roleName": "Night shift", "dataActions": ["*"], "notDataActions": ["*/invoke/action"]});
    directory.put_role(&proof, role(other)).await.unwrap();
    assert_eq!(world.bus.take(), ["all of hub1"]);
    assert!(!may::<operation::InvokeMethods>(&world, &token) && may::<operation::ReadTwins>(&world, &token));
    let refused = directory.delete_role(&proof, "night shift").await.unwrap_err();
    assert_eq!(refused.code(), Code::GenericConflict);
    directory.unassign(&proof, &id).await.unwrap();
    assert!(!may::<operation::ReadTwins>(&world, &token));
    directory.delete_role(&proof, "night shift").await.unwrap();
    assert_eq!(
        directory
            .delete_role(&proof, "night shift")
            .await
            .unwrap_err()
            .code(),
        Code::GenericNotFound
    );
}

#[tokio::test]
async fn what_is_stored_is_read_again() {
    let (world, _) = world().await;
    let (directory, proof) = (world.gate.directory().unwrap(), world.operator());
    directory
        .put_role(&proof, role(json!({"roleName": "r", "actions": ["*"]})))
        .await
        .unwrap();
    let id = assign(&world, AssigneeKind::Group, "g", "r").await;
    let name = world.gate.profile().name.clone();
    let again = Directory::open(
        name,
        world.store.clone(),
        world.bus.clone(),
        world.clock.clone(),
        world.limits.clone(),
    )
    .await
    .unwrap();
    assert_eq!(again.assignments(), directory.assignments());
    assert_eq!(again.assignments()[0].0, id);
    assert_eq!(again.roles(), directory.roles());
    let names = |directory: &Directory| {
        let issuers = directory.issuers();
        issuers
            .iter()
            .map(|issuer| issuer.issuer().clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&again), names(directory));
}

#[tokio::test]
async fn nonsense_is_refused() {
    let (world, _) = world().await;
    let (directory, proof) = (world.gate.directory().unwrap(), world.operator());
    let built_in = role(json!({"roleName": "iot hub owner", "dataActions": ["*"]}));
    assert_eq!(
        directory.put_role(&proof, built_in).await.unwrap_err().code(),
        Code::GenericConflict
    );
    let to = |issuer: &str, role: &str| Assignment {
        to: Assignee {
            issuer: issuer.into(),
            kind: AssigneeKind::Subject,
            id: "s".into(),
        },
        role: role.into(),
    };
    for wrong in [to("entra", "nobody's"), to("other", "IoT Hub Owner")] {
        assert_eq!(
            directory.assign(&proof, wrong).await.unwrap_err().code(),
            Code::ArgumentInvalid
        );
    }
    assert_eq!(
        directory.unassign(&proof, "x").await.unwrap_err().code(),
        Code::GenericNotFound
    );
    assert_eq!(
        directory.delete_issuer(&proof, "x").await.unwrap_err().code(),
        Code::GenericNotFound
    );
}
