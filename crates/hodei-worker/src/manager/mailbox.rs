//! The two ways to the keeper: work, which waits while much is being written, and everything else, which is heard at once.

use tokio::sync::mpsc;

use super::message::Message;

/// To the keeper. It ends when nobody has one of these.
#[derive(Clone)]
pub(super) struct Sender {
    work: mpsc::Sender<Message>,
    other: mpsc::Sender<Message>,
}

/// To a keeper that may have ended.
#[derive(Clone)]
pub(super) struct WeakSender {
    work: mpsc::WeakSender<Message>,
    other: mpsc::WeakSender<Message>,
}

/// What the keeper hears.
pub(super) struct Mailbox {
    work: mpsc::Receiver<Message>,
    other: mpsc::Receiver<Message>,
}

/// The keeper is gone.
#[derive(Debug)]
pub(super) struct Gone;

/// A mailbox for so much work, and as many questions.
pub(super) fn mailbox(capacity: usize) -> (Sender, Mailbox) {
    let (work, work_inbox) = mpsc::channel(capacity);
    let (other, other_inbox) = mpsc::channel(capacity);
    (Sender { work, other }, Mailbox { work: work_inbox, other: other_inbox })
}

impl Sender {
    pub(super) async fn send(&self, message: Message) -> Result<(), Gone> {
        let way = if message.is_work() { &self.work } else { &self.other };
        way.send(message).await.map_err(|_| Gone)
    }
    pub(super) fn downgrade(&self) -> WeakSender {
        WeakSender { work: self.work.downgrade(), other: self.other.downgrade() }
    }
}

impl WeakSender {
    pub(super) fn upgrade(&self) -> Option<Sender> {
        Some(Sender { work: self.work.upgrade()?, other: self.other.upgrade()? })
    }
    pub(super) async fn send(&self, message: Message) -> Result<(), Gone> {
        self.upgrade().ok_or(Gone)?.send(message).await
    }
}

impl Mailbox {
    /// The next message; work only where there is room for it. `None` when nobody can send any more.
    pub(super) async fn next(&mut self, has_room: bool) -> Option<Message> {
        tokio::select! {
            message = self.other.recv() => message,
            message = self.work.recv(), if has_room => message,
        }
    }
    /// Whether no work waits.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty()
    }
}
