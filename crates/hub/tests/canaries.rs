//! Secrets stay out of everything that is printed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::fmt::Write as _;

use doubles::{DEVICE, HOST, PRIMARY, SECONDARY, device, id, in_an_hour, key, sas_body, world};
use hub::access::{Credential, Usage, operation, sas};
use hub::identity::{Authentication, DeviceJson, Live};

/// No decision, proof, device or policy shows a key when printed for the log.
#[tokio::test]
async fn canaries_never_sing() {
    let world = world().await;
    let read = world.registry.get(&world.operator(), &id(DEVICE)).await.unwrap();
    let policy = world.gate.policies().get("device").unwrap();
    let own = sas::create(
        "hub1.example.test/devices/Dev%1",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let proof = world
        .gate
        .authenticate_device(&device(DEVICE), &Credential::sas(&own), Usage::Connection)
        .await
        .unwrap();
    let grant = world.gate.grant(&own).await.unwrap();
    let mut printed = format!(
        "{read:?} {policy:?} {proof:?} {grant:?} {:?} {:?} {:?} {:?}",
        world.gate.policies(),
        world.draft(&sas_body("enabled"), DEVICE),
        Credential::sas(&own),
        sas::Token::parse(&own, &world.limits).unwrap(),
    );
    // People paste keys and tokens into the wrong places.
    let signature = own.split("sig=").nth(1).unwrap().split('&').next().unwrap();
    for wrong in [
        PRIMARY.to_owned(),
        format!("HostName={HOST};DeviceId=d;SharedAccessKey={PRIMARY}"),
        format!("SharedAccessSignature {PRIMARY}"),
        format!("SharedAccessSignature sr={HOST}&sig={PRIMARY}&se=1"),
        own.replace("se=", "se=x"),
        own.replace(HOST, "elsewhere"),
        own.replace("sr=", "sr=%ff"),
    ] {
        let refusals = [
            world
                .gate
                .authenticate_device(&device(DEVICE), &Credential::sas(&wrong), Usage::Connection)
                .await
                .unwrap_err(),
            world
                .gate
                .authorize_service::<operation::ReadDevices>(&wrong, "devices")
                .unwrap_err(),
            world.gate.grant(&wrong).await.unwrap_err(),
            world.gate.grant_plain("d@sas.hub1", &wrong).await.unwrap_err(),
        ];
        for refusal in refusals {
            write!(printed, "{refusal} {refusal:?} {:?}", refusal.to_peer()).unwrap();
        }
    }
    let Authentication::Sas { primary, .. } = &read.authentication else {
        panic!("{read:?}");
    };
    assert!(
        serde_json::to_string(&DeviceJson::new(&read, &Live::default()))
            .unwrap()
            .contains(primary.expose())
    );
    for secret in [
        PRIMARY,
        SECONDARY,
        policy.primary.expose(),
        policy.secondary.expose(),
        signature,
    ] {
        assert!(!printed.contains(&secret[..12]), "{secret} is in: {printed}");
    }
}
