//! As many of the runtime's threads as there is work for.
//!
//! The runtime wakes a sleeping thread as soon as another has more than one thing to do, and the thread mostly comes too late: at a few
//! thousand messages a second, threads that get up for nothing take a fifth of the processor's time. So threads that are not needed rest. A
//! task holds each of them inside of its poll, where the runtime takes it for busy and leaves it alone. A watch looks at the threads a hundred
//! times a second, lets them go within one or two looks when those that are awake have no pause, and has them rest again after a second with
//! little to do.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;

/// From look to look while there is something to do: also how late a thread gets up that is suddenly needed.
const LOOK: Duration = Duration::from_millis(10);
/// From look to look while there is nothing to do.
const LOOK_IDLE: Duration = Duration::from_millis(80);
/// A rest ends after this time and begins anew, so that a thread that rests can keep nothing from being done for good.
const REST_MAX: Duration = Duration::from_secs(4);

/// The watch over the threads of a runtime. Dropped before the runtime, it lets all of them go.
pub(crate) struct Workers {
    beds: Arc<Beds>,
    watch: Option<JoinHandle<()>>,
}

impl Workers {
    /// Begins to watch; a runtime of one thread needs no watch.
    pub(crate) fn watch(runtime: &Handle) -> io::Result<Self> {
        let beds = Arc::new(Beds::default());
        let watch = if runtime.metrics().num_workers() > 1 {
            let (runtime, beds) = (runtime.clone(), beds.clone());
            let named = std::thread::Builder::new().name("workers".to_owned());
            Some(named.spawn(move || watch(&runtime, &beds))?)
        } else {
            None
        };
        Ok(Self { beds, watch })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.beds.close();
        if let Some(watch) = self.watch.take()
            && watch.join().is_err()
        {
            tracing::error!("the watch over the runtime's threads has failed");
        }
    }
}

fn watch(runtime: &Handle, beds: &Arc<Beds>) {
    let metrics = runtime.metrics();
    let mut load = Load::new(metrics.num_workers());
    let mut pause = LOOK;
    loop {
        match beds.wait(pause) {
            // The thread may have been the one that waited for sockets and timers. Whoever gets up for this does so next.
            News::LainDown => drop(runtime.spawn(async {})),
            News::None => {
                let resting = beds.resting();
                let rest = load.look(|thread| metrics.worker_park_unpark_count(thread), resting);
                beds.make(rest);
                for _ in resting..rest {
                    runtime.spawn(beds.clone().lie_down());
                }
                pause = if load.idle {
                    (2 * pause).min(LOOK_IDLE)
                } else {
                    LOOK
                };
            }
            News::Closed => return,
        }
    }
}

/// Where threads rest.
#[derive(Default)]
struct Beds {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many threads may rest.
    made: usize,
    /// How many do.
    taken: usize,
    /// Whether one lay down since the watch was told.
    lain_down: bool,
    closed: bool,
}

/// What the watch waits for.
enum News {
    None,
    LainDown,
    Closed,
}

impl Beds {
    /// Holds the thread that polls this for as long as it may rest.
    async fn lie_down(self: Arc<Self>) {
        // What the thread has to do first goes before what it finds in its own queue, and the yield puts this there. So it holds back nothing
        // that other threads could not take from its queue.
        tokio::task::yield_now().await;
        let mut state = self.state();
        if state.closed || state.taken >= state.made {
            return;
        }
        state.taken += 1;
        state.lain_down = true;
        self.changed.notify_all();
        let rests = |state: &mut State| !state.closed && state.taken <= state.made;
        state = self.wait_while(state, REST_MAX, rests);
        state.taken -= 1;
    }

    fn resting(&self) -> usize {
        self.state().taken
    }

    /// Lets so many threads rest; those that are more get up.
    fn make(&self, made: usize) {
        let mut state = self.state();
        state.made = made;
        if state.taken > made {
            self.changed.notify_all();
        }
    }

