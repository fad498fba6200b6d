//! A back end that takes feedback: of four batches it gives one back and completes the others.

use std::io;
use std::time::Duration;

use hyper::{Method, StatusCode};

use crate::back_end::BackEnd;
use crate::device::Access;

use super::ledger::{CommandId, Ledger};

const PATH: &str = "/messages/serviceBound/feedback";

/// Pause before feedback is asked for again when there was none.
const PAUSE: Duration = Duration::from_millis(20);

/// Of so many batches one is given back.
const ABANDONED_OF: u64 = 4;

/// Takes feedback until the connection breaks.
pub(super) async fn run(ledger: &Ledger, access: &Access) -> io::Error {
    take(ledger, access).await.unwrap_err()
}

async fn take(ledger: &Ledger, access: &Access) -> io::Result<()> {
    let mut back_end = BackEnd::connect(access).await?;
    for number in 1_u64.. {
        let batch = loop {
            let answer = back_end.get(PATH).await?;
            match answer.status {
                StatusCode::OK => break answer,
                StatusCode::NO_CONTENT => tokio::time::sleep(PAUSE).await,
                _ => panic!("{answer:?}"),
            }
        };
        let lock = batch.lock.unwrap();
        let mut ids = Vec::new();
        for record in batch.body.as_array().unwrap() {
            let id = CommandId::parse(record["originalMessageId"].as_str().unwrap());
            assert_eq!(record["statusCode"], "Success", "{record}");
            assert_eq!(record["deviceId"], id.device, "{record}");
            ids.push(id);
        }
        ledger.told_of(&ids);
        let answer = if number % ABANDONED_OF == 0 {
            let path = format!("{PATH}/{lock}/abandon");
            back_end.ask(Method::POST, &path, None).await?
        } else {
            ledger.settling(&ids);
            back_end
                .ask(Method::DELETE, &format!("{PATH}/{lock}"), None)
                .await?
        };
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        if number % ABANDONED_OF != 0 {
            ledger.settled(&ids);
        }
    }
    Ok(())
}
