//! Every link with every kind of credential: who is let in is worked out from the tables of demands and operations.

use std::time::Duration;

use amqp::performative::Role;
use hub::identity::IdentityId;
use hub::limits::Limit;

use super::client::{Bench, Client};
use crate::amqp::LINKS;
use crate::credentials::{self, Credential, identity};
use crate::demand::Demand;

/// Whose links are tried: each kind of login, as a device and as a module.
const IDENTITIES: [&str; 7] = ["d", "d/m", "e", "t", "t/m", "c", "c/m"];

const REFUSED: &str = "amqp:unauthorized-access";

#[tokio::test(start_paused = true)]
async fn every_link_with_every_credential() {
    let bench = Bench::with_one_device(Duration::ZERO).await;
    let credentials = credentials::all(&bench.app).await;
    // All of them come from one address, and most are wrong.
    for limit in [
        Limit::FailedLoginsPerMinuteMax,
        Limit::FailedAuthenticationsPerMinuteMax,
    ] {
        bench.app.limits.set(limit, 1_000_000);
    }
    let (mut wrong, mut tried, mut let_in) = (Vec::new(), 0, 0);
    for link in LINKS {
        for (address, of) in addresses(link.address) {
            for credential in &credentials {
                let expected = credential.meets(link.demand(), of.as_ref());
                let outcome = outcome(&bench, credential, link.peer, &address).await;
                // What nobody may do is refused in words of its own; a reader of a hub without a log finds no partition.
                let is_open = match link.demand() {
                    Demand::Never | Demand::AnyToken => outcome == "attached",
                    _ => outcome != REFUSED,
                };
                tried += 1;
                let_in += u32::from(is_open);
                if is_open != expected {
                    wrong.push(format!(
                        "{} {address} with {}: {outcome}",
                        link.way(),
                        credential.name
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {tried}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(let_in > 0 && let_in < tried / 2, "{let_in} of {tried}");
}

/// The address with its blanks filled in, for each identity whose link it can be.
fn addresses(pattern: &str) -> Vec<(String, Option<IdentityId>)> {
    let is_of_device = pattern.starts_with("/devices/");
    if !is_of_device {
        let address = pattern
            .replace("{event hub}", "hub1")
            .replace("{group}", "$Default")
            .replace("{id}", "0");
        return vec![(address, None)];
    }
    let is_of_module = pattern.contains("{module}");
    let identities = IDENTITIES.map(identity).into_iter();
    identities
        .filter(|identity| identity.module.is_some() == is_of_module)
        .map(|identity| {
            let module = identity.module.as_ref().map_or("", |module| module.as_str());
            let address = pattern
                .replace("{id}", identity.device.as_str())
                .replace("{module}", module);
            (address, Some(identity))
        })
        .collect()
}

/// `attached`, or the condition with which a link was refused, on a connection with one credential.
async fn outcome(bench: &Bench, credential: &Credential, role: Role, address: &str) -> String {
    let mut client: Client = bench.stranger_with(65_536, credential.certificates.clone()).await;
    client.begin(0).await;
    client.attach(0, Role::Sender, "cbs", 90, "$cbs").await;
    client.attach(0, Role::Receiver, "cbs", 91, "$cbs").await;
    client.grant(0, 91, 100).await;
    if let Some(token) = &credential.token {
        client.put("anything", token).await;
    }
    client.attach(0, role, "tried", 1, address).await;
    loop {
        let line = client.line().await;
        let Some((word, rest)) = line.split_once(" 0/1") else {
            assert_ne!(line, "closed", "{address} with {}", credential.name);
            continue;
        };
        match word {
            "attached" => {}
            "detached" => return rest.trim().to_owned(),
            _ => continue,
        }
        // A redirect is told after the link stands; what stands for a while stays.
        let rest = client.all().await;
        let detached = rest.iter().find_map(|line| line.strip_prefix("detached 0/1 "));
        return detached.unwrap_or("attached").to_owned();
    }
}
