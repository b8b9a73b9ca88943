use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::sync::broadcast::{self, error::RecvError};

use super::CredentialChange;
use crate::error::Result;

/// Changes that a slow reader may be behind; then it is told that it has missed some.
const BEHIND: usize = 256;

/// Tells of changes to whoever watches: for stores that make all changes themselves.
#[derive(Debug, Clone)]
pub struct Changes(broadcast::Sender<CredentialChange>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }
}

impl Changes {
    /// Tells all who watch.
    pub fn tell(&self, change: CredentialChange) {
        // Nobody watches: nobody has to know.
        drop(self.0.send(change));
    }

    /// What is told from now on of credentials whose keys begin with `prefix`.
    pub fn watch(&self, prefix: &str) -> BoxStream<'static, Result<CredentialChange>> {
        let prefix = prefix.to_owned();
        let all = stream::unfold(self.0.subscribe(), |mut told| async {
            match told.recv().await {
                Ok(change) => Some((change, told)),
                Err(RecvError::Lagged(_)) => Some((CredentialChange::Lost, told)),
                Err(RecvError::Closed) => None,
            }
        });
        let of_prefix = all.filter(move |change| {
            let matches = match change {
                CredentialChange::Changed(key) | CredentialChange::Deleted(key) => {
                    key.as_str().starts_with(&prefix)
                }
                CredentialChange::Lost => true,
            };
            futures::future::ready(matches)
        });
        of_prefix.map(Ok).boxed()
    }
}
