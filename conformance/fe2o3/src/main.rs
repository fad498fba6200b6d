//! fe2o3-amqp as an AMQP 1.0 peer that knows nothing of Azure.
//!
//! A request is a line of JSON on standard input, its answer a line on standard output: `{"result": …}`, or `{"error": …}` with the
//! condition that the server named. Links live between requests, under the names that their requests gave them. The end of the
//! input ends the process.

mod line;
mod message;
mod refusal;
mod request;

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use line::Line;
use refusal::Refusal;
use request::Request;

fn main() -> std::io::Result<()> {
    // The client's own tasks have a thread apart, so that it reads and writes while the next request is awaited.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(serve())
}

/// Requests one after the other; then the connection is closed.
async fn serve() -> std::io::Result<()> {
    let mut line = None;
    for text in std::io::stdin().lock().lines() {
        let answer = match answer(&mut line, &text?).await {
            Ok(result) => json!({ "result": result }),
            Err(refusal) => json!({ "error": refusal }),
        };
        let mut output = std::io::stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    match line {
        Some(line) => line.close().await.map_err(std::io::Error::other),
        None => Ok(()),
    }
}

async fn answer(line: &mut Option<Line>, text: &str) -> Result<Value, Refusal> {
    let request: Request = serde_json::from_str(text).map_err(Refusal::here)?;
    match (request, line.as_mut()) {
        (Request::Open(opening), _) => {
            *line = Some(Line::open(opening).await?);
            Ok(Value::Null)
        }
        (_, None) => Err(Refusal::here("the first request is `open`")),
        (Request::PutToken { audience, token }, Some(line)) => line.put_token(audience, token).await,
        (Request::AttachSender { link, address }, Some(line)) => line.attach_sender(link, address).await,
        (Request::AttachReceiver(receiver), Some(line)) => line.attach_receiver(receiver).await,
        (Request::Send { link, message }, Some(line)) => line.send(&link, message).await,
        (Request::SendBatch { link, messages }, Some(line)) => line.send_batch(&link, messages).await,
        (Request::Credit { link, credit }, Some(line)) => line.credit(&link, credit).await,
        (Request::Drain { link }, Some(line)) => line.drain(&link).await,
        (
            Request::Receive {
                link,
                within_ms,
                settle,
            },
            Some(line),
        ) => line.receive(&link, within_ms, settle).await,
    }
}
