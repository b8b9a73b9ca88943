//! The progress of a pull: objects in JSON, one a line.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use serde::{Deserialize, de::Error as _};

use crate::error::{EngineError, EngineResult};

/// No line is longer; what an engine says of one layer has some hundred bytes.
const LONGEST: usize = 256 << 10;

/// What an engine says on the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Of one layer; the numbers are bytes.
    Layer { id: String, status: String, current: Option<u64>, total: Option<u64> },
    /// That it gives up, and why.
    Failed(String),
    /// Nothing that we report.
    Other,
}

#[derive(Deserialize)]
struct Line {
    id: Option<String>,
    status: Option<String>,
    #[serde(rename = "progressDetail")]
    detail: Option<Detail>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    message: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    current: Option<i64>,
    total: Option<i64>,
    /// What is counted, where it is no bytes.
    units: Option<String>,
}

impl From<Line> for Step {
    fn from(line: Line) -> Self {
        if line.error.is_some() || line.error_detail.is_some() {
            let detail = line.error_detail.and_then(|detail| detail.message);
            return Self::Failed(detail.or(line.error).unwrap_or_default());
        }
        let (Some(id), Some(status)) = (line.id, line.status) else { return Self::Other };
        let detail = line.detail.filter(|detail| detail.units.as_ref().is_none_or(String::is_empty));
        let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let current = detail.as_ref().and_then(|detail| bytes(detail.current));
        let total = detail.as_ref().and_then(|detail| bytes(detail.total)).filter(|total| *total > 0);
        Self::Layer { id, status, current, total }
    }
}

/// The lines of an answer, as they come.
pub(super) struct Lines<B> {
    body: Option<B>,
    buffer: BytesMut,
}

impl<B> Lines<B>
where
    B: Body<Data = Bytes> + Unpin,
    EngineError: From<B::Error>,
{
    pub(super) fn new(body: B) -> Self {
        Self { body: Some(body), buffer: BytesMut::new() }
    }

    /// The next line; `None` after the last.
    pub(super) async fn next(&mut self) -> EngineResult<Option<Step>> {
        // Bytes that are known to hold no line feed.
        let mut seen = 0;
        loop {
            if let Some(at) = self.buffer[seen..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(seen + at);
                self.buffer.advance(1);
                seen = 0;
                match parse(&line)? {
                    Some(step) => return Ok(Some(step)),
                    None => continue,
                }
            }
            seen = self.buffer.len();
            if seen > LONGEST {
                return Err(serde_json::Error::custom("a line of the progress does not end").into());
            }
            let Some(body) = &mut self.body else {
                let rest = self.buffer.split();
                return parse(&rest);
            };
            match body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => self.body = None,
            }
        }
    }
}

fn parse(line: &[u8]) -> EngineResult<Option<Step>> {
    let line = line.trim_ascii();
    Ok(if line.is_empty() { None } else { Some(serde_json::from_slice::<Line>(line)?.into()) })
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    async fn steps(parts: &[&str]) -> EngineResult<Vec<Step>> {
        let frames: Vec<io::Result<_>> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::copy_from_slice(part.as_bytes())))).collect();
        let mut lines = Lines::new(StreamBody::new(stream::iter(frames)));
        let mut all = Vec::new();
        while let Some(step) = lines.next().await? {
            all.push(step);
        }
        Ok(all)
    }

    fn layer(status: &str, current: Option<u64>, total: Option<u64>) -> Step {
        Step::Layer { id: "a".to_owned(), status: status.to_owned(), current, total }
    }

    #[tokio::test]
    async fn d6_progress_is_read_however_it_is_cut() {
        let text = "{\"status\":\"Pulling\"}\r\n{\"status\":\"Downloading\",\"id\":\"a\",\"progressDetail\":\
                    {\"current\":1,\"total\":2}}\r\n\r\n{\"status\":\"Extracting\",\"id\":\"a\",\"progressDetail\":\
                    {\"current\":3,\"units\":\"s\"}}\n{\"status\":\"Done\",\"id\":\"a\",\"progressDetail\":{}}";
        let expected = vec![
            Step::Other,
            layer("Downloading", Some(1), Some(2)),
            layer("Extracting", None, None),
            layer("Done", None, None),
        ];
        assert_eq!(steps(&[text]).await.unwrap(), expected);
        for cut in 1..text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(steps(&[first, second]).await.unwrap(), expected, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn d6_a_failure_on_the_way_is_one() {
        let text = r#"{"errorDetail":{"message":"no space"},"error":"no space"}"#;
        assert_eq!(steps(&[text]).await.unwrap(), [Step::Failed("no space".to_owned())]);
        assert_eq!(steps(&[r#"{"error":"x"}"#]).await.unwrap(), [Step::Failed("x".to_owned())]);
    }

    #[tokio::test]
    async fn d6_a_line_without_an_end_is_refused() {
        let part = "x".repeat(64 << 10);
        let parts = vec![part.as_str(); 100];
        let error = steps(&parts).await.unwrap_err();
        assert!(error.to_string().contains("does not end"), "{error}");
        assert!(steps(&["{\"status\": \n"]).await.is_err());
    }
}
