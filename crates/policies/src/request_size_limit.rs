//! `request-size-limit`: refuses requests whose content is larger than a service should have to take.
//!
//! Where the request says how long it is, it is refused before anything is sent on. Otherwise its content is counted as it
//! passes, and what is too much ends the request: nothing is kept of it.

use crate::Services;
use crate::contract::{Answer, Body, Compiled, ContentReader, Need, Outcome, RequestView, Stages, Step};
use bytes::Bytes;
use weir_config::Api;
use weir_config::policy;
use weir_event::Reason;
use weir_http1::Known;

const DETAIL: &str = "the content of the request is larger than this API takes";

/// The compiled policy.
#[derive(Debug)]
pub struct RequestSizeLimit {
    most: u64,
}

impl Compiled for RequestSizeLimit {
    type Spec = policy::RequestSizeLimit;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        Self { most: spec.most.bytes() }
    }

    fn needs(&self) -> Need {
        Need::Stream
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        // One length, in digits, is what the gateway lets in.
        let length = request.headers.get(Known::ContentLength);
        let said = length.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        match said {
            Some(length) if length > self.most => {
                let refusal = Answer::refusal(Reason::RequestTooLarge, Body::Problem(DETAIL));
                Outcome::reject(refusal).into()
            }
            None if request.has_content => Step::Stream(Box::new(Left(self.most))),
            Some(_) | None => Outcome::go_on().into(),
        }
    }
}

/// Bytes that may still come.
struct Left(u64);

impl ContentReader for Left {
    fn data(&mut self, data: &Bytes) -> Result<(), Reason> {
        self.0 = self.0.checked_sub(data.len() as u64).ok_or(Reason::RequestTooLarge)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decision;
    use crate::testing::{Request, compiled, done};

    #[test]
    fn table() {
        let policy = compiled("request-size-limit", "{maxBodySize: 10B}");
        assert_eq!(policy.needs(), Need::Stream);
        for (length, passes) in [("0", true), ("10", true), ("11", false), ("18446744073709551615", false)] {
            let mut request = Request::of(http::Method::POST, "/").with("content-length", length);
            let outcome = done(policy.on_request(&mut request.view()));
            assert_eq!(matches!(outcome.decision, Decision::Continue), passes, "{length}");
            if let Decision::Reject(answer) = outcome.decision {
                assert_eq!((answer.status.as_u16(), answer.body), (413, Body::Problem(DETAIL)));
            }
        }
        assert!(matches!(policy.on_request(&mut Request::get("/").view()), Step::Done(_)), "there is nothing to read");
        let read = |pieces: &[usize]| {
            let step = policy.on_request(&mut Request::of(http::Method::POST, "/").view());
            let Step::Stream(mut reader) = step else { panic!("it does not read") };
            pieces.iter().try_for_each(|len| reader.data(&Bytes::from(vec![0; *len])))
        };
        assert_eq!(read(&[4, 6]), Ok(()));
        assert_eq!(read(&[]), Ok(()));
        assert_eq!(read(&[4, 6, 1]), Err(Reason::RequestTooLarge));
    }
}
