//! `Configuration.logging` and `access-log`: what is taken, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::Path;
use std::time::Duration;
use weir_config::{GatewayConfig, LineFormat, LogTarget, load_text};
use weir_event::Reason;

fn load(text: &str) -> Result<GatewayConfig, String> {
    load_text(Path::new("x.yaml"), text, &|_| None).map_err(|errors| errors.to_string())
}

fn logging(logging: &str) -> Result<GatewayConfig, String> {
    load(&format!(
        "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: logs}}\nspec: {{logging: {logging}}}\n"
    ))
}

#[test]
fn lines_of_all_requests_go_to_the_outputs_that_are_named() {
    let config = logging(
        "{outputs: [{name: a, type: file, parameters: {path: /var/log, file: a.log, fields: [ts, trace_id]}}, \
         {name: b, type: stdout, parameters: {template: '{status}'}}], accessLogs: {outputs: [b], perSecond: 5}, \
         runtimeLogs: {outputs: [a]}}",
    )
    .unwrap();
    let logging = &config.startup.logging;
    let [program] = &logging.of_program()[..] else { panic!("{logging:?}") };
    assert_eq!(program.target, LogTarget::File("/var/log/a.log".into()));
    assert!(matches!(&program.format, LineFormat::Json(fields) if fields.len() == 2));
    let [requests] = &logging.of_requests()[..] else { panic!("{logging:?}") };
    assert!(requests.target == LogTarget::Stdout && matches!(requests.format, LineFormat::Template(_)));
    assert_eq!(config.access_log().unwrap().per_second, Some(5));
}

#[test]
fn without_outputs_no_request_has_a_line_unless_somebody_asks() {
    let config = logging("{runtimeLogs: {logLevel: info}}").unwrap();
    assert_eq!(config.access_log(), None);
    assert_eq!(config.startup.logging.of_requests()[0].target, LogTarget::Stdout);
    assert!(logging("{accessLogs: {requests: true}}").unwrap().access_log().is_some());
    let named = "{outputs: [{name: a, type: stdout}], accessLogs: {outputs: [a], requests: false}}";
    assert_eq!(logging(named).unwrap().access_log(), None);
    // Flex's way to say that nothing goes to its platform.
    assert!(logging("{accessLogs: {outputs: {anypoint: disabled}}}").is_ok());
}

#[test]
fn filters() {
    let config = logging(
        "{accessLogs: {requests: true, filters: [{status: [5xx, 404, 400-403], reason: [no_route]}, {minDuration: 500ms}, \
         {sampling: 1}]}}",
    )
    .unwrap();
    let filters = config.access_log().unwrap().filters;
    assert_eq!(filters[0].statuses, [(500, 599), (404, 404), (400, 403)]);
    assert_eq!(filters[0].reasons, [Reason::NoRoute]);
    assert_eq!(filters[1].min_duration, Some(Duration::from_millis(500)));
    assert_eq!(filters[2].sampling.unwrap().ratio(), 0.01);
}

/// What is wrong, and what is said of it.
#[test]
fn what_is_wrong_is_refused() {
    for (text, said) in [
        ("{outputs: [{name: a, type: kafka}]}", "OTLP"),
        ("{outputs: [{name: a, type: file}]}", "names no file"),
        ("{outputs: [{name: a, type: otlp, parameters: {file: x}}]}", "write `type: file`"),
        ("{outputs: [{name: a, type: otlp, parameters: {address: 'ftp://x'}}]}", "neither http, https nor h2"),
        ("{outputs: [{name: a, type: otlp, parameters: {serviceType: http}}]}", "no `address`"),
        ("{outputs: [{name: a, type: stdout, parameters: {address: 'http://x'}}]}", "write `type: otlp`"),
        ("{outputs: [{name: a, type: stdout, parameters: {file: x}}]}", "write `type: file`"),
        ("{outputs: [{name: a, type: stdout, parameters: {fields: [nothing]}}]}", "is no field that a line can have"),
        ("{outputs: [{name: a, type: stdout, parameters: {template: '{nothing}'}}]}", "names `{nothing}`"),
        ("{outputs: [{name: a, type: stdout, parameters: {format: template}}]}", "has no `template`"),
        ("{outputs: [{name: a, type: stdout, parameters: {format: json, template: x}}]}", "write `format: template`"),
        ("{outputs: [{name: a, type: stdout, parameters: {template: x, fields: [ts]}}]}", "remove one"),
        ("{outputs: [{name: a, type: stdout, parameters: {path: /x}}]}", "no `file`"),
        ("{outputs: [{name: a, type: stdout}, {name: a, type: stdout}]}", "two outputs `a`"),
        ("{outputs: [{name: main, type: stdout}], accessLogs: {outputs: [mian]}}", "did you mean `main`"),
        ("{runtimeLogs: {outputs: [a]}}", "is none of `logging.outputs`"),
        ("{accessLogs: {filters: [{status: [abc]}]}}", "`abc` is no status"),
        ("{accessLogs: {filters: [{status: [500-400]}]}}", "is no status"),
        ("{accessLogs: {filters: [{reason: [whatever]}]}}", "`whatever` is unknown"),
        ("{accessLogs: {filters: [{}]}}", "takes every request"),
    ] {
        let errors = logging(text).unwrap_err();
        assert!(errors.contains(said), "{text}: {errors}");
    }
}

