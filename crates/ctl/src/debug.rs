//! `weirctl debug`: traces that are kept for some minutes, because somebody looks for something.

use crate::admin::AdminOptions;
use crate::args::{Debug, DebugAdd};
use crate::fetch::{self, FetchError};
use crate::terminal::{excerpt, say, say_json};
use crate::{Failure, Outcome, admin};
use http::StatusCode;
use std::io;
use weir_api::ErrorDocument;
use weir_api::admin::{DebugRule, DebugRules};

/// Asks every gateway.
pub async fn debug(gateways: &[String], command: &Debug) -> Result<Outcome, Failure> {
    for gateway in gateways {
        match command {
            Debug::List(options) => {
                let (url, body) = fetch::get_ok(gateway, "/debug-rules").await?;
                let rules: DebugRules = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
                list(&rules, options.json)?;
            }
            Debug::Add(options) => {
                let path = format!("/debug-rules?{}", query(options));
                let rule = change(gateway, &path, &options.admin).await?;
                told(&rule, options.json, "traces are kept")?;
            }
            Debug::End(options) => {
                let path = format!("/debug-rules/end?id={}", options.id);
                let rule = change(gateway, &path, &options.admin).await?;
                told(&rule, options.json, "ended")?;
            }
        }
    }
    Ok(Outcome::Well)
}

fn query(options: &DebugAdd) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    // Written with `=` as on other command lines, or with `:` as it is sent.
    let header = options.header.as_ref().map(|header| header.replacen('=', ":", 1));
    for (name, value) in [("header", &header), ("consumer", &options.consumer), ("api", &options.api)] {
        query.extend_pairs(value.iter().map(|value| (name, value)));
    }
    query.append_pair("minutes", &options.minutes.to_string());
    query.append_pair("perSecond", &options.per_second.to_string());
    query.finish()
}

async fn change(gateway: &str, path: &str, options: &AdminOptions) -> Result<DebugRule, Failure> {
    let token = admin::token_if_any(options.token_file.as_deref())?;
    let (url, status, body) = fetch::post_any(gateway, path, token.as_deref()).await?;
    match status {
        StatusCode::OK | StatusCode::CREATED => {
            serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })
        }
        _ => {
            let why = serde_json::from_str::<ErrorDocument>(&body).map_or_else(|_| excerpt(&body), |said| said.error);
            Err(FetchError::Refused { url, status, body: why }.into())
        }
    }
}

fn list(rules: &DebugRules, json: bool) -> io::Result<()> {
    if json {
        return say_json(serde_json::json!(rules));
    }
    if rules.rules.is_empty() {
        return say("no traces are asked for");
    }
    rules.rules.iter().try_for_each(|rule| say(line(rule)))
}

fn told(rule: &DebugRule, json: bool, what: &str) -> io::Result<()> {
    if json { say_json(serde_json::json!(rule)) } else { say(format_args!("{}: {what}", line(rule))) }
}

fn line(rule: &DebugRule) -> String {
    let DebugRule { id, header, consumer, api, per_second, until, traces } = rule;
    let named = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let what = named("header", header).or_else(|| named("consumer", consumer)).or_else(|| named("API", api));
    let what = what.unwrap_or_default();
    format!("{id}  {what}  until {until}, {per_second} a second, {traces} so far")
}
