//! The end of a keeper in good order.

use super::Keeper;
use crate::manager::message::Reply;

pub(super) struct Closing {
    replies: Vec<Reply<()>>,
}

impl Keeper {
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Takes no more commands, makes no more calls, and ends when what is being written is durable.
    pub(super) fn close(&mut self, reply: Reply<()>) {
        self.closing.get_or_insert_with(|| Closing { replies: Vec::new() }).replies.push(reply);
        self.calls.abort_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closing() && self.writes.is_empty()
    }

    /// Lets go of all that it has, and only then says that it has ended: its store may be opened again.
    pub(super) async fn closed(mut self) {
        let replies = self.closing.take().map(|closing| closing.replies).unwrap_or_default();
        self.calls.shutdown().await;
        self.care.errands.shutdown().await;
        drop(self);
        for reply in replies {
            let _ = reply.send(());
        }
    }
}