/// An API's own policy goes before what a selector gives to many.
#[test]
fn an_api_says_which_of_its_requests_have_a_line() {
    let api = |more: &str| {
        format!(
            "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {{name: a}}\nspec: {{address: 'http://0.0.0.0:1', \
             services: {{s: {{address: 'http://127.0.0.1:2'}}}}{more}}}\n"
        )
    };
    let policy = ", policies: [{policyRef: {name: access-log}, config: {filters: [{status: [5xx]}], perSecond: 10}}]";
    let lines = load(&api(policy)).unwrap().apis[0].access_log.clone().unwrap();
    assert_eq!((lines.of_all, lines.log.per_second, lines.log.filters.len()), (Some(true), Some(10), 1));
    let binding = |name: &str, order: u32, config: &str| {
        format!(
            "---\napiVersion: gateway.weir.dev/v1\nkind: PolicyBinding\nmetadata: {{name: {name}}}\nspec: {{targetRef: {{kind: \
             Selector, selector: {{}}}}, policyRef: {{name: access-log-flex}}, order: {order}, config: {config}}}\n"
        )
    };
    let two = api("") + &binding("late", 9, "{}") + &binding("early", 2, "{enabled: false}");
    assert_eq!(load(&two).unwrap().apis[0].access_log.clone().unwrap().of_all, Some(false));
    let ruled = ", policies: [{policyRef: {name: access-log}, rules: [{path: /a}]}]";
    assert!(load(&api(ruled)).unwrap_err().contains("is for all requests of the API"));
}

/// The page lists every field, and what it shows is taken.
#[test]
fn the_page_is_true() {
    let page = std::fs::read_to_string("../../docs/access-log.md").unwrap();
    let list =
        page.split_once("Fields of the event that a line can have: ").unwrap().1.split_once("Their units").unwrap().0;
    let listed: Vec<_> =
        list.trim().trim_end_matches('.').split(',').map(|name| name.trim().trim_matches('`')).collect();
    let known: Vec<_> = weir_event::line::LINE_FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(listed, known);
    let envelope = "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {name: logs}\nspec:\n  logging:\n";
    let outputs = "    outputs: [{name: requests, type: stdout}]\n";
    let examples: Vec<_> = page.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let whole = match example {
            example if example.starts_with("api") => example.to_owned(),
            part => format!("{envelope}{outputs}{part}"),
        };
        let config = load(&whole).unwrap_or_else(|errors| panic!("{errors}\n{whole}"));
        assert!(config.warnings.is_empty(), "{whole}");
    }
}

fn target(config: &GatewayConfig, at: usize) -> weir_config::LogExport {
    match config.startup.logging.of_requests().remove(at).target {
        LogTarget::Otlp(export) => *export,
        other => panic!("{other:?}"),
    }
}

fn with_variables(text: &str, variables: &[(&str, &str)]) -> GatewayConfig {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: logs}}\nspec: {{logging: {text}}}\n"
    );
    let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    load_text(Path::new("x.yaml"), &text, &env).unwrap()
}

#[test]
fn lines_go_to_a_receiver_that_the_output_or_the_variables_name() {
    let own = "{outputs: [{name: a, type: otlp, parameters: {address: 'https://c:1', serviceType: http, fields: [status]}}], \
               accessLogs: {outputs: [a]}}";
    let config =
        with_variables(own, &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://d:2/x"), ("OTEL_BLRP_SCHEDULE_DELAY", "7")]);
    assert_eq!(target(&config, 0).target.endpoint, "https://c:1/v1/logs");
    assert_eq!((target(&config, 0).batch.delay, target(&config, 0).batch.size), (Duration::from_millis(7), 512));
    let bare = "{outputs: [{name: a, type: otlp}], accessLogs: {outputs: [a]}}";
    for (variables, expected) in [
        (vec![], "http://localhost:4318/v1/logs"),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1")], "http://c:1/v1/logs"),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "http://c:1/"),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"), ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://d/x")],
            "http://d/x",
        ),
    ] {
        assert_eq!(target(&with_variables(bare, &variables), 0).target.endpoint, expected, "{variables:?}");
    }
}

/// Users of another gateway found their standard output empty (traefik/traefik#11779).
#[test]
fn what_the_variables_ask_for_comes_beside_what_is_there() {
    let asked = [("OTEL_LOGS_EXPORTER", "otlp")];
    let config = with_variables("{runtimeLogs: {logLevel: info}}", &asked);
    let outputs = config.startup.logging.of_requests();
    assert_eq!((outputs.len(), &outputs[0].target), (2, &LogTarget::Stdout));
    assert_eq!(target(&config, 1).target.endpoint, "http://localhost:4318/v1/logs");
    assert_eq!(config.access_log(), None, "which requests have a line is said elsewhere");
    // A base URL alone is for spans.
    let base = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1")];
    assert_eq!(with_variables("{}", &base).startup.logging.also, None);
    // Switched off, it is nobody's, and standard output does not take its place.
    let named = "{outputs: [{name: a, type: otlp}], accessLogs: {outputs: [a]}}";
    let off = with_variables(named, &[("OTEL_LOGS_EXPORTER", "none")]);
    assert_eq!(off.startup.logging.of_requests(), []);
}
