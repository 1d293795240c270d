use super::*;
use bytes::Bytes;
use http::HeaderValue;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message;
use std::time::Duration;
use weir_config::{Scheme, UpstreamAddress};
use weir_event::Instant;
use weir_event::exchange::TraceFacts;
use weir_event::{Attempt, Exchange, NameId, PolicyRun, Protocol, Turn, Verdict, record};

const STARTED_US: i64 = 1_700_000_000_000_001;

struct Case {
    names: Arc<Names>,
    exchange: Exchange,
    limits: AttributeLimits,
    known_methods: Option<Vec<String>>,
}

/// GET of `orders`, answered by 200 at the first attempt.
fn case() -> Case {
    let names = Arc::new(Names::new());
    let now = Instant::now();
    let mut exchange = Exchange::new(now, STARTED_US);
    exchange.api = names.register("orders");
    exchange.route = names.register("r1");
    exchange.service = names.register("stock");
    exchange.path_template = names.register("/orders/.*");
    exchange.method = Method::Get;
    exchange.target = "/orders/7?page=2&X-Amz-Signature=s3cret".parse().unwrap();
    exchange.forwarded = Some("/v1/orders/7?page=2&X-Amz-Signature=s3cret".parse().unwrap());
    exchange.host = Some(HeaderValue::from_static("api.example:8443"));
    exchange.user_agent = Some(HeaderValue::from_static("curl/8"));
    exchange.protocol = Protocol::Http2;
    exchange.client = "192.0.2.7".parse().unwrap();
    exchange.peer = Some("10.0.0.1".parse().unwrap());
    exchange.status = 200;
    exchange.upstream_status = 200;
    exchange.trace = TraceFacts {
        trace: TraceId([0xab; 16]),
        span: SpanId([0x10; 8]),
        parent: SpanId([7; 8]),
        sampled: true,
        kept: Some(weir_event::Kept::Sampled),
    };
    let address = Some("10.1.2.3:8080".parse().unwrap());
    let took = Duration::from_micros(40);
    exchange.attempts.push(Attempt { address, start_us: 20, took, first_byte: took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.hand_to(Turn::Gateway, now + Duration::from_micros(60));
    exchange.finish(Outcome::Completed, now + Duration::from_micros(100));
    Case { names, exchange, limits: AttributeLimits::default(), known_methods: None }
}

impl Case {
    fn spans(&self) -> Vec<Span> {
        let origin = |host: &str| UpstreamAddress { scheme: Scheme::Http, host: host.to_owned(), port: 8080 };
        let origins = [origin("stock.internal"), origin("stock-2.internal")];
        let mut bytes = Vec::new();
        record::encode(&self.exchange, 3, &mut bytes);
        let kept = KeptRequest::new(&bytes, &self.exchange, &|attempt| origins.get(usize::from(attempt.endpoint)));
        let mut out = Vec::new();
        let mut spans = Spans::new(Arc::clone(&self.names), self.limits, self.known_methods.as_deref());
        let count = spans.append(&kept, &mut out);
        let read = ScopeSpans::decode(&out[..]).unwrap().spans;
        assert_eq!(read.len(), count as usize);
        read
    }
}

fn shown(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn get<'s>(span: &'s [(String, String)], key: &str) -> Option<&'s str> {
    span.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

#[test]
fn a_request_is_a_server_span_and_a_client_span_attribute_by_attribute() {
    let spans = case().spans();
    let [server, client] = &spans[..] else { panic!("{} spans", spans.len()) };
    assert_eq!((server.name.as_str(), server.kind, client.name.as_str(), client.kind), ("GET /orders/.*", 2, "GET", 3));
    assert_eq!(
        (&server.trace_id[..], &server.span_id[..], &server.parent_span_id[..]),
        (&[0xab; 16][..], &[0x10; 8][..], &[7; 8][..])
    );
    assert_eq!(
        (&client.span_id[..7], client.span_id[7], &client.parent_span_id),
        (&[0x10; 7][..], 0x11, &server.span_id)
    );
    let start = STARTED_US as u64 * 1000;
    assert_eq!((server.start_time_unix_nano, server.end_time_unix_nano), (start, start + 100_000));
    assert_eq!((client.start_time_unix_nano, client.end_time_unix_nano), (start + 20_000, start + 60_000));
    assert_eq!((server.flags, client.flags), (0x301, 0x101));
    assert!(server.status.is_none() && client.status.is_none());
    let pairs = |list: &[(&str, &str)]| {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&server.attributes),
        pairs(&[
            ("http.request.method", "GET"),
            ("url.scheme", "http"),
            ("url.path", "/orders/7"),
            ("url.query", "page=*&X-Amz-Signature=*"),
            ("http.route", "/orders/.*"),
            ("http.response.status_code", "200"),
            ("server.address", "api.example"),
            ("server.port", "8443"),
            ("client.address", "192.0.2.7"),
            ("network.peer.address", "10.0.0.1"),
            ("network.protocol.version", "2"),
            ("user_agent.original", "curl/8"),
            ("weir.api", "orders"),
            ("weir.route", "r1"),
            ("weir.service", "stock"),
            ("weir.kept", "sampled"),
            ("weir.gateway.duration", "0.00006"),
            ("weir.upstream.duration", "0.00004"),
            ("weir.client.duration", "0"),
        ])
    );
    assert_eq!(
        shown(&client.attributes),
        pairs(&[
            ("http.request.method", "GET"),
            ("server.address", "stock.internal"),
            ("server.port", "8080"),
            ("url.full", "http://stock.internal:8080/v1/orders/7?page=*&X-Amz-Signature=*"),
            ("http.response.status_code", "200"),
            ("network.peer.address", "10.1.2.3"),
            ("network.peer.port", "8080"),
            ("network.protocol.version", "1.1"),
            ("weir.service", "stock"),
            ("weir.first_byte.duration", "0.00004"),
        ])
    );
}

/// HTTP conventions, "Status": 4xx is no error of the server's span and one of the client's; who leaves is none.
#[test]
fn errors_are_those_of_the_conventions() {
    for (status, reason, server, client) in [
        (200, Reason::None, None, None),
        (404, Reason::None, None, Some("404")),
        (503, Reason::None, Some("503"), Some("503")),
        (429, Reason::RateLimited, None, None),
        (502, Reason::ConnectionRefused, Some("connection_refused"), Some("connection_refused")),
        (504, Reason::UpstreamTimeout, Some("upstream_timeout"), Some("upstream_timeout")),
        (200, Reason::ResponseIncomplete, Some("response_incomplete"), None),
        (499, Reason::ClientClosed, None, None),
        (503, Reason::Overloaded, Some("overloaded"), None),
        (200, Reason::PolicyAnswered, None, None),
    ] {
        let mut case = case();
        case.exchange.status = status;
        case.exchange.reason = reason;
        let of_attempt = [Reason::ConnectionRefused, Reason::UpstreamTimeout, Reason::ClientClosed].contains(&reason);
        case.exchange.upstream_status = if of_attempt || reason == Reason::Overloaded { 0 } else { status };
        if of_attempt {
            case.exchange.attempts[0].outcome = reason;
        } else if reason == Reason::RateLimited {
            case.exchange.attempts.clear();
        }
        let spans = case.spans();
        let error = |span: &Span| {
            let error = get(&shown(&span.attributes), "error.type").map(str::to_owned);
            assert_eq!(error.is_some(), span.status.as_ref().is_some_and(|status| status.code == 2), "{reason:?}");
            error
        };
        assert_eq!(error(&spans[0]).as_deref(), server, "server {status} {reason:?}");
        assert_eq!(spans.get(1).and_then(error).as_deref(), client, "client {status} {reason:?}");
        let sent = get(&shown(&spans[0].attributes), "http.response.status_code").map(str::to_owned);
        assert_eq!(sent.is_some(), status != 499, "{status}");
    }
}

#[test]
fn a_second_attempt_says_that_it_is_one() {
    let mut case = case();
    case.exchange.attempts.insert(0, Attempt { outcome: Reason::ConnectionTerminated, ..Attempt::new() });
    let spans = case.spans();
    let count = |span: &Span| get(&shown(&span.attributes), "http.request.resend_count").map(str::to_owned);
    assert_eq!((count(&spans[1]), count(&spans[2])), (None, Some("1".to_owned())));
    assert_eq!((spans[1].span_id[7] & 15, spans[2].span_id[7] & 15), (1, 2));
    assert_eq!(get(&shown(&spans[1].attributes), "http.response.status_code"), None);
}

#[test]
fn an_attempt_elsewhere_says_where_and_what_it_was_answered() {
    let mut case = case();
    case.exchange.attempts.insert(0, Attempt { endpoint: 1, status: 503, ..Attempt::new() });
    let spans = case.spans();
    let (first, last) = (shown(&spans[1].attributes), shown(&spans[2].attributes));
    assert_eq!(get(&first, "server.address"), Some("stock-2.internal"));
    assert!(get(&first, "url.full").unwrap().starts_with("http://stock-2.internal:8080/"));
    assert_eq!((get(&first, "http.response.status_code"), get(&first, "error.type")), (Some("503"), Some("503")));
    assert_eq!(get(&last, "server.address"), Some("stock.internal"));
    assert_eq!(get(&last, "http.response.status_code"), Some("200"));
}

#[test]
fn methods_that_nobody_knows_are_other_and_the_list_can_be_replaced() {
    let mut case = case();
    case.exchange.method = Method::Other;
    case.exchange.method_original = Bytes::from_static(b"PURGE");
    case.exchange.path_template = NameId::NONE;
    let of = |case: &Case| {
        let server = &case.spans()[0];
        let attributes = shown(&server.attributes);
        let original = get(&attributes, "http.request.method_original").map(str::to_owned);
        (server.name.clone(), get(&attributes, "http.request.method").unwrap().to_owned(), original)
    };
    assert_eq!(of(&case), ("HTTP".into(), "_OTHER".into(), Some("PURGE".into())));
    case.known_methods = Some(vec!["PURGE".into()]);
    assert_eq!(of(&case), ("PURGE".into(), "PURGE".into(), None));
    case.exchange.method = Method::Get;
    assert_eq!(of(&case), ("HTTP".into(), "_OTHER".into(), Some("GET".into())));
}

#[test]
fn policies_are_events_and_a_restarted_trace_has_a_link() {
    let mut case = case();
    let policy = case.names.register("jwt");
    let took = Duration::from_micros(12);
    case.exchange.policies.push(PolicyRun {
        start_us: 5,
        waited_us: 9,
        took,
        ..PolicyRun::new(policy, Verdict::Continue)
    });
    let link = format!("{}-{}", "4b".repeat(16), "0f".repeat(8));
    case.exchange.attrs.push((Bytes::from_static(b"trace.link"), Bytes::from(link)));
    case.exchange.attrs.push((Bytes::from_static(b"tenant"), Bytes::from_static(b"blue")));
    let server = &case.spans()[0];
    let [event] = &server.events[..] else { panic!("one event") };
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("weir.policy", STARTED_US as u64 * 1000 + 5000));
    let expected = [
        ("weir.policy.name", "jwt"),
        ("weir.policy.verdict", "continue"),
        ("weir.policy.duration", "0.000012"),
        ("weir.policy.waited", "0.000009"),
    ];
    assert_eq!(shown(&event.attributes), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let [link] = &server.links[..] else { panic!("one link") };
    assert_eq!((&link.trace_id[..], &link.span_id[..]), (&[0x4b; 16][..], &[0x0f; 8][..]));
    assert_eq!(get(&shown(&server.attributes), "tenant"), Some("blue"));
    assert_eq!(get(&shown(&server.attributes), "trace.link"), None);
}

#[test]
fn attributes_past_the_limit_are_counted() {
    let mut case = case();
    case.limits = AttributeLimits { count: 3, length: Some(4) };
    let server = &case.spans()[0];
    assert_eq!((server.attributes.len(), server.dropped_attributes_count), (3, 16));
    assert_eq!(get(&shown(&server.attributes), "url.path"), Some("/ord"));
}

#[test]
fn an_authority_is_an_address_and_a_port() {
    for (authority, expected) in [
        ("api.example", ("api.example", None)),
        ("api.example:80", ("api.example", Some(80))),
        ("[::1]:8080", ("[::1]", Some(8080))),
        ("[::1]", ("[::1]", None)),
        ("", ("", None)),
    ] {
        let (host, port) = split_authority(authority.as_bytes());
        assert_eq!((std::str::from_utf8(host).unwrap(), port), expected);
    }
}

#[test]
fn spans_carry_the_state_that_the_trace_came_with() {
    let mut case = case();
    assert!(case.spans().iter().all(|span| span.trace_state.is_empty()));
    case.exchange.trace_state = Some(Bytes::from_static(b"a=1,ot=th:c;rv:12345678901234"));
    let spans = case.spans();
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|span| span.trace_state == "a=1,ot=th:c;rv:12345678901234"), "{spans:?}");
    let url = spans[1].attributes.iter().find(|pair| pair.key == "url.full").and_then(|pair| pair.value.clone());
    let Some(Value::StringValue(url)) = url.and_then(|url| url.value) else { panic!("{spans:?}") };
    assert!(url.starts_with("http://stock.internal:8080/v1/orders/7?"), "{url}");
}

#[test]
fn an_attempt_over_http2_says_so() {
    let mut case = case();
    let spoken = |case: &Case| {
        let spans = case.spans();
        let shown = shown(&spans.last().unwrap().attributes);
        shown.into_iter().find(|(name, _)| name == "network.protocol.version").unwrap().1
    };
    assert_eq!(spoken(&case), "1.1");
    case.exchange.attrs.push((Bytes::from_static(b"upstream.protocol"), Bytes::from_static(b"2")));
    assert_eq!(spoken(&case), "2");
}

/// Its status of HTTP is 200 on both sides.
#[test]
fn an_error_of_grpc_is_one_of_both_spans() {
    let mut case = case();
    case.exchange.reason = Reason::GrpcError;
    let spans = case.spans();
    assert_eq!(spans.len(), 2);
    for span in spans {
        assert_eq!(get(&shown(&span.attributes), "error.type"), Some("grpc_error"));
        assert_eq!(span.status.unwrap().code, 2);
    }
}
