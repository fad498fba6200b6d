//! What every [`Bus`] must do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hub::bus::{Address, Bus, Inbox, Mail};
use hub::identity::{DeviceId, IdentityId, ModuleId};
use hub::methods::Invocation;
use hub::tenancy::HubName;

/// Runs the whole suite; `make` gives a fresh bus each time.
pub async fn all<B: Bus>(make: impl Fn() -> Arc<B>) {
    the_newest_claim_wins(make()).await;
    an_old_claim_releases_nothing(make()).await;
    a_connection_does_not_displace_itself(make()).await;
    mail_reaches_the_holder_alone(make()).await;
    mail_keeps_its_order(make()).await;
    a_call_that_reaches_nobody_is_dropped(make()).await;
    a_claim_knows_whether_it_missed_mail(make()).await;
    a_broadcast_stays_inside_its_hub(make()).await;
    devices_are_counted_without_modules(make()).await;
    an_inbox_may_call_the_bus(make()).await;
    claims_race_without_loss(make()).await;
}

/// Keeps what it is given.
#[derive(Default)]
struct Letters(Mutex<Vec<(Address, Mail)>>);

impl Letters {
    fn taken(&self) -> Vec<(Address, Mail)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Inbox for Letters {
    fn deliver(&self, to: &Address, mail: Mail) {
        self.0.lock().unwrap().push((to.clone(), mail));
    }
}

fn address(hub: &str, device: &str, module: Option<&str>) -> Address {
    Address {
        hub: HubName::parse(hub).unwrap(),
        identity: IdentityId {
            device: DeviceId::parse(device).unwrap(),
            module: module.map(|module| ModuleId::parse(module).unwrap()),
        },
    }
}

fn peer(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn the_newest_claim_wins(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let (old, new) = (Arc::new(Letters::default()), Arc::new(Letters::default()));
    assert!(!bus.is_held(&device));
    let first = bus.claim(&device, peer(1), old.clone()).await;
    assert!(!first.displaced);
    let second = bus.claim(&device, peer(2), new.clone()).await;
    assert!(second.displaced);
    assert_ne!(first.number, second.number);
    let by = peer(2);
    assert_eq!(old.taken(), [(device.clone(), Mail::Displaced { by })]);
    assert!(new.taken().is_empty());
    assert!(bus.is_held(&device));
}

async fn an_old_claim_releases_nothing(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let first = bus.claim(&device, peer(1), Arc::new(Letters::default())).await;
    let second = bus.claim(&device, peer(1), Arc::new(Letters::default())).await;
    assert!(!bus.release(&device, first));
    assert!(bus.is_held(&device));
    assert!(bus.release(&device, second));
    assert!(!bus.is_held(&device));
    assert!(bus.release(&device, second), "nobody holds it");
    assert_eq!(bus.held_devices(&device.hub), 0);
}

async fn a_connection_does_not_displace_itself(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let inbox = Arc::new(Letters::default());
    let first = bus.claim(&device, peer(1), inbox.clone()).await;
    let second = bus.claim(&device, peer(1), inbox.clone()).await;
    assert!(!second.displaced);
    assert!(inbox.taken().is_empty());
    assert!(!bus.release(&device, first), "the second claim holds it");
}

async fn mail_reaches_the_holder_alone(bus: Arc<impl Bus>) {
    let (device, module) = (address("hub1", "d1", None), address("hub1", "d1", Some("m1")));
    let elsewhere = address("hub2", "d1", None);
    let (inbox, other) = (Arc::new(Letters::default()), Arc::new(Letters::default()));
    let claim = bus.claim(&device, peer(1), inbox.clone()).await;
    bus.claim(&module, peer(1), other.clone()).await;
    assert!(bus.send(&device, Mail::Recheck));
    assert_eq!(inbox.taken(), [(device.clone(), Mail::Recheck)]);
    assert!(other.taken().is_empty());
    assert!(!bus.send(&elsewhere, Mail::Recheck));
    bus.release(&device, claim);
    assert!(!bus.send(&device, Mail::Recheck));
    assert!(inbox.taken().is_empty());
}

async fn mail_keeps_its_order(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let inbox = Arc::new(Letters::default());
    bus.claim(&device, peer(1), inbox.clone()).await;
    let desired = |version| Mail::Desired {
        version,
        document: vec![b'x'; 32_768].into(),
    };
    let mail: Vec<Mail> = (0..100)
        .flat_map(|version| [desired(version), Mail::Commands])
        .collect();
    for letter in &mail {
        assert!(bus.send(&device, letter.clone()));
    }
    let taken: Vec<Mail> = inbox.taken().into_iter().map(|(_, mail)| mail).collect();
    assert_eq!(taken, mail);
}

async fn a_call_that_reaches_nobody_is_dropped(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let inbox = Arc::new(Letters::default());
    let call = || {
        let (invocation, answer) = Invocation::new("m".into(), Vec::new().into());
        (Mail::Method(Arc::new(invocation)), answer)
    };
    let (mail, answer) = call();
    assert!(!bus.send(&device, mail));
    assert!(answer.await.is_err(), "whoever waits for it hears at once");
    let claim = bus.claim(&device, peer(1), inbox.clone()).await;
    let (mail, answer) = call();
    assert!(bus.send(&device, mail));
    bus.release(&device, claim);
    drop(inbox.taken());
    assert!(answer.await.is_err());
}

async fn a_claim_knows_whether_it_missed_mail(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let since = bus.moment(&device);
    let claim = bus.claim(&device, peer(1), Arc::new(Letters::default())).await;
    assert!(!claim.may_have_missed(since), "nothing was sent");
    bus.send(&device, Mail::Recheck);
    bus.release(&device, claim);
    let of_holder = bus.claim(&device, peer(1), Arc::new(Letters::default())).await;
    assert!(of_holder.may_have_missed(since), "an earlier holder got it");
    bus.release(&device, of_holder);

    let since = bus.moment(&device);
    assert!(!bus.send(&device, Mail::Recheck));
    let of_nobody = bus.claim(&device, peer(1), Arc::new(Letters::default())).await;
    assert!(of_nobody.may_have_missed(since), "nobody got it");

    let since = bus.moment(&device);
    bus.broadcast(&device.hub, Mail::Recheck);
    let of_all = bus.claim(&device, peer(1), Arc::new(Letters::default())).await;
    assert!(of_all.may_have_missed(since), "it went to the hub's holders");
}

async fn a_broadcast_stays_inside_its_hub(bus: Arc<impl Bus>) {
    let inbox = Arc::new(Letters::default());
    for n in 0..200 {
        let hub = if n % 2 == 0 { "hub1" } else { "hub2" };
        bus.claim(&address(hub, &format!("d{n}"), None), peer(1), inbox.clone())
            .await;
    }
    bus.claim(&address("hub1", "d0", Some("m")), peer(1), inbox.clone())
        .await;
    let hub1 = HubName::parse("hub1").unwrap();
    assert_eq!(bus.broadcast(&hub1, Mail::Recheck), 101);
    let letters = inbox.taken();
    assert_eq!(letters.len(), 101);
    assert!(letters.iter().all(|(to, _)| to.hub == hub1));
    assert_eq!(bus.broadcast(&HubName::parse("hub3").unwrap(), Mail::Recheck), 0);
}

async fn devices_are_counted_without_modules(bus: Arc<impl Bus>) {
    let hub1 = HubName::parse("hub1").unwrap();
    let inbox = Arc::new(Letters::default());
    let mut claims = Vec::new();
    for n in 0..50 {
        let device = address("hub1", &format!("d{n}"), None);
        claims.push((device.clone(), bus.claim(&device, peer(1), inbox.clone()).await));
        bus.claim(
            &address("hub1", &format!("d{n}"), Some("m")),
            peer(1),
            inbox.clone(),
        )
        .await;
    }
    bus.claim(&address("hub2", "d", None), peer(1), inbox.clone())
        .await;
    assert_eq!(bus.held_devices(&hub1), 50);
    for (device, claim) in claims {
        assert!(bus.release(&device, claim));
    }
    assert_eq!(bus.held_devices(&hub1), 0);
    assert_eq!(bus.held_devices(&HubName::parse("hub2").unwrap()), 1);
}

/// Asks the bus about itself from inside a delivery.
struct Caller<B>(Arc<B>);

impl<B: Bus> Inbox for Caller<B> {
    fn deliver(&self, to: &Address, _: Mail) {
        assert!(self.0.is_held(to));
    }
}

async fn an_inbox_may_call_the_bus(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let inbox = Arc::new(Caller(bus.clone()));
    bus.claim(&device, peer(1), inbox.clone()).await;
    assert!(bus.send(&device, Mail::Recheck));
    assert_eq!(bus.broadcast(&device.hub, Mail::Recheck), 1);
    bus.claim(&device, peer(1), Arc::new(Letters::default())).await;
}

async fn claims_race_without_loss(bus: Arc<impl Bus>) {
    let device = address("hub1", "d1", None);
    let inboxes: Vec<Arc<Letters>> = (0..16).map(|_| Arc::default()).collect();
    let mut tasks = Vec::new();
    for inbox in &inboxes {
        let (bus, device, inbox) = (bus.clone(), device.clone(), inbox.clone());
        tasks.push(tokio::spawn(
            async move { bus.claim(&device, peer(1), inbox).await },
        ));
    }
    let mut claims = Vec::new();
    for task in tasks {
        claims.push(task.await.unwrap());
    }
    assert_eq!(claims.iter().filter(|claim| !claim.displaced).count(), 1);
    let told: usize = inboxes.iter().map(|inbox| inbox.taken().len()).sum();
    assert_eq!(told, 15, "everybody but the last was told");
    let released = claims
        .iter()
        .filter(|claim| bus.release(&device, **claim))
        .count();
    assert!(released >= 1);
    assert!(!bus.is_held(&device));
}
