//! What every [`BlobStore`] must do.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use hub::clock::Timestamp;
use hub::files::{
    BlobError, BlobHeaders, BlobName, BlobProperties, BlobStore, BlockId, Condition, StagingBounds,
};

/// A place where blobs live, so that a suite can close and open it again.
pub trait Place {
    /// Opens the store of this place; it is empty the first time. The store before was dropped.
    fn open(&self) -> impl Future<Output = Arc<dyn BlobStore>> + Send;
}

/// Runs the whole suite; `make` gives a fresh place each time.
pub async fn all<P: Place>(make: impl Fn() -> P) {
    written_whole_and_read_in_pieces(make().open().await).await;
    nothing_is_visible_before_it_is_published(make().open().await).await;
    conditions_are_kept(make().open().await).await;
    one_of_many_racers_creates(make().open().await).await;
    blocks_become_a_blob_in_the_order_of_the_list(make().open().await).await;
    an_unknown_block_changes_nothing(make().open().await).await;
    bounds_are_kept(make().open().await).await;
    names_do_not_meet(make().open().await).await;
    a_reader_keeps_what_it_opened(make().open().await).await;
    deleted_is_gone(make().open().await).await;
    the_sweep_takes_old_blocks_alone(make().open().await).await;
    what_is_stored_is_counted(make()).await;
    everything_survives_a_restart(make()).await;
}

const BOUNDS: StagingBounds = StagingBounds {
    bytes_max: 1 << 30,
    blocks_max: 1_000,
};

fn name(text: &str) -> BlobName {
    BlobName::parse(text).unwrap()
}

fn id(number: u8) -> BlockId {
    BlockId::from_bytes(&[0xff, number]).unwrap()
}

/// Content in which each place can be told from its neighbours.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

async fn put(
    store: &dyn BlobStore,
    blob: &BlobName,
    bytes: &[u8],
    condition: Condition,
) -> Result<BlobProperties, BlobError> {
    let mut writer = store.write(blob).await.unwrap();
    for piece in bytes.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.publish(BlobHeaders::default(), condition).await
}

async fn stage(
    store: &dyn BlobStore,
    blob: &BlobName,
    block: &BlockId,
    bytes: &[u8],
    bounds: StagingBounds,
) -> Result<(), BlobError> {
    let mut writer = store.write(blob).await.unwrap();
    writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    writer.stage(block.clone(), bounds).await
}

async fn commit(
    store: &dyn BlobStore,
    blob: &BlobName,
    blocks: &[BlockId],
) -> Result<BlobProperties, BlobError> {
    store
        .commit(blob, blocks, BOUNDS, BlobHeaders::default(), Condition::Any)
        .await
}

async fn get(store: &dyn BlobStore, blob: &BlobName) -> Option<Vec<u8>> {
    let mut reader = store.open(blob).await.unwrap()?;
    let mut whole = Vec::new();
    loop {
        let position = u64::try_from(whole.len()).unwrap();
        let piece = reader.read(position, 77_777).await.unwrap();
        if piece.is_empty() {
            assert_eq!(position, reader.properties().bytes);
            return Some(whole);
        }
        whole.extend_from_slice(&piece);
    }
}

