//! A reader's place as a text that outlives the host.

use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp,
    provider::{LogPosition, LogStream},
};
use serde::{Deserialize, Serialize};

use super::position::{Key, Mark, Position};

/// Of [`Position`], what another reader needs. Names are short, since it stands at every line.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    /// The container's id.
    docker: String,
    from: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<(Timestamp, LogStream, u64)>,
    read: u64,
    newest: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<(Timestamp, LogStream, u64)>,
    #[serde(default, skip_serializing_if = "is_closed")]
    open: [Option<Timestamp>; 2],
}

fn is_closed(open: &[Option<Timestamp>; 2]) -> bool {
    *open == [None, None]
}

impl Position {
    /// As a text. What is about to take its mark's place is left out: it is found again.
    pub(super) fn save(&self, container: &str) -> Option<LogPosition> {
        let saved = Saved {
            docker: container.to_owned(),
            from: self.mark.from,
            first: self.mark.first,
            read: self.mark.read,
            newest: self.newest,
            last: self.last,
            open: self.open,
        };
        serde_json::to_string(&saved).ok().map(LogPosition::new)
    }

    /// Reads it back.
    pub(super) fn restore(position: &LogPosition, container: &str) -> Result<Self> {
        let saved: Saved = serde_json::from_str(position.as_str()).map_err(|error| {
            Error::config("after", format!("`{position}` is no position of this provider"))
                .with_help("give it one that it has told, as it was")
                .with_source(error)
        })?;
        if saved.docker != container {
            let another = "the position is one in the output of another container";
            return Err(Error::new(ErrorKind::Conflict, another).with_context("container", saved.docker));
        }
        let Saved { from, first, read, newest, last, open, .. } = saved;
        Ok(Self { mark: Mark { from, first, read }, next: None, newest, last, open })
    }
}

/// What tells one frame from the others must be the same in every build.
pub(super) fn key(chunk: &hodei_worker_core::provider::LogChunk) -> Key {
    (chunk.time, chunk.stream, twox_hash::XxHash3_64::oneshot(&chunk.bytes))
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::provider::LogChunk;

    use super::*;

    #[test]
    fn d8_a_position_means_the_same_in_every_build() {
        let mut position = Position::new(Timestamp::UNIX_EPOCH);
        position.note(&LogChunk::new(Timestamp::from_second(1).unwrap(), LogStream::Stderr, "one\n"));
        let saved = position.save("c1").unwrap();
        assert_eq!(
            saved.as_str(),
            r#"{"docker":"c1","from":"1970-01-01T00:00:00Z","first":["1970-01-01T00:00:01Z","stderr",5470377867807999006],"read":1,"newest":"1970-01-01T00:00:01Z","last":["1970-01-01T00:00:01Z","stderr",5470377867807999006]}"#
        );
        let error = Position::restore(&saved, "c2").unwrap_err();
        assert_eq!((error.kind(), error.context_value("container")), (ErrorKind::Conflict, Some("c1")));
        for text in ["", "{}", "process:1:2:3"] {
            let error = Position::restore(&LogPosition::new(text), "c1").unwrap_err();
            assert_eq!((error.kind(), error.context_value("field")), (ErrorKind::Config, Some("after")));
        }
    }
}
