//! `weirctl trace`: one trace, from the events of every gateway that it passed.

use crate::admin::Analytics;
use crate::args::TraceOptions;
use crate::terminal::{say, say_json, shown, tell};
use crate::waterfall::{Span, render};
use crate::{Failure, Outcome, fetch};
use serde::Deserialize;
use serde_json::json;
use weir_api::query::Trace;

/// Fetches and draws the trace. The answer is no when nobody has an event of it.
pub async fn trace(analytics: &Analytics, options: &TraceOptions) -> Result<Outcome, Failure> {
    // An x-request-id is `<trace id>-<span id>`.
    let id = options.id.split('-').next().unwrap_or_default().to_ascii_lowercase();
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let why =
            format!("`{}` is no trace id; one is 32 hex digits, as in `x-request-id` before the dash", options.id);
        if options.json {
            say_json(json!({"error": {"kind": "trace_id", "message": why}}))?;
        }
        tell(why);
        return Ok(Outcome::No);
    }
    let (url, body) =
        fetch::get_as(&analytics.address, &format!("/api/v1/trace/{id}"), analytics.token.as_deref()).await?;
    let answer = serde_json::from_str(&body).and_then(|answer| Trace::<Span>::deserialize(shown(answer)));
    let answer = answer.map_err(|error| Failure::Answer { url, error })?;
    let found = !answer.events.is_empty();
    if options.json {
        say_json(body.trim_end())?;
    } else if found {
        say(render(&id, answer.events).trim_end())?;
    } else {
        tell(format_args!(
            "no event of trace {id} is stored; an event takes up to about 2 s to arrive, and `weirctl ledger` tells \
             whether a gateway still holds some"
        ));
    }
    Ok(if found { Outcome::Well } else { Outcome::No })
}
