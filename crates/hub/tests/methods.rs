//! Direct methods in virtual time: who is called, how long callers wait, and what they are told.

#![allow(clippy::unwrap_used, reason = "tests")]

mod doubles;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hub::BoxFuture;
use hub::access::{Authorized, operation};
use hub::bus::{Address, Bus, Claim, Inbox, Mail, Moment};
use hub::error::{Code, Error};
use hub::identity::{IdentityId, ModuleId};
use hub::methods::{Invocation, MethodAnswer, MethodCall, Methods, Undelivered};
use hub::tenancy::HubName;
use tokio::time::{Instant, sleep};

use doubles::{DEVICE, World, device, id, world};

/// Who holds what, in a map.
#[derive(Default)]
struct Holders(Mutex<HashMap<Address, Arc<dyn Inbox>>>);

impl Bus for Holders {
    fn moment(&self, _: &Address) -> Moment {
        Moment(0)
    }

    fn claim<'a>(
        &'a self,
        address: &'a Address,
        _: SocketAddr,
        inbox: Arc<dyn Inbox>,
    ) -> BoxFuture<'a, Claim> {
        self.0.lock().unwrap().insert(address.clone(), inbox);
        Box::pin(async {
            Claim {
                number: 1,
                displaced: false,
                moment: Moment(0),
            }
        })
    }

    fn release(&self, address: &Address, _: Claim) -> bool {
        self.0.lock().unwrap().remove(address).is_some()
    }

    fn send(&self, address: &Address, mail: Mail) -> bool {
        let inbox = self.0.lock().unwrap().get(address).cloned();
        inbox.map(|inbox| inbox.deliver(address, mail)).is_some()
    }

    fn broadcast(&self, _: &HubName, _: Mail) -> usize {
        0
    }

    fn is_held(&self, address: &Address) -> bool {
        self.0.lock().unwrap().contains_key(address)
    }

    fn held_devices(&self, _: &HubName) -> usize {
        0
    }
}

/// A connection that does with a call what the test says.
struct Line(Box<dyn Fn(Arc<Invocation>) + Send + Sync>);

impl Inbox for Line {
    fn deliver(&self, _: &Address, mail: Mail) {
        if let Mail::Method(invocation) = mail {
            (self.0)(invocation);
        }
    }
}

struct Bench {
    bus: Arc<Holders>,
    methods: Arc<Methods>,
    right: Authorized<operation::InvokeMethods>,
    address: Address,
}

impl Bench {
    async fn new() -> Self {
        let World { store, gate, .. } = world().await;
        let bus = Arc::new(Holders::default());
        Self {
            methods: Arc::new(Methods::new(store, bus.clone())),
            bus,
            right: gate.authorize_operator(),
            address: Address {
                hub: HubName::parse("hub1").unwrap(),
                identity: device(DEVICE),
            },
        }
    }

    async fn connect(&self, line: impl Fn(Arc<Invocation>) + Send + Sync + 'static) {
        self.bus
            .claim(
                &self.address,
                "10.0.0.1:1".parse().unwrap(),
                Arc::new(Line(Box::new(line))),
            )
            .await;
    }

    async fn call(&self, to: &IdentityId, response: u64, connect: u64) -> Result<MethodAnswer, Error> {
        let call = MethodCall {
            name: "m".into(),
            payload: Bytes::from_static(b"null"),
            response_timeout: Duration::from_secs(response),
            connect_timeout: Duration::from_secs(connect),
        };
        self.methods.invoke(&self.right, to, call).await
    }

    /// A call of the device: its outcome and the seconds that it took.
    async fn timed(&self, response: u64, connect: u64) -> (Result<MethodAnswer, Code>, u64) {
        let start = Instant::now();
        let result = self.call(&self.address.identity, response, connect).await;
        (result.map_err(|error| error.code()), start.elapsed().as_secs())
    }
}

fn answer(status: i64) -> MethodAnswer {
    MethodAnswer {
        status,
        payload: Bytes::from_static(b"{\"a\":1.0}"),
    }
}

#[tokio::test(start_paused = true)]
async fn answers_come_back_as_they_are() {
    let bench = Bench::new().await;
    bench
        .connect(|invocation| {
            assert_eq!(
                (invocation.name.as_str(), &invocation.payload[..]),
                ("m", &b"null"[..])
            );
            tokio::spawn(async move {
                sleep(Duration::from_secs(4)).await;
                invocation.answer(Ok(answer(222)));
                invocation.answer(Ok(answer(500)));
            });
        })
        .await;
    assert_eq!(bench.timed(5, 0).await, (Ok(answer(222)), 4));
}

#[tokio::test(start_paused = true)]
async fn unknown_identities_are_told_apart() {
    let bench = Bench::new().await;
    let unknown = bench.call(&device("nobody"), 30, 0).await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::DeviceNotFound, "nobody")
    );
    let module = IdentityId::module(id(DEVICE), ModuleId::parse("m").unwrap());
    let unknown = bench.call(&module, 30, 0).await.unwrap_err();
    assert_eq!(unknown.code(), Code::ModuleNotFound);
}

