//! `weirctl probe --check pipeline`: sends one request through a gateway and looks for what must become of it: its count in
//! `/metrics`, its event in ClickHouse, its span.
//!
//! The gateway makes a mark for it, by which the request counts in no figure. The looks go on side by side until the time is
//! over; each says how long after the request it found something, or what is in the way.

mod event;
mod leg;
mod request;
mod span;

use crate::admin::Analytics;
use crate::exposition::{samples, scrape};
use crate::probe_args::ProbeOptions;
use crate::terminal::{excerpt, say, say_json};
use crate::{Failure, Outcome, admin, fetch};
use http::StatusCode;
use leg::{Leg, Look, Search, State};
use request::Probed;
use serde_json::json;
use weir_api::admin::PipelineMark;

/// The gateway's count of such requests.
const COUNT: &str = "weir_probe_requests_total";

/// Probes the first gateway, and says what was found. Nobody there is a no as well.
pub async fn pipeline(gateways: &[String], analytics: &Analytics, options: &ProbeOptions) -> Result<Outcome, Failure> {
    let gateway = gateways.first().map_or("", String::as_str);
    let token = admin::token_if_any(options.pipeline.admin.token_file.as_deref())?;
    let (trace, legs) = match begin(gateway, token.as_deref(), options).await {
        Ok(Begun { mark, counted, probed }) => {
            let Probed { leg, trace } = probed;
            let search = Search::within(options.pipeline.timeout);
            let (metrics, event, span, row) = tokio::join!(
                metrics(gateway, counted, search),
                event::look(&mark, gateway, analytics, &trace, search),
                span::exported(&mark, gateway, &trace, search),
                span::stored(&mark, options.pipeline.span_table.as_deref(), &trace, search),
            );
            (Some(trace), vec![leg, metrics, event, span, row])
        }
        Err(leg) => (None, vec![leg]),
    };
    let failed: Vec<_> = legs.iter().filter(|leg| leg.state == State::Failed).map(|leg| leg.name).collect();
    let ok = failed.is_empty();
    let message = if ok { "the request was found".to_owned() } else { format!("failed: {}", failed.join(", ")) };
    if options.json {
        let legs: Vec<_> = legs.iter().map(Leg::json).collect();
        say_json(json!({"check": "pipeline", "ok": ok, "message": message, "trace_id": trace, "legs": legs}))?;
    } else {
        legs.iter().try_for_each(say)?;
    }
    Ok(if ok { Outcome::Well } else { Outcome::No })
}

/// A request that is under way through everything behind the gateway.
struct Begun {
    mark: PipelineMark,
    /// What the gateway had counted before.
    counted: f64,
    probed: Probed,
}

async fn begin(gateway: &str, token: Option<&str>, options: &ProbeOptions) -> Result<Begun, Leg> {
    let mark = mark(gateway, token).await.map_err(|why| Leg::failed("gateway", why))?;
    let counted = count(gateway).await.map_err(|why| Leg::failed("metrics", why))?;
    let (url, limit) = (options.pipeline.url.as_deref(), options.pipeline.timeout);
    let probed = request::send(&mark, gateway, url, limit).await?;
    Ok(Begun { mark, counted, probed })
}

async fn mark(gateway: &str, token: Option<&str>) -> Result<PipelineMark, String> {
    let asked = fetch::post_any(gateway, "/probes/pipeline", token).await;
    match asked.map_err(|error| error.to_string())? {
        (url, StatusCode::OK, body) => {
            serde_json::from_str(&body).map_err(|_| format!("{url} does not answer as a gateway's admin port does"))
        }
        (_, StatusCode::NOT_FOUND, _) => Err("the gateway has no such probe: it is older than this weirctl".to_owned()),
        (url, status, body) => Err(format!("{url} answered {status}: {}", excerpt(&body))),
    }
}

async fn metrics(gateway: &str, before: f64, search: Search) -> Leg {
    let look = async || match count(gateway).await {
        Ok(now) if now > before => Look::Found(format!("counted in {COUNT}"), None),
        Ok(_) => Look::Not(format!("{COUNT} has not grown")),
        Err(why) => Look::Not(why),
    };
    Leg::of("metrics", search.until(look).await)
}

async fn count(gateway: &str) -> Result<f64, String> {
    let text = scrape(gateway).await.map_err(|error| error.to_string())?;
    let found = samples(&text).find(|sample| sample.name == COUNT).map(|sample| sample.value);
    found.ok_or_else(|| format!("the gateway has no {COUNT}: it is older than this weirctl"))
}
