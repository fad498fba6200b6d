//! The end of a connection: nobody is left waiting for it, and nothing that was promised is lost.

use std::time::Duration;

use hub::bus::Mail;
use hub::methods::Undelivered;
use tokio::io::AsyncWriteExt;

use super::super::ending::Ending;
use super::Connection;
use crate::calls::Calls;

/// How long a broken or closed connection may take to finish what is under way, and to send its last bytes.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

impl Connection {
    /// The last things: calls, what was staged, the will, the twin, commands, the place that the identity held, the record.
    pub(super) async fn leave(mut self: Box<Self>, ending: Ending) {
        self.let_go(&ending);
        let will = if ending.is_clean() {
            None
        } else {
            self.guest.session.take_will()
        };
        self.append_staged();
        if let Some(will) = will {
            self.send_will(&will).await;
        }
        let is_durable = self.finish_appending().await;
        // A store that does not answer in time is not waited for.
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, async {
            // A request behind messages that were lost has not been begun, and its PUBACK would be taken for theirs.
            if is_durable {
                self.finish_twin().await;
            }
            self.finish_commands().await;
        })
        .await;
        drop(self.held.take());
        self.app
            .records
            .leave(self.guest.origin.clone(), ending.outcome());
        let unsent = self.output.get(self.sent..).unwrap_or_default();
        // After its DISCONNECT a client is owed nothing, and one that has closed would answer a farewell with a reset.
        if ending.is_clean() && unsent.is_empty() && self.guest.stream.peer_has_left() {
            return;
        }
        // The peer may be gone; what it does not read any more is no loss.
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, async {
            self.guest.stream.write_all(unsent).await?;
            self.guest.stream.shutdown().await
        })
        .await;
    }

    /// Says whether everything that was appended is durable, and acknowledged as far as the client still reads.
    async fn finish_appending(&mut self) -> bool {
        let Some(appending) = self.appending.take() else {
            return true;
        };
        let Ok(Ok(_)) = tokio::time::timeout(FAREWELL_PATIENCE, appending.appended).await else {
            return false;
        };
        self.guest
            .session
            .command(&mut self.output)
            .acknowledge_publishes(appending.acknowledgements);
        true
    }

    /// Callers hear at once: of a newer connection, or, by what is dropped, that this one is gone; and commands that the client
    /// holds are free for a newer one. From here on no mail is taken.
    fn let_go(&mut self, ending: &Ending) {
        let is_displaced = matches!(ending, Ending::Displaced(_));
        for (_, mail) in self.mailbox.close() {
            if let (true, Mail::Method(invocation)) = (is_displaced, mail) {
                invocation.answer(Err(Undelivered::Displaced));
            }
        }
        if let Some(conversation) = &mut self.conversation {
            if is_displaced {
                conversation.calls.displace();
            }
            conversation.calls = Calls::default();
            let locks = conversation.window.abandon();
            self.app.commands.release(&self.guest.proof, &locks);
        }
    }
}
