//! The logs that Docker keeps of containers.

use async_trait::async_trait;
use bollard::{Docker, container::LogOutput, errors::Error, query_parameters::LogsOptionsBuilder};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;

use super::{DockerEngine, QUICK, errors::translate};
use crate::{
    domain::ContainerId,
    engine::{EngineError, Logs, LogsWanted, Outlet, Result, Said, Saying},
};

#[async_trait]
impl Logs for DockerEngine {
    async fn logs(&self, container: &ContainerId, wanted: &LogsWanted) -> Result<Saying> {
        // Docker answers with the first line, which may never come: whether there is such a container is asked first.
        self.look(container).await?;
        let client = self.client().await?;
        let tail = wanted.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        // Docker takes whole seconds here.
        let since = wanted.since.map_or(0, |since| i32::try_from(since.as_second()).unwrap_or_default());
        let options = LogsOptionsBuilder::default()
            .stdout(wanted.only != Some(Outlet::Stderr))
            .stderr(wanted.only != Some(Outlet::Stdout))
            .follow(wanted.follow)
            .timestamps(true)
            .since(since)
            .tail(&tail);
        let lines = client.logs(container.as_str(), Some(options.build())).boxed();
        let reading = Reading { lines, client, follow: wanted.follow };
        let said = stream::unfold(Some(reading), |reading| async move { reading?.next().await });
        let since = wanted.since;
        let is_wanted = move |said: &Result<Said>| {
            let at = said.as_ref().ok().and_then(|said| said.at);
            at.zip(since).is_none_or(|(at, since)| at >= since)
        };
        Ok(said.filter(move |said| std::future::ready(is_wanted(said))).boxed())
    }
}

/// A log that is being read.
struct Reading {
    lines: BoxStream<'static, std::result::Result<LogOutput, Error>>,
    client: Docker,
    follow: bool,
}

impl Reading {
    /// The next piece, and what comes after it; after an error nothing.
    async fn next(mut self) -> Option<(Result<Said>, Option<Self>)> {
        let next = if self.follow {
            self.lines.next().await
        } else {
            // All of it is there.
            match tokio::time::timeout(QUICK, self.lines.next()).await {
                Ok(next) => next,
                Err(_) => return Some((Err(EngineError::Timeout { call: "logs", deadline: QUICK }), None)),
            }
        };
        match next {
            Some(Ok(output)) => Some((Ok(said(output)), Some(self))),
            Some(Err(e)) => Some((Err(translate(e, EngineError::NoContainer)), None)),
            // An engine that is shut down ends its answers as it does at a container's end.
            None if self.follow => {
                let away = self.client.ping().await.err()?;
                Some((Err(translate(away, None)), None))
            }
            None => None,
        }
    }
}

/// What Docker shows in our words. The moment stands before each piece.
fn said(output: LogOutput) -> Said {
    let outlet = if matches!(output, LogOutput::StdErr { .. }) { Outlet::Stderr } else { Outlet::Stdout };
    let mut bytes = output.into_bytes();
    let moment = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<Timestamp>().ok();
    let end = bytes.iter().take(40).position(|byte| *byte == b' ');
    let at = end.and_then(|end| moment(&bytes[..end]));
    if let (Some(end), Some(_)) = (end, at) {
        bytes = bytes.split_off(end + 1);
    }
    Said { outlet, at, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_is_taken_off_and_nothing_else() {
        let of = |text: &'static str| {
            let Said { outlet, at, bytes } = said(LogOutput::StdErr { message: text.into() });
            assert_eq!(outlet, Outlet::Stderr);
            (at.map(|at| at.to_string()), String::from_utf8(bytes.to_vec()).unwrap())
        };
        let at = Some("2026-11-22T04:00:00.000000001Z".to_owned());
        assert_eq!(of("2026-11-22T04:00:00.000000001Z a b\n"), (at.clone(), "a b\n".into()));
        assert_eq!(of("2026-11-22T04:00:00.000000001Z \n"), (at, "\n".into()));
        assert_eq!(of("no moment\n"), (None, "no moment\n".into()));
        assert_eq!(of(""), (None, String::new()));
    }
}