    /// Waits for news for so long.
    fn wait(&self, time: Duration) -> News {
        let mut state = self.wait_while(self.state(), time, |state| !state.closed && !state.lain_down);
        if state.closed {
            News::Closed
        } else if std::mem::take(&mut state.lain_down) {
            News::LainDown
        } else {
            News::None
        }
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// No code that can panic runs under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        time: Duration,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, time, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// So many looks make a spell, after which threads may go to rest.
const SPELL: usize = 100;
/// One thread, in the measure of [`Load::busy`].
const THREAD: usize = 1 << 10;
/// So many looks weigh in what is busy.
const SMOOTH: usize = 64;

/// What the looks have shown.
struct Load {
    /// How often each thread had begun or ended a pause at the last look: odd while it pauses.
    seen: Vec<u64>,
    /// How many threads were at work at the last looks on average, in parts of [`THREAD`].
    busy: usize,
    /// Looks of this spell, and the threads that they found at work.
    looks: usize,
    found: usize,
    /// How many threads may rest. Fewer do for a moment when a rest ends to begin anew.
    rest: usize,
    /// Whether nothing happened since the look before.
    idle: bool,
}

impl Load {
    fn new(threads: usize) -> Self {
        Self {
            seen: vec![0; threads],
            busy: 0,
            looks: 0,
            found: 0,
            rest: 0,
            idle: false,
        }
    }

    /// Looks at all threads, of which so many rest, and tells how many may.
    fn look(&mut self, parks: impl Fn(usize) -> u64, resting: usize) -> usize {
        let (mut busy, mut through, mut moved) = (0_usize, 0_usize, false);
        for (thread, seen) in self.seen.iter_mut().enumerate() {
            let now = parks(thread);
            let (works, same) = (now.is_multiple_of(2), now == *seen);
            busy += usize::from(works);
            through += usize::from(works && same);
            moved |= !same;
            *seen = now;
        }
        // A thread that rests seems to be at work.
        let (busy, through) = (busy.saturating_sub(resting), through.saturating_sub(resting));
        let awake = self.seen.len().saturating_sub(resting).max(1);
        self.idle = !moved && busy == 0;
        self.busy = self.busy - self.busy / SMOOTH + busy * THREAD / SMOOTH;
        self.looks += 1;
        self.found += busy;

        if through >= awake || self.busy > awake * THREAD * 9 / 10 {
            (self.looks, self.found) = (0, 0);
            self.rest = self.rest.saturating_sub(awake);
        }
        if self.looks < SPELL {
            return self.rest;
        }
        // Whoever stays awake is to be at work for eight tenths of the time at most.
        let needed = (self.found * 10).div_ceil(8 * self.looks).max(1);
        (self.looks, self.found) = (0, 0);
        self.rest = self.rest.max(self.seen.len().saturating_sub(needed));
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Runtime;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Threads as a look finds them: what each has parked, and whether it pauses.
    struct Threads(Vec<u64>);

    impl Threads {
        /// Each thread is at work for so many of a hundred looks.
        fn at_work(&mut self, parts: &[usize], look: usize) -> impl Fn(usize) -> u64 {
            for (parks, part) in self.0.iter_mut().zip(parts) {
                let works = *part == 100 || look * 37 % 100 < *part;
                // A pause since the look before, unless the thread never has one.
                *parks += if *part == 100 {
                    *parks % 2
                } else {
                    2 - (*parks + u64::from(!works)) % 2
                };
            }
            |thread| self.0[thread]
        }
    }

    fn after(load: &mut Load, looks: usize, parts: &[usize], resting: usize) -> Vec<usize> {
        load.rest = resting;
        let mut threads = Threads(load.seen.clone());
        (0..looks)
            .map(|look| load.look(threads.at_work(parts, look), resting))
            .collect()
    }

    #[test]
    fn threads_with_little_to_do_rest_after_a_spell() {
        let mut load = Load::new(4);
        let rest = after(&mut load, SPELL, &[20, 20, 10, 10], 0);
        assert_eq!(rest[..SPELL - 1], [0; SPELL - 1]);
        assert_eq!(rest[SPELL - 1], 3);
    }

    #[test]
    fn those_that_stay_have_room() {
        let mut load = Load::new(4);
        let rest = after(&mut load, SPELL, &[65, 65, 65, 65], 0);
        assert_eq!(
            rest[SPELL - 1],
            0,
            "2.6 threads of work would fill three to more than eight tenths"
        );
        let rest = after(&mut load, SPELL, &[50, 50, 50, 50], 0);
        assert_eq!(rest[SPELL - 1], 1);
    }

    #[test]
    fn a_rest_that_ends_begins_anew() {
        let mut load = Load::new(2);
        let mut threads = Threads(vec![0; 2]);
        load.rest = 1;
        // The second thread is up for a look, as its rest was over.
        let looks = [1, 0, 1].map(|resting| load.look(threads.at_work(&[20, 100], 1), resting));
        assert_eq!(looks, [1; 3]);
    }

    #[test]
    fn a_thread_without_a_pause_calls_twice_as_many() {
        let mut load = Load::new(8);
        // Seven rest and seem to be at work; so does the eighth.
        assert_eq!(after(&mut load, 1, &[100; 8], 7), [6]);
        assert_eq!(after(&mut load, 1, &[100; 8], 6), [4]);
        assert_eq!(after(&mut load, 1, &[100; 8], 4), [0]);
    }

    #[test]
    fn a_thread_with_short_pauses_calls_as_well() {
        let mut load = Load::new(2);
        let rest = after(&mut load, 4 * SMOOTH, &[98, 100], 1);
        assert!(rest.contains(&0), "{rest:?}");
        let mut load = Load::new(2);
        let rest = after(&mut load, 20 * SPELL, &[70, 100], 1);
        assert!(rest.iter().all(|rest| *rest == 1), "{rest:?}");
    }

    fn runtime(threads: usize) -> Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads).enable_all().build().unwrap()
    }

    /// A little to do, so that looks come a hundred times a second.
    async fn rested(workers: &Workers, threads: usize) {
        let late = Instant::now() + Duration::from_secs(30);
        while workers.beds.resting() < threads {
            assert!(Instant::now() < late, "{} threads rest", workers.beds.resting());
            sleep(Duration::from_millis(2)).await;
        }
    }

    #[test]
    fn threads_that_rest_get_up_for_work() {
        let runtime = runtime(4);
        let workers = Workers::watch(runtime.handle()).unwrap();
        runtime.block_on(rested(&workers, 3));

        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (at_once, most) = (at_once.clone(), most.clone());
                runtime.spawn(async move {
                    let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    let end = Instant::now() + Duration::from_secs(2);
                    while Instant::now() < end {
                        std::hint::spin_loop();
                    }
                    at_once.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 4, "tasks that ran at the same time");
    }

    /// The thread that lies down is mostly the one that waited for timers: it was the last to pause.
    #[test]
    fn timers_go_on_when_the_thread_that_waited_for_them_lies_down() {
        let runtime = runtime(2);
        let workers = Workers::watch(runtime.handle()).unwrap();
        let ticks = Arc::new(AtomicUsize::new(0));
        let counted = ticks.clone();
        runtime.spawn(async move {
            loop {
                sleep(Duration::from_millis(2)).await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let late = Instant::now() + Duration::from_secs(30);
        while workers.beds.resting() < 1 {
            assert!(Instant::now() < late, "no thread rests");
            std::thread::sleep(Duration::from_millis(1));
        }
        let seen = ticks.load(Ordering::SeqCst);
        std::thread::sleep(REST_MAX / 4);
        assert!(ticks.load(Ordering::SeqCst) > seen + 10, "timers stand still");
    }

    /// Threads go to rest and get up again all the time: no timer, no socket and no task may wait for one that rests.
    #[test]
    fn nothing_waits_for_a_thread_that_rests() {
        let runtime = runtime(3);
        let workers = Workers::watch(runtime.handle()).unwrap();
        let longest = runtime.block_on(async {
            rested(&workers, 2).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                while let Ok((mut peer, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let mut byte = [0];
                        while peer.read_exact(&mut byte).await.is_ok() && peer.write_all(&byte).await.is_ok()
                        {
                        }
                    });
                }
            });
            let end = Instant::now() + Duration::from_secs(3);
            // Threads lie down and get up at any moment, not only when there is little to do.
            let (beds, handle) = (workers.beds.clone(), Handle::current());
            let unrest = std::thread::spawn(move || {
                for made in [0, 1, 2, 1].iter().cycle().take_while(|_| Instant::now() < end) {
                    beds.make(*made);
                    handle.spawn(beds.clone().lie_down());
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let tasks: Vec<_> = (0..50_u64)
                .map(|n| {
                    tokio::spawn(async move {
                        let mut stream = TcpStream::connect(address).await.unwrap();
                        let mut longest = Duration::ZERO;
                        while Instant::now() < end {
                            let begun = Instant::now();
                            sleep(Duration::from_millis(n % 7)).await;
                            stream.write_all(b"x").await.unwrap();
                            stream.read_exact(&mut [0]).await.unwrap();
                            tokio::spawn(async {}).await.unwrap();
                            longest = longest.max(begun.elapsed());
                        }
                        longest
                    })
                })
                .collect();
            let mut longest = Duration::ZERO;
            for task in tasks {
                longest = longest.max(task.await.unwrap());
            }
            unrest.join().unwrap();
            longest
        });
        assert!(longest < REST_MAX / 2, "one round took {longest:?}");
    }

    #[test]
    fn a_runtime_ends_while_its_threads_rest() {
        let runtime = runtime(4);
        let workers = Workers::watch(runtime.handle()).unwrap();
        runtime.block_on(rested(&workers, 3));
        let begun = Instant::now();
        drop(workers);
        drop(runtime);
        assert!(begun.elapsed() < REST_MAX / 2, "{:?}", begun.elapsed());
    }
}
