//! `message-logging-flex`: lines of the operator's own words about requests.
//!
//! What a line says of the request is taken when the request passes; of headers and the status, a line that is written when
//! the response is there says the response's. What there is not is written as nothing.

use crate::Services;
use crate::contract::{Carried, Compiled, Effects, Message, Outcome, RequestView, ResponseView, Stages, Step};
use crate::expression::evaluate;
use weir_config::policy::{self, Condition, LogText, LoggedMessage, TextPart};
use weir_config::{Api, Expression};

/// Of one line, at most so many bytes: a line is no copy of a request.
const MOST: usize = 4096;

/// The compiled policy.
#[derive(Debug)]
pub struct MessageLogging {
    messages: Vec<LoggedMessage>,
    has_later: bool,
}

/// A line that is written when the response is there, as far as the request says it.
struct Later {
    /// Which of the messages.
    index: usize,
    parts: Vec<Part>,
    condition: Option<Part>,
}

/// A part of a text, as far as it is known.
enum Part {
    Known(Option<String>),
    /// Of the response.
    Asked(TextPart),
}

impl Compiled for MessageLogging {
    type Spec = policy::MessageLogging;
    const STAGES: Stages = Stages::REQUEST_AND_RESPONSE;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        let has_later = spec.messages.iter().any(|message| message.after);
        Self { messages: spec.messages.clone(), has_later }
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        for message in self.messages.iter().filter(|message| message.before) {
            let value = |part: &TextPart| of_request(part, request);
            if holds(message.condition.as_ref(), value) {
                let text = joined(&message.text, value);
                request.messages.push(written(message, text));
            }
        }
        if !self.has_later {
            return Outcome::go_on().into();
        }
        let later: Vec<_> = self.messages.iter().enumerate().filter(|(_, message)| message.after).collect();
        let later: Vec<_> = later.into_iter().map(|(index, message)| Later::new(index, message, request)).collect();
        Effects { carried: Some(Box::new(later)), ..Effects::default() }.go_on().into()
    }

    fn on_response(&self, response: &mut ResponseView<'_>) {
        let Some(later) = response.carried.take().and_then(of_this_policy) else { return };
        for line in &later {
            let message = &self.messages[line.index];
            let of_condition = line.condition.as_ref().map(|part| of_response(part, response));
            if holds(message.condition.as_ref(), |_| of_condition.clone().flatten()) {
                let parts = line.parts.iter().map(|part| of_response(part, response).unwrap_or_default());
                let text = cut(parts.collect());
                response.messages.push(written(message, text));
            }
        }
    }
}

impl Later {
    fn new(index: usize, message: &LoggedMessage, request: &RequestView<'_>) -> Self {
        let part = |part: &TextPart| match part {
            TextPart::Status | TextPart::Expression(Expression::Header(_)) => Part::Asked(part.clone()),
            known => Part::Known(of_request(known, request)),
        };
        let condition = match &message.condition {
            Some(Condition::Is { part: asked, .. }) => Some(part(asked)),
            Some(Condition::Never) | None => None,
        };
        Self { index, parts: message.text.0.iter().map(part).collect(), condition }
    }
}

fn of_this_policy(carried: Carried) -> Option<Vec<Later>> {
    carried.downcast().ok().map(|later| *later)
}

fn of_request(part: &TextPart, request: &RequestView<'_>) -> Option<String> {
    match part {
        TextPart::Text(text) => Some(text.clone()),
        TextPart::Expression(expression) => {
            evaluate(expression, request).map(|value| String::from_utf8_lossy(&value).into_owned())
        }
        TextPart::Status => None,
    }
}

fn of_response(part: &Part, response: &ResponseView<'_>) -> Option<String> {
    match part {
        Part::Known(value) => value.clone(),
        Part::Asked(TextPart::Status) => Some(response.status.as_str().to_owned()),
        Part::Asked(TextPart::Expression(Expression::Header(name))) => {
            response.headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
        }
        Part::Asked(_) => None,
    }
}

fn holds(condition: Option<&Condition>, value: impl Fn(&TextPart) -> Option<String>) -> bool {
    match condition {
        None => true,
        Some(Condition::Never) => false,
        Some(Condition::Is { part, text, negated }) => (value(part) == *text) != *negated,
    }
}

fn joined(text: &LogText, value: impl Fn(&TextPart) -> Option<String>) -> String {
    cut(text.0.iter().map(|part| value(part).unwrap_or_default()).collect())
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MOST));
    text
}

fn written(message: &LoggedMessage, text: String) -> Message {
    Message { level: message.level, category: message.category.clone(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Request, compiled, done};
    use http::StatusCode;
    use weir_config::policy::LogLevel;
    use weir_http1::Fields;

    fn policy(items: &str) -> crate::Policy {
        compiled("message-logging-flex", &format!("{{loggingConfiguration: [{items}]}}"))
    }

    /// What is written of a request, and then of its response.
    fn lines(
        policy: &crate::Policy,
        request: &mut Request,
        status: u16,
        headers: &[(&'static str, &str)],
    ) -> [Vec<String>; 2] {
        let outcome = done(policy.on_request(&mut request.view()));
        let before = std::mem::take(&mut request.messages);
        let mut of_response: Fields =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let mut after = Vec::new();
        policy.on_response(&mut ResponseView {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &mut of_response,
            carried: outcome.effects.carried,
            messages: &mut after,
        });
        [before, after].map(|messages| messages.into_iter().map(|message| message.text).collect())
    }

    #[test]
    fn a_line_says_what_the_request_and_then_the_response_is() {
        let policy = policy(
            "{itemData: {message: \"#[attributes.method ++ ' ' ++ attributes.headers['x-id']]\", firstSection: true, secondSection: true}}, \
             {itemData: {message: \"#[attributes.statusCode ++ ' of ' ++ attributes.requestPath]\", secondSection: true}}",
        );
        let mut request = Request::get("/a?b=c").with("x-id", "1");
        assert_eq!(lines(&policy, &mut request, 404, &[("x-id", "2")]), [vec!["GET 1"], vec!["GET 2", "404 of /a"]]);
    }

    #[test]
    fn only_what_holds_is_written() {
        let item = |condition: &str| {
            format!(
                "{{itemData: {{message: m, conditional: \"{condition}\", firstSection: true, secondSection: true}}}}"
            )
        };
        for (condition, before, after) in [
            ("true", 1, 1),
            ("#[false]", 0, 0),
            ("#[attributes.method == 'GET']", 1, 1),
            ("#[attributes.method != 'GET']", 0, 0),
            ("#[attributes.headers['x-id'] == 1]", 1, 0),
            ("#[attributes.headers['x-id'] != null]", 1, 0),
            ("#[attributes.statusCode == 500]", 0, 1),
            ("#[attributes.queryParams['q'] == null]", 1, 1),
        ] {
            let mut request = Request::get("/").with("x-id", "1");
            let [first, second] = lines(&policy(&item(condition)), &mut request, 500, &[]);
            assert_eq!((first.len(), second.len()), (before, after), "{condition}");
        }
    }

    #[test]
    fn a_line_is_no_copy_of_a_request() {
        let policy = policy(
            "{itemData: {message: \"#[attributes.headers['x-long']]\", level: WARN, category: c, firstSection: true}}",
        );
        let mut request = Request::get("/").with("x-long", &"a".repeat(10_000));
        done(policy.on_request(&mut request.view()));
        let message = &request.messages[0];
        assert_eq!((message.level, &*message.category, message.text.len()), (LogLevel::Warn, "c", MOST));
    }
}