async fn written_whole_and_read_in_pieces(store: Arc<dyn BlobStore>) {
    let blob = name("d/f.bin");
    for bytes in [0, 1, 1_000_000] {
        let whole = content(bytes);
        let put = put(&*store, &blob, &whole, Condition::Any).await.unwrap();
        assert_eq!(put.bytes, u64::try_from(bytes).unwrap());
        assert_eq!(get(&*store, &blob).await, Some(whole));
    }
    let mut reader = store.open(&blob).await.unwrap().unwrap();
    assert_eq!(
        reader.read(500_000, 10).await.unwrap(),
        content(1_000_000)[500_000..500_010]
    );
    assert_eq!(reader.read(999_999, 10).await.unwrap().len(), 1);
    assert_eq!(reader.read(2_000_000, 10).await.unwrap().len(), 0);
    let headers = BlobHeaders {
        content_type: Some("text/plain".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("de".to_owned()),
        content_disposition: Some("inline".to_owned()),
        cache_control: Some("no-cache".to_owned()),
        content_md5: Some([7; 16]),
        metadata: vec![("k".to_owned(), "ä".to_owned())],
    };
    let writer = store.write(&blob).await.unwrap();
    let put = writer.publish(headers.clone(), Condition::Any).await.unwrap();
    assert_eq!(put.headers, headers);
    assert_eq!(store.open(&blob).await.unwrap().unwrap().properties(), &put);
}

async fn nothing_is_visible_before_it_is_published(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    let mut writer = store.write(&blob).await.unwrap();
    writer.write(content(300_000).into()).await.unwrap();
    assert_eq!(get(&*store, &blob).await, None);
    drop(writer);
    stage(&*store, &blob, &id(1), b"x", BOUNDS).await.unwrap();
    assert_eq!(get(&*store, &blob).await, None);
}

async fn conditions_are_kept(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    let refused = |exists| Err(BlobError::Condition { exists });
    assert_eq!(
        put(&*store, &blob, b"1", Condition::Present).await,
        refused(false)
    );
    assert_eq!(
        put(&*store, &blob, b"1", Condition::Etag(1)).await,
        refused(false)
    );
    let first = put(&*store, &blob, b"1", Condition::Absent).await.unwrap();
    assert_eq!(put(&*store, &blob, b"2", Condition::Absent).await, refused(true));
    stage(&*store, &blob, &id(1), b"2", BOUNDS).await.unwrap();
    let commit = store
        .commit(&blob, &[id(1)], BOUNDS, BlobHeaders::default(), Condition::Absent)
        .await;
    assert_eq!(commit, refused(true));
    assert_eq!(get(&*store, &blob).await, Some(b"1".to_vec()));
    let second = put(&*store, &blob, b"2", Condition::Etag(first.etag))
        .await
        .unwrap();
    assert_ne!(first.etag, second.etag);
    assert_eq!(
        put(&*store, &blob, b"3", Condition::Etag(first.etag)).await,
        refused(true)
    );
    put(&*store, &blob, b"3", Condition::Present).await.unwrap();
    assert_eq!(get(&*store, &blob).await, Some(b"3".to_vec()));
}

async fn one_of_many_racers_creates(store: Arc<dyn BlobStore>) {
    let racers: Vec<_> = (0..16)
        .map(|number: u8| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                put(&*store, &name("d/f"), &[number], Condition::Absent)
                    .await
                    .is_ok()
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (number, racer) in racers.into_iter().enumerate() {
        if racer.await.unwrap() {
            winners.push(u8::try_from(number).unwrap());
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(get(&*store, &name("d/f")).await, Some(winners));
}

async fn blocks_become_a_blob_in_the_order_of_the_list(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    for (number, bytes) in [(1, "one"), (2, "two"), (3, "three"), (2, "second")] {
        stage(&*store, &blob, &id(number), bytes.as_bytes(), BOUNDS)
            .await
            .unwrap();
    }
    let waiting: Vec<_> = store
        .blocks(&blob)
        .await
        .unwrap()
        .into_iter()
        .map(|block| (block.id, block.bytes))
        .collect();
    assert_eq!(waiting, [(id(1), 3), (id(2), 6), (id(3), 5)]);
    let committed = commit(&*store, &blob, &[id(2), id(1), id(2)]).await.unwrap();
    assert_eq!(committed.bytes, 15);
    assert_eq!(get(&*store, &blob).await, Some(b"secondonesecond".to_vec()));
    assert!(
        store.blocks(&blob).await.unwrap().is_empty(),
        "the others are dropped"
    );
    assert_eq!(commit(&*store, &blob, &[]).await.unwrap().bytes, 0);
    assert_eq!(get(&*store, &blob).await, Some(Vec::new()));
}

async fn an_unknown_block_changes_nothing(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    put(&*store, &blob, b"before", Condition::Any).await.unwrap();
    stage(&*store, &blob, &id(1), b"one", BOUNDS).await.unwrap();
    let committed = commit(&*store, &blob, &[id(1), id(9)]).await;
    assert_eq!(committed, Err(BlobError::UnknownBlock));
    assert_eq!(get(&*store, &blob).await, Some(b"before".to_vec()));
    assert_eq!(store.blocks(&blob).await.unwrap().len(), 1);
    commit(&*store, &blob, &[id(1)]).await.unwrap();
    assert_eq!(get(&*store, &blob).await, Some(b"one".to_vec()));
}

async fn bounds_are_kept(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    let bounds = StagingBounds {
        bytes_max: 10,
        blocks_max: 2,
    };
    let too_much = Err(BlobError::TooMuch);
    assert_eq!(stage(&*store, &blob, &id(1), b"12345678", bounds).await, Ok(()));
    assert_eq!(stage(&*store, &blob, &id(2), b"123", bounds).await, too_much);
    assert_eq!(stage(&*store, &blob, &id(1), b"123456789", bounds).await, Ok(()));
    assert_eq!(stage(&*store, &blob, &id(2), b"1", bounds).await, Ok(()));
    assert_eq!(stage(&*store, &blob, &id(3), b"", bounds).await, too_much);
    let headers = BlobHeaders::default;
    for blocks in [vec![id(1), id(1)], vec![id(2), id(2), id(2)]] {
        let committed = store
            .commit(&blob, &blocks, bounds, headers(), Condition::Any)
            .await;
        assert_eq!(committed, Err(BlobError::TooMuch));
    }
    // Another blob has bounds of its own.
    assert_eq!(stage(&*store, &name("d/g"), &id(1), b"123", bounds).await, Ok(()));
    commit(&*store, &blob, &[id(1), id(2)]).await.unwrap();
    assert_eq!(stage(&*store, &blob, &id(3), b"1234567890", bounds).await, Ok(()));
}

async fn names_do_not_meet(store: Arc<dyn BlobStore>) {
    let names = [
        "d/a", "d/a/b", "d/A", "d//a", "d/a ", "d/a%20", "d/ä", "/d/a", "d\\a",
    ];
    for text in names {
        put(&*store, &name(text), text.as_bytes(), Condition::Absent)
            .await
            .unwrap();
    }
    for text in names {
        assert_eq!(get(&*store, &name(text)).await, Some(text.as_bytes().to_vec()));
    }
    assert_eq!(get(&*store, &name("d/a/")).await, None);
}

async fn a_reader_keeps_what_it_opened(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    let before = content(400_000);
    put(&*store, &blob, &before, Condition::Any).await.unwrap();
    let mut reader = store.open(&blob).await.unwrap().unwrap();
    put(&*store, &blob, b"after", Condition::Any).await.unwrap();
    assert_eq!(reader.read(399_990, 100).await.unwrap(), before[399_990..]);
    assert!(store.delete(&blob).await.unwrap());
    assert_eq!(reader.read(0, 10).await.unwrap(), before[..10]);
}

async fn deleted_is_gone(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    assert!(!store.delete(&blob).await.unwrap());
    put(&*store, &blob, b"x", Condition::Any).await.unwrap();
    assert!(store.delete(&blob).await.unwrap());
    assert_eq!(get(&*store, &blob).await, None);
    put(&*store, &blob, b"y", Condition::Absent).await.unwrap();
}

async fn the_sweep_takes_old_blocks_alone(store: Arc<dyn BlobStore>) {
    let blob = name("d/f");
    put(&*store, &blob, b"kept", Condition::Any).await.unwrap();
    stage(&*store, &blob, &id(1), b"one", BOUNDS).await.unwrap();
    stage(&*store, &blob, &id(2), b"two", BOUNDS).await.unwrap();
    assert_eq!(store.sweep(Timestamp::from_secs(0)).await, Ok(0));
    assert_eq!(store.blocks(&blob).await.unwrap().len(), 2);
    let far = Timestamp::from_secs(32_503_680_000);
    assert_eq!(store.sweep(far).await, Ok(2));
    assert!(store.blocks(&blob).await.unwrap().is_empty());
    assert_eq!(get(&*store, &blob).await, Some(b"kept".to_vec()));
}

/// Each change is seen at once, and a count that went along is the same as one that is made anew.
async fn what_is_stored_is_counted<P: Place>(place: P) {
    let mut store = place.open().await;
    let blob = name("d/f");
    assert_eq!(store.stored_bytes().await, Ok(0));
    // After each step, the bytes of all contents; a store needs a little more for each.
    for (step, bytes) in [5_000, 1_000, 1_000, 6_000, 3_000, 4_000, 3_000, 0]
        .into_iter()
        .enumerate()
    {
        match step {
            0 => drop(
                put(&*store, &blob, &content(5_000), Condition::Any)
                    .await
                    .unwrap(),
            ),
            1 => drop(
                put(&*store, &blob, &content(1_000), Condition::Any)
                    .await
                    .unwrap(),
            ),
            2 => drop(
                put(&*store, &blob, &content(9_000), Condition::Absent)
                    .await
                    .unwrap_err(),
            ),
            3 => {
                for (number, bytes) in [(1, 3_000), (2, 2_000), (1, 1_000), (3, 2_000)] {
                    let block = content(bytes);
                    stage(&*store, &blob, &id(number), &block, BOUNDS).await.unwrap();
                }
            }
            4 => drop(commit(&*store, &blob, &[id(1), id(2)]).await.unwrap()),
            5 => stage(&*store, &blob, &id(1), &content(1_000), BOUNDS)
                .await
                .unwrap(),
            6 => drop(store.sweep(Timestamp::from_micros(i64::MAX)).await.unwrap()),
            _ => assert!(store.delete(&blob).await.unwrap()),
        }
        let stored = store.stored_bytes().await.unwrap();
        assert!(
            (bytes..bytes + 1_000).contains(&stored),
            "step {step}: {stored} for {bytes}"
        );
        drop(store);
        store = place.open().await;
        assert_eq!(store.stored_bytes().await, Ok(stored), "step {step}");
        // Every other step goes on with the count that was made, the others with one that is made later.
        if step % 2 == 0 {
            drop(store);
            store = place.open().await;
        }
    }
}

async fn everything_survives_a_restart<P: Place>(place: P) {
    let (blob, whole) = (name("d/f"), content(300_000));
    let store = place.open().await;
    let written = put(&*store, &blob, &whole, Condition::Any).await.unwrap();
    stage(&*store, &blob, &id(1), b"one", BOUNDS).await.unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(get(&*store, &blob).await, Some(whole));
    assert_eq!(store.open(&blob).await.unwrap().unwrap().properties(), &written);
    commit(&*store, &blob, &[id(1)]).await.unwrap();
    assert_eq!(get(&*store, &blob).await, Some(b"one".to_vec()));
}