#[tokio::test(start_paused = true)]
async fn every_failure_has_its_code() {
    let bench = Bench::new().await;
    assert_eq!(bench.timed(30, 0).await, (Err(Code::DeviceNotOnline), 0));
    for (undelivered, code) in [
        (Undelivered::NotSubscribed, Code::DeviceNotOnline),
        (Undelivered::TooMany, Code::DeviceMaximumInflightMethodExceeded),
        (
            Undelivered::Displaced,
            Code::ConnectionForcefullyClosedOnNewConnection,
        ),
        (Undelivered::BadAnswer, Code::GenericBadGateway),
    ] {
        bench
            .connect(move |invocation| invocation.answer(Err(undelivered)))
            .await;
        assert_eq!(bench.timed(30, 0).await, (Err(code), 0));
    }
    bench.connect(drop).await;
    assert_eq!(
        bench.timed(30, 0).await,
        (Err(Code::DeviceConnectionClosedRemotely), 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_answer_costs_the_response_timeout_and_keeps_no_caller() {
    let bench = Bench::new().await;
    let kept: Arc<Mutex<Vec<Arc<Invocation>>>> = Arc::default();
    let keep = Arc::clone(&kept);
    bench
        .connect(move |invocation| keep.lock().unwrap().push(invocation))
        .await;
    assert_eq!(bench.timed(7, 0).await, (Err(Code::GatewayTimeout), 7));
    let late = kept.lock().unwrap().pop().unwrap();
    assert!(late.is_abandoned() && late.caller().is_gone());
    late.answer(Ok(answer(200)));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_is_noticed() {
    let bench = Bench::new().await;
    let kept: Arc<Mutex<Vec<Arc<Invocation>>>> = Arc::default();
    let keep = Arc::clone(&kept);
    bench
        .connect(move |invocation| keep.lock().unwrap().push(invocation))
        .await;
    let gone = tokio::time::timeout(Duration::from_secs(1), bench.timed(30, 0)).await;
    assert!(gone.is_err());
    assert!(kept.lock().unwrap()[0].is_abandoned());
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_device_to_connect_and_to_subscribe() {
    let bench = Arc::new(Bench::new().await);
    let waiting = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.timed(30, 20).await }
    });
    sleep(Duration::from_secs(5)).await;
    bench
        .connect(|invocation| invocation.answer(Err(Undelivered::NotSubscribed)))
        .await;
    // Of another identity: nobody waits for it.
    bench.methods.ready(&Address {
        identity: device("other"),
        ..bench.address.clone()
    });
    bench.methods.ready(&bench.address);
    sleep(Duration::from_secs(5)).await;
    bench
        .connect(|invocation| invocation.answer(Ok(answer(200))))
        .await;
    bench.methods.ready(&bench.address);
    assert_eq!(waiting.await.unwrap(), (Ok(answer(200)), 10));
}

#[tokio::test(start_paused = true)]
async fn a_signal_during_the_attempt_is_not_missed() {
    let bench = Arc::new(Bench::new().await);
    let again = Arc::downgrade(&bench);
    let attempts = Mutex::new(0);
    bench
        .connect(move |invocation| {
            let mut attempts = attempts.lock().unwrap();
            *attempts += 1;
            if *attempts == 1 {
                let bench = again.upgrade().unwrap();
                bench.methods.ready(&bench.address);
                invocation.answer(Err(Undelivered::NotSubscribed));
            } else {
                invocation.answer(Ok(answer(200)));
            }
        })
        .await;
    assert_eq!(bench.timed(30, 20).await, (Ok(answer(200)), 0));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_come_costs_the_connect_timeout() {
    let bench = Bench::new().await;
    let start = Instant::now();
    let error = bench.call(&bench.address.identity, 30, 20).await.unwrap_err();
    assert_eq!(error.code(), Code::DeviceNotOnline);
    assert_eq!(error.message(), "Timed out waiting for device to connect.");
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_late_has_the_whole_response_timeout() {
    let bench = Arc::new(Bench::new().await);
    let waiting = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.timed(30, 20).await }
    });
    sleep(Duration::from_secs(19)).await;
    bench
        .connect(|invocation| {
            tokio::spawn(async move {
                sleep(Duration::from_secs(29)).await;
                invocation.answer(Ok(answer(200)));
            });
        })
        .await;
    bench.methods.ready(&bench.address);
    assert_eq!(waiting.await.unwrap(), (Ok(answer(200)), 48));
}

#[tokio::test(start_paused = true)]
async fn thousands_of_calls_wait_at_once() {
    let bench = Arc::new(Bench::new().await);
    let calls: Vec<_> = (0..5_000)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.timed(30, 25).await })
        })
        .collect();
    sleep(Duration::from_secs(10)).await;
    bench
        .connect(|invocation| {
            tokio::spawn(async move {
                sleep(Duration::from_secs(1)).await;
                invocation.answer(Ok(answer(200)));
            });
        })
        .await;
    bench.methods.ready(&bench.address);
    for call in calls {
        assert_eq!(call.await.unwrap(), (Ok(answer(200)), 11));
    }
}
