//! What a step costs inside of this process: processor time of the thread, so that a busy machine spoils it little.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of processor time that a step takes, called so many times with the number of the call.
pub(crate) fn micros<T>(times: usize, mut step: impl FnMut(usize) -> T) -> f64 {
    let start = thread_micros();
    for call in 0..times {
        black_box(step(black_box(call)));
    }
    (thread_micros() - start) / times.max(1) as f64
}

fn thread_micros() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let sleeping = micros(1, |_| std::thread::sleep(std::time::Duration::from_millis(20)));
        assert!(sleeping < 10_000.0, "{sleeping}");
        let working = micros(1_000, |call| {
            (0..1_000_usize).fold(call, |sum, one| black_box(sum ^ one))
        });
        assert!(working > 0.01, "{working}");
    }
}
