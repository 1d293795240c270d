//! Is the request an event in ClickHouse? Asked of weir-analytics, which has to be there for that; and if not, who is in the
//! way.

use super::leg::{Leg, Look, Search};
use crate::admin::Analytics;
use crate::fetch::{self, FetchError};
use crate::terminal::excerpt;
use http::StatusCode;
use serde_json::Value;
use weir_api::admin::{PipelineMark, Status};

/// What the leg is called.
const NAME: &str = "event";

/// Looks for the event of `trace`.
pub async fn look(mark: &PipelineMark, admin: &str, analytics: &Analytics, trace: &str, search: Search) -> Leg {
    let Some(ships_to) = &mark.analytics else {
        return Leg::not_configured(NAME, "the gateway ships no events: its configuration has no `analytics`");
    };
    let found = search.until(async || asked(analytics, trace).await).await;
    let Err(why) = found else { return Leg::of(NAME, found) };
    let shipping = shipping(admin).await.map(|why| format!("; the gateway ships to {ships_to}: {why}"));
    Leg::failed(NAME, why + &shipping.unwrap_or_default())
}

async fn asked(analytics: &Analytics, trace: &str) -> Look {
    let (address, token) = (analytics.address.as_str(), analytics.token.as_deref());
    match fetch::get_any_as(address, &format!("/api/v1/trace/{trace}"), token).await {
        Ok((_, status, body)) => read(address, status, &body),
        Err(error @ FetchError::Url { .. }) => Look::Never(error.to_string()),
        Err(error) => Look::Not(format!("weir-analytics: {error} (--analytics)")),
    }
}

/// What weir-analytics says of the trace.
fn read(analytics: &str, status: StatusCode, body: &str) -> Look {
    match status {
        StatusCode::OK => {}
        StatusCode::SERVICE_UNAVAILABLE => {
            return Look::Not(format!("weir-analytics answers, and ClickHouse does not: {}", excerpt(body)));
        }
        status => return Look::Not(format!("{analytics} answers {status}: {}", excerpt(body))),
    }
    let answer = serde_json::from_str::<Value>(body).unwrap_or_default();
    let Some(events) = answer["events"].as_array() else {
        return Look::Never(format!("{analytics} does not answer as weir-analytics does (--analytics)"));
    };
    match events.first() {
        None => Look::Not("weir-analytics reads ClickHouse, and the event is not there".to_owned()),
        Some(event) if event["sample_interval"] != 0 => Look::Never(
            "the event is stored, and it counts as a request: weir-analytics is older than the gateway; update it"
                .to_owned(),
        ),
        Some(_) => Look::Found(format!("stored in ClickHouse, as {analytics} reads it"), None),
    }
}

/// What the gateway says of its way to weir-analytics, where something is wrong with it.
async fn shipping(admin: &str) -> Option<String> {
    let (_, body) = fetch::get_ok(admin, "/status").await.ok()?;
    let spool = serde_json::from_str::<Status>(&body).ok()?.spool;
    let held = spool.held.first().map(|held| held.error.clone());
    // An error of earlier does not count where nothing waits.
    let error = spool.last_error.filter(|_| spool.blocked.is_some() || spool.chunks.on_disk > 0);
    error.or(spool.blocked).or(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_passes_only_where_it_is_no_request() {
        let read = |status: StatusCode, body: &str| match read("http://a", status, body) {
            Look::Found(..) => "found".to_owned(),
            Look::Not(why) => format!("not: {why}"),
            Look::Never(why) => format!("never: {why}"),
        };
        let ok = StatusCode::OK;
        assert_eq!(read(ok, r#"{"events": [{"sample_interval": 0}]}"#), "found");
        assert!(
            read(ok, r#"{"events": [{"sample_interval": 1}]}"#)
                .starts_with("never: the event is stored, and it counts")
        );
        assert!(read(ok, r#"{"events": []}"#).starts_with("not: weir-analytics reads ClickHouse"));
        assert!(read(ok, "<html>").starts_with("never: http://a does not answer as"));
        let away = read(StatusCode::SERVICE_UNAVAILABLE, r#"{"error": "refused"}"#);
        assert_eq!(away, "not: weir-analytics answers, and ClickHouse does not: refused");
    }
}
