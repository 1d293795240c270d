//! What an ingestor's answer means for a chunk, and how long to wait after it.

use crate::client::{Answer, PostError};
use std::time::Duration;

/// After an answer that only an operator can mend.
const HELD: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An ingestor that asks for more patience than this gets this.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// The classes of DESIGN.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Acknowledged.
    Stored,
    /// This chunk will never be taken: it is set aside, and those after it go on.
    Refused,
    /// Nothing will be taken until somebody mends token, address or version: kept, tried slowly.
    Held,
    /// Later: kept, tried again after a while that grows.
    Busy { asked: Option<Duration> },
}

impl Class {
    pub(crate) fn of(answered: &Result<Answer, PostError>) -> Self {
        let Ok(answer) = answered else { return Self::Busy { asked: None } };
        match answer.status.as_u16() {
            200..=299 => Self::Stored,
            400 | 413 | 422 => Self::Refused,
            429 | 500..=599 => Self::Busy { asked: answer.retry_after },
            _ => Self::Held,
        }
    }
}

/// How long to wait before the next try, after `failures` in a row. Spread over half of it, so that gateways that
/// failed together do not come back together.
pub(crate) fn wait(class: Class, failures: u32, random: f64) -> Duration {
    let spread = 0.5 + random / 2.0;
    match class {
        Class::Stored | Class::Refused => Duration::ZERO,
        Class::Held => HELD.mul_f64(spread),
        Class::Busy { asked } => {
            let grown = FIRST_WAIT.saturating_mul(1 << failures.min(16)).min(LONGEST_WAIT).mul_f64(spread);
            grown.max(asked.unwrap_or_default().min(LONGEST_ASKED))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn class(status: u16) -> Class {
        let status = StatusCode::from_u16(status).unwrap();
        Class::of(&Ok(Answer { status, retry_after: Some(Duration::from_secs(7)), text: String::new() }))
    }

    #[test]
    fn each_answer_has_its_class() {
        let busy = Class::Busy { asked: Some(Duration::from_secs(7)) };
        for (statuses, expected) in [
            (&[200, 202, 204][..], Class::Stored),
            (&[400, 413, 422], Class::Refused),
            (&[301, 401, 403, 404, 405, 409, 415, 426], Class::Held),
            (&[429, 500, 502, 503, 504], busy),
        ] {
            statuses.iter().for_each(|status| assert_eq!(class(*status), expected, "{status}"));
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let busy = |failures| wait(Class::Busy { asked: None }, failures, 1.0);
        assert_eq!([0, 1, 2].map(busy), [200, 400, 800].map(Duration::from_millis));
        assert_eq!(busy(u32::MAX), LONGEST_WAIT);
        let asked = Class::Busy { asked: Some(Duration::from_secs(7)) };
        assert_eq!(wait(asked, 0, 0.0), Duration::from_secs(7));
        let forever = Class::Busy { asked: Some(Duration::MAX) };
        assert_eq!(wait(forever, 0, 0.0), LONGEST_ASKED);
        assert_eq!(wait(Class::Held, 9, 0.0), Duration::from_secs(15));
    }
}
