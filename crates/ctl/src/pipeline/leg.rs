//! What was found of one part of the way, and how it is looked for until the time is over.

use serde_json::{Value, json};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The first pause between two looks; later ones are a tenth of the time so far, to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One part of the way of a request's traces.
pub struct Leg {
    pub name: &'static str,
    pub state: State,
    /// From the request to what was found.
    pub after: Option<Duration>,
    pub message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Passed,
    Failed,
    /// Nobody looked: never taken for passed.
    NotChecked,
    /// The gateway is not asked to do it.
    NotConfigured,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "not_checked",
            Self::NotConfigured => "not_configured",
        }
    }
}

impl Leg {
    pub fn passed(name: &'static str, after: Duration, message: impl Into<String>) -> Self {
        Self { name, state: State::Passed, after: Some(after), message: message.into() }
    }

    pub fn failed(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Failed, after: None, message: message.into() }
    }

    pub fn not_checked(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::NotChecked, after: None, message: message.into() }
    }

    pub fn not_configured(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::NotConfigured, after: None, message: message.into() }
    }

    /// Of what was looked for.
    pub fn of(name: &'static str, found: Result<(String, Duration), String>) -> Self {
        match found {
            Ok((message, after)) => Self::passed(name, after, message),
            Err(why) => Self::failed(name, why),
        }
    }

    pub fn json(&self) -> Value {
        let after_ms = self.after.map(|after| after.as_secs_f64() * 1000.0);
        json!({"leg": self.name, "state": self.state.as_str(), "after_ms": after_ms, "message": self.message})
    }
}

impl Display for Leg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = self.state.as_str().replace('_', " ");
        let after = self.after.map(|after| format!("{:.1} ms", after.as_secs_f64() * 1000.0)).unwrap_or_default();
        write!(f, "{:<9} {state:<15} {after:>11}  {}", self.name, self.message)
    }
}

/// What one look has found.
pub enum Look {
    /// With the delay that whoever was asked knows better than this program.
    Found(String, Option<Duration>),
    /// Not yet, because of this.
    Not(String),
    /// Never.
    Never(String),
}

/// From the request on, until the time is over.
#[derive(Clone, Copy)]
pub struct Search {
    began: Instant,
    end: Instant,
}

impl Search {
    /// Begins now.
    pub fn within(limit: Duration) -> Self {
        let began = Instant::now();
        Self { began, end: began + limit }
    }

    /// Looks again and again. What the last look found in the way is the error.
    pub async fn until(self, mut look: impl AsyncFnMut() -> Look) -> Result<(String, Duration), String> {
        let mut last = None;
        loop {
            match timeout_at(self.end, look()).await {
                Ok(Look::Found(message, after)) => {
                    return Ok((message, after.unwrap_or_else(|| self.began.elapsed())));
                }
                Ok(Look::Never(why)) => return Err(why),
                Ok(Look::Not(why)) => last = Some(why),
                Err(_) => return Err(last.unwrap_or_else(|| "no answer in time".to_owned())),
            }
            let pause = (self.began.elapsed() / 10).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            if Instant::now() + pause >= self.end {
                return Err(last.unwrap_or_default());
            }
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_search_ends_with_what_is_found_or_with_what_is_in_the_way() {
        let search = || Search::within(Duration::from_millis(200));
        let mut looks = 0;
        let found = search().until(async || {
            looks += 1;
            if looks < 3 { Look::Not(format!("{looks}")) } else { Look::Found("here".to_owned(), None) }
        });
        assert_eq!(found.await.unwrap().0, "here");
        assert_eq!(search().until(async || Look::Not("away".to_owned())).await.unwrap_err(), "away");
        assert_eq!(search().until(async || Look::Never("gone".to_owned())).await.unwrap_err(), "gone");
        assert_eq!(search().until(async || std::future::pending().await).await.unwrap_err(), "no answer in time");
    }
}
