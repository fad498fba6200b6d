//! A hub's revocation over stand-ins.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hub::BoxFuture;
use hub::access::{Authorized, operation::Management};
use hub::clock::{Clock, ManualClock, SystemClock, Timestamp};
use hub::fetch::{Fetch, FetchError, Wanted};
use hub::tenancy::HubName;
use hub::trust::revocation::{
    Doubt, FileError, ListFiles, ListName, Ports, Revocation, Revoked, Stamp, Watch, Watched,
};

use crate::doubles::{CountingEntropy, World};

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) ports: Ports,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) files: Arc<MemoryFiles>,
    pub(crate) revocation: Revocation,
    pub(crate) manage: Authorized<Management>,
}

impl Bench {
    /// At the true time: OpenSSL's certificates begin to be valid now.
    pub(crate) async fn new() -> Self {
        Self::with(Arc::<Server>::default()).await
    }

    pub(crate) async fn with(server: Arc<impl Fetch>) -> Self {
        Self::at(SystemClock::new().now(), server).await
    }

    pub(crate) async fn at(now: Timestamp, server: Arc<impl Fetch>) -> Self {
        let world = World::new().await;
        let clock = Arc::new(ManualClock::at(now));
        let ports = Ports {
            store: world.store.clone(),
            bus: world.bus.clone(),
            clock: clock.clone(),
            entropy: Arc::new(CountingEntropy::default()),
            fetch: server,
            limits: world.limits.clone(),
        };
        let files = Arc::new(MemoryFiles::default());
        let revocation = open(&ports, &files).await;
        let manage = world.gate.authorize_operator();
        Self {
            world,
            ports,
            clock,
            files,
            revocation,
            manage,
        }
    }

    /// The same after a restart of the server.
    pub(crate) async fn restart(&mut self) {
        self.revocation = open(&self.ports, &self.files).await;
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn check(&self, path: &[&[u8]]) -> Result<(), Revoked> {
        self.revocation.check(path, self.now()).map(|_| ())
    }

    /// A login that stands on a path; what it holds, and what is doubtful.
    pub(crate) async fn decide(&self, path: &[&[u8]]) -> Result<(Vec<Arc<Watch>>, Option<Doubt>), Revoked> {
        self.revocation.decide(path).await
    }

    /// Whether every connection was told to look again since this was asked last.
    pub(crate) fn told_to_recheck(&self) -> bool {
        !self.world.bus.take().is_empty()
    }
}

async fn open(ports: &Ports, files: &Arc<MemoryFiles>) -> Revocation {
    let hub = HubName::parse("hub1").unwrap();
    let revocation = Revocation::open(hub, ports.clone()).await.unwrap();
    revocation
        .connect(Arc::<MemoryFiles>::clone(files))
        .await
        .unwrap();
    revocation
}

type Answers = HashMap<String, Box<dyn Fn(Option<&[u8]>) -> Option<Vec<u8>> + Send>>;

/// Other servers.
#[derive(Default)]
pub(crate) struct Server {
    answers: Mutex<Answers>,
    asked: AtomicUsize,
}

impl Server {
    pub(crate) fn serve(&self, url: &str, body: Vec<u8>) {
        self.answer(url, move |_| Some(body.clone()));
    }

    /// With a function of what is posted.
    pub(crate) fn answer(
        &self,
        url: &str,
        answer: impl Fn(Option<&[u8]>) -> Option<Vec<u8>> + Send + 'static,
    ) {
        self.answers
            .lock()
            .unwrap()
            .insert(url.to_owned(), Box::new(answer));
    }

    pub(crate) fn fail(&self, url: &str) {
        self.answers.lock().unwrap().remove(url);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Fetch for Server {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let posted = wanted.post.map(|(_, body)| body);
        let answers = self.answers.lock().unwrap();
        let body = answers.get(wanted.url).and_then(|answer| answer(posted));
        let answer = body.map(Bytes::from).ok_or_else(|| FetchError::Unreachable {
            url: wanted.url.to_owned(),
            reason: "nobody is there".to_owned(),
        });
        Box::pin(async move { answer })
    }
}

/// Files in memory.
#[derive(Default)]
pub(crate) struct MemoryFiles {
    kept: Mutex<HashMap<ListName, Bytes>>,
    watched: Mutex<HashMap<ListName, (Stamp, Bytes)>>,
}

impl MemoryFiles {
    pub(crate) fn damage(&self, name: &ListName) {
        let mut kept = self.kept.lock().unwrap();
        let list = kept.get_mut(name).expect("the list is kept");
        let mut bytes = list.to_vec();
        bytes[20] ^= 0xff;
        *list = bytes.into();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.lock().unwrap().is_empty()
    }

    pub(crate) fn put_watched(&self, name: &ListName, list: Vec<u8>) {
        let mut watched = self.watched.lock().unwrap();
        let modified_nanos = watched.get(name).map_or(0, |(stamp, _)| stamp.modified_nanos + 1);
        let stamp = Stamp {
            modified_nanos,
            bytes: list.len() as u64,
        };
        watched.insert(name.clone(), (stamp, list.into()));
    }
}

impl ListFiles for MemoryFiles {
    fn read<'a>(&'a self, name: &'a ListName, _: usize) -> BoxFuture<'a, Result<Option<Bytes>, FileError>> {
        let found = self.kept.lock().unwrap().get(name).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn write<'a>(&'a self, name: &'a ListName, list: Bytes) -> BoxFuture<'a, Result<(), FileError>> {
        self.kept.lock().unwrap().insert(name.clone(), list);
        Box::pin(async { Ok(()) })
    }

    fn remove<'a>(&'a self, name: &'a ListName) -> BoxFuture<'a, Result<(), FileError>> {
        self.kept.lock().unwrap().remove(name);
        Box::pin(async { Ok(()) })
    }

    fn watch<'a>(
        &'a self,
        name: &'a ListName,
        known: Option<Stamp>,
        _: usize,
    ) -> BoxFuture<'a, Result<Watched, FileError>> {
        let found = match self.watched.lock().unwrap().get(name).cloned() {
            None => Watched::Missing,
            Some((stamp, _)) if Some(stamp) == known => Watched::Unchanged,
            Some((stamp, list)) => Watched::Changed(stamp, list),
        };
        Box::pin(async move { Ok(found) })
    }
}
