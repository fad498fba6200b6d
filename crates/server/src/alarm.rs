//! When a connection looks at its times again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// One timer that is set anew each time it has gone off. It is due until it is first set: the runtime hears of a time only when there is
/// one to wait for, as its clock is woken for each that comes before all others.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when it is due; until it is set again it stays so.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(context));
        }
        Poll::Ready(())
    }

    /// Is due at this time.
    pub(crate) fn set(&mut self, at: Instant) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Is due at this time, if it would be due later.
    pub(crate) fn bring_forward(&mut self, at: Instant) {
        if let Some(sleep) = &mut self.sleep
            && sleep.deadline() > at
        {
            sleep.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    async fn ring(alarm: &mut Alarm) -> Instant {
        std::future::poll_fn(|context| alarm.poll(context)).await;
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_due_until_it_is_set_and_then_at_its_time() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        assert_eq!(ring(&mut alarm).await, start);
        alarm.bring_forward(start + Duration::from_secs(9));
        assert_eq!(
            ring(&mut alarm).await,
            start,
            "what is due cannot be brought forward"
        );
        alarm.set(start + Duration::from_secs(5));
        assert_eq!(ring(&mut alarm).now_or_never(), None);
        alarm.bring_forward(start + Duration::from_secs(7));
        alarm.bring_forward(start + Duration::from_secs(3));
        assert_eq!(ring(&mut alarm).await, start + Duration::from_secs(3));
        alarm.set(start + Duration::from_secs(4));
        assert_eq!(ring(&mut alarm).await, start + Duration::from_secs(4));
    }
}
