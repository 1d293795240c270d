//! Is the request a span? By the exporter's acknowledgement, and by the row where spans end up in ClickHouse. What another
//! back end has, this program cannot see: it says so.

use super::leg::{Leg, Look, Search};
use crate::fetch;
use crate::terminal::excerpt;
use http::StatusCode;
use std::time::Duration;
use weir_api::admin::{PipelineMark, PipelineSpans, SpansState};

/// What the legs are called.
const EXPORT: &str = "span";
const ROW: &str = "span row";

/// Whether the receiver has acknowledged the span, by the gateway's exporter.
pub async fn exported(mark: &PipelineMark, admin: &str, trace: &str, search: Search) -> Leg {
    let Some(receiver) = &mark.spans else {
        return Leg::not_configured(EXPORT, "the gateway makes no spans: neither `tracing` nor OTEL_* asks for them");
    };
    Leg::of(EXPORT, search.until(async || acknowledged(receiver, admin, trace).await).await)
}

async fn acknowledged(receiver: &str, admin: &str, trace: &str) -> Look {
    let answer = match fetch::get_ok(admin, &format!("/probes/pipeline/{trace}")).await {
        Ok((_, body)) => serde_json::from_str::<PipelineSpans>(&body),
        Err(error) => return Look::Not(error.to_string()),
    };
    let Ok(spans) = answer else { return Look::Never("the gateway's answer is not understood".to_owned()) };
    let after = spans.after_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
    match (spans.state, spans.error) {
        (SpansState::Acknowledged, _) => Look::Found(format!("acknowledged by {receiver}"), after),
        (SpansState::Waiting, None) => Look::Not(format!("{receiver} has not acknowledged it yet")),
        (SpansState::Waiting, Some(error)) => {
            Look::Not(format!("{receiver} does not take it: {error}; the gateway goes on trying"))
        }
        (SpansState::Dropped, error) => {
            Look::Never(format!("given up, {receiver} did not take it: {}", error.unwrap_or_default()))
        }
        (SpansState::Unknown | SpansState::NotConfigured, _) => Look::Never(
            "the gateway knows nothing of the span: it was started again, or the request went to another".to_owned(),
        ),
    }
}

/// Whether the span is a row of `table`.
pub async fn stored(mark: &PipelineMark, table: Option<&str>, trace: &str, search: Search) -> Leg {
    if mark.spans.is_none() {
        return Leg::not_configured(ROW, "no spans are made");
    }
    let Some(table) = table else {
        return Leg::not_checked(
            ROW,
            "what the receiver does with the span is not seen; --span-table looks in ClickHouse",
        );
    };
    let Some((base, name)) = parsed(table) else {
        return Leg::failed(ROW, format!("`{table}` is no table; write it as http://HOST:8123/DATABASE.TABLE"));
    };
    let sql = format!("SELECT count() FROM {name} WHERE TraceId = '{trace}' AND Timestamp > now() - INTERVAL 1 DAY");
    Leg::of(ROW, search.until(async || counted(base, name, &sql).await).await)
}

async fn counted(base: &str, name: &str, sql: &str) -> Look {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (user, password) = (variable("WEIR_CLICKHOUSE_USER"), variable("WEIR_CLICKHOUSE_PASSWORD"));
    let fields: &[_] = if user.is_empty() && password.is_empty() {
        &[]
    } else {
        &[("x-clickhouse-user", &*user), ("x-clickhouse-key", &*password)]
    };
    match fetch::get_with(base, &format!("/?query={}", escaped(sql)), fields).await {
        Err(error) => Look::Not(format!("ClickHouse: {error} (--span-table)")),
        Ok((_, StatusCode::OK, _, count)) => match count.trim().parse::<u64>() {
            Ok(0) => Look::Not(format!("{name} has no row of it: look at the receiver's own log and metrics")),
            Ok(_) => Look::Found(format!("stored in {name}"), None),
            Err(_) => Look::Never(format!("{base} does not answer as ClickHouse does (--span-table)")),
        },
        Ok((_, status, _, why)) => Look::Not(format!("ClickHouse answers {status}: {}", excerpt(&why))),
    }
}

/// Where ClickHouse is, and the table.
fn parsed(url: &str) -> Option<(&str, &str)> {
    let (base, name) = url.rsplit_once('/')?;
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let (database, table) = name.split_once('.')?;
    (base.contains("://") && is_word(database) && is_word(table)).then_some((base, name))
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_database_and_a_name() {
        assert_eq!(parsed("http://h:8123/weir.otel_traces"), Some(("http://h:8123", "weir.otel_traces")));
        for url in ["http://h:8123", "http://h:8123/t", "weir.t", "http://h/a.b.c", "http://h/a.b'", "http://h/a."] {
            assert_eq!(parsed(url), None, "{url}");
        }
        assert_eq!(escaped("a = 'b'"), "a%20%3D%20%27b%27");
    }
}
