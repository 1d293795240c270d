//! The access log: which requests have a line, what a line says, and that no output holds up a request.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually};
use weir_testkit::process::program;
use weir_testkit::{get, get_with, upstream};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A Configuration with this `logging`.
fn logging(logging: &str) -> String {
    format!(
        "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: logs}}\nspec:\n  logging: {logging}\n"
    )
}

/// A policy of the first API.
fn policy(name: &str, config: &str) -> String {
    format!(
        "---\napiVersion: gateway.weir.dev/v1\nkind: PolicyBinding\nmetadata: {{name: {name}}}\nspec: {{targetRef: {{name: api-0}}, \
         policyRef: {{name: {name}}}, config: {config}}}\n"
    )
}

async fn start(site: &Site, more_yaml: String) -> Gateway {
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    Gateway::start(site, &GatewaySpec { more_yaml, ..GatewaySpec::new("here", "edge", upstream) }).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()))).collect()
}

/// The lines of a file, when there are so many.
async fn written(path: &Path, count: usize) -> Vec<Value> {
    eventually("the lines are written", async || Some(lines(path)).filter(|lines| lines.len() >= count)).await
}

async fn metric(admin: SocketAddr, series: &str) -> f64 {
    let (_, text) = get(&format!("http://{admin}/metrics")).await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or_default()
}

async fn ask(at: SocketAddr, path: &str) -> u16 {
    get(&format!("http://{at}{path}")).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_a_line_with_its_trace_and_the_file_may_be_rotated() {
    let site = Site::new().unwrap();
    let file = site.path("requests.log");
    let gateway = start(
        &site,
        logging(&format!(
            "{{outputs: [{{name: a, type: file, parameters: {{file: \"{}\"}}}}], accessLogs: {{outputs: [a]}}}}",
            file.display()
        )),
    )
    .await;
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let url = format!("http://{}/status/404?secret=1", gateway.address);
    get_with(&url, &[("traceparent", &traceparent), ("user-agent", "a \"b\"")]).await.unwrap();
    let line = &written(&file, 1).await[0];
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!((&line["status"], &line["path"], &line["method"]), (&404.into(), &"/status/404".into(), &"GET".into()));
    assert_eq!((&line["query"], &line["user_agent"]), (&"secret=*".into(), &"a \"b\"".into()));
    assert_eq!((&line["api"], &line["gateway"]), (&"api-0".into(), &"edge".into()));
    assert!(line["total_us"].as_u64().unwrap() > 0 && line["span_id"] != "00f067aa0ba902b7", "{line}");

    let moved = site.path("requests.log.1");
    fs::rename(&file, &moved).unwrap();
    // Lines that come at once may still go to the file that was moved.
    let after = eventually("it goes on under its name", async || {
        ask(gateway.address, "/after").await;
        Some(lines(&file)).filter(|lines| !lines.is_empty())
    })
    .await;
    let all: Vec<_> = lines(&moved).into_iter().chain(after).collect();
    let spans: HashSet<_> = all.iter().map(|line| line["span_id"].to_string()).collect();
    assert_eq!(spans.len(), all.len(), "no line twice");
    let series = "weir_log_output_lines_total{output=\"a\"}";
    let accepted = metric(gateway.admin, "weir_events_accepted_total{worker=\"0\"}").await;
    eventually("every request has its line", async || (metric(gateway.admin, series).await == accepted).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_a_policy_and_a_limit_say_which_requests_have_a_line() {
    let site = Site::new().unwrap();
    let file = site.path("requests.log");
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.apis.push(("/own".to_owned(), upstream, String::new()));
    let outputs = format!(
        "outputs: [{{name: a, type: file, parameters: {{file: \"{}\", template: '{{path}} {{status}}'}}}}]",
        file.display()
    );
    spec.more_yaml = logging(&format!(
        "{{{outputs}, accessLogs: {{outputs: [a], filters: [{{status: [5xx]}}, {{reason: [no_route]}}, {{minDuration: 200ms}}]}}}}"
    ));
    spec.apis.remove(0);
    spec.apis.push(("/all".to_owned(), upstream, String::new()));
    // Of the first API, `/own`: everything, and at most two a second.
    spec.more_yaml += &policy("access-log", "{perSecond: 2}");
    let gateway = Gateway::start(&site, &spec).unwrap();
    for path in ["/all/status/200", "/all/status/503", "/none", "/all/slow?ms=250", "/all/status/404"] {
        ask(gateway.address, path).await;
    }
    for _ in 0..30 {
        ask(gateway.address, "/own/status/200").await;
    }
    let told = eventually("what was left out is reported", async || {
        let text = fs::read_to_string(&file).ok()?;
        let left_out =
            metric(gateway.admin, "weir_log_output_lines_dropped_total{output=\"a\",reason=\"limit\"}").await;
        let told = text.lines().filter_map(|line| line.split_once(" lines are not here: more than `perSecond`"));
        let told: Vec<f64> = told.map(|(line, _)| line.trim_start_matches("- - ").parse().unwrap()).collect();
        (left_out > 0.0 && told.iter().sum::<f64>() == left_out).then_some(text)
    })
    .await;
    let paths: Vec<_> = told.lines().map(|line| line.split(" trace_id=").next().unwrap()).collect();
    let of_all: Vec<_> = paths.iter().filter(|line| !line.starts_with("/own") && !line.starts_with('-')).collect();
    assert_eq!(of_all, [&"/all/status/503 503", &"/none 404", &"/all/slow 200"]);
    let own = paths.iter().filter(|line| line.starts_with("/own")).count();
    assert!((2..30).contains(&own), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_write_messages_before_and_after() {
    let site = Site::new().unwrap();
    let file = site.path("requests.log");
    let config = "{loggingConfiguration: [{itemName: a, itemData: {message: \"#[attributes.method ++ ' ' ++ attributes.headers['x-id'] ++ \
                  ' ' ++ attributes.headers['authorization']]\", category: before, level: WARN, firstSection: true}}, {itemData: {message: \
                  \"#['answered ' ++ attributes.statusCode]\", conditional: \"#[attributes.statusCode != 200]\", secondSection: true}}]}";
    let outputs = format!(
        "{{outputs: [{{name: a, type: file, parameters: {{file: \"{}\"}}}}], accessLogs: {{outputs: [a], requests: false}}, \
         runtimeLogs: {{outputs: [a]}}}}",
        file.display()
    );
    let mut gateway = start(&site, logging(&outputs) + &policy("message-logging-flex", config)).await;
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for path in ["/status/200", "/status/404"] {
        let headers = [("traceparent", &*traceparent), ("x-id", "7\u{e9}"), ("authorization", "Bearer secret")];
        get_with(&format!("http://{}{path}", gateway.address), &headers).await.unwrap();
    }
    let messages = eventually("the messages are written", async || {
        let lines = lines(&file);
        let messages: Vec<_> = lines.into_iter().filter(|line| line["kind"] == "accessLog").collect();
        (messages.len() == 3).then_some(messages)
    })
    .await;
    let said: Vec<_> = messages.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(said, ["GET 7\u{e9} ***", "GET 7\u{e9} ***", "answered 404"]);
    for line in &messages {
        assert_eq!((&line["trace_id"], &line["policy"]), (&TRACE.into(), &"message-logging-flex".into()));
    }
    assert_eq!((&messages[0]["level"], &messages[0]["category"]), (&"warn".into(), &"before".into()));
    // The gateway's own log is there as well, to its last line.
    gateway.process.signal(Signal::TERM);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
    let of_program: Vec<_> = lines(&file).into_iter().filter(|line| line["kind"] == "runtimeLog").collect();
    assert_eq!(of_program.last().unwrap()["message"], "ended");
    assert!(!fs::read_to_string(&file).unwrap().contains("secret"));
}

/// A disk that is full, and a pipe that nobody reads: requests go on, lines are counted, and other outputs have them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_takes_nothing_holds_up_nothing() {
    let site = Site::new().unwrap();
    let (folder, file) = (site.path("edge"), site.path("requests.log"));
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.more_yaml = logging(&format!(
        "{{outputs: [{{name: out, type: stdout}}, {{name: full, type: file, parameters: {{file: /dev/full}}}}, {{name: well, type: file, \
         parameters: {{file: \"{}\"}}}}], accessLogs: {{outputs: [out, full, well]}}}}",
        file.display()
    ));
    let mut gateway = Unread::start(&spec, &folder);
    let (address, admin) = (gateway.said("listening on http://"), gateway.said("admin on http://"));
    let long = "a".repeat(2000);
    // More than the pipe and the buffers of this output take.
    let count = 2500;
    for _ in 0..count / 50 {
        assert_eq!(answered(address, &format!("/status/200/{long}?{long}=1"), 50), 50);
    }
    let dropped = |output: &str, reason: &str| {
        format!("weir_log_output_lines_dropped_total{{output=\"{output}\",reason=\"{reason}\"}}")
    };
    let lines = |output: &str| format!("weir_log_output_lines_total{{output=\"{output}\"}}");
    eventually("each line is accounted for", async || {
        let well = metric(admin, &lines("well")).await == f64::from(count);
        let full = metric(admin, &dropped("full", "write_failed")).await == f64::from(count);
        let out = metric(admin, &dropped("out", "queue_full")).await > 0.0;
        (well && full && out).then_some(())
    })
    .await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&gateway.child), Signal::TERM).unwrap();
    let status = eventually("it ends", async || gateway.child.try_wait().unwrap()).await;
    assert!(status.success());
}

/// How many of so many requests on one connection are answered.
fn answered(address: SocketAddr, target: &str, count: usize) -> usize {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let requests = (1..=count).map(|n| {
        let connection = if n == count { "close" } else { "keep-alive" };
        format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\r\n")
    });
    let requests: String = requests.collect();
    let mut reading = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stream.write_all(requests.as_bytes()).unwrap());
        let mut answers = String::new();
        reading.read_to_string(&mut answers).unwrap();
        answers.matches("HTTP/1.1 200").count()
    })
}

/// A gateway whose standard output is a pipe that is read no further than a test asks.
struct Unread {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Unread {
    fn start(spec: &GatewaySpec, folder: &Path) -> Self {
        let conf: PathBuf = folder.join("conf.d");
        fs::create_dir_all(&conf).unwrap();
        fs::write(conf.join("gateway.yaml"), spec.yaml(folder)).unwrap();
        let mut command = Command::new(program("weir").unwrap());
        command.args(["run", "--workers", "1", "--config"]).arg(&conf);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        fcntl_setpipe_size(&out, 4096).unwrap();
        Self { child, out: BufReader::with_capacity(1, out) }
    }

    fn said(&mut self, mark: &str) -> SocketAddr {
        let mut line = String::new();
        while self.out.read_line(&mut line).unwrap() > 0 {
            if let Some((_, address)) = line.split_once(mark) {
                return address.trim().parse().unwrap();
            }
            line.clear();
        }
        panic!("it does not say `{mark}`");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.out.read(&mut [0; 1]));
    }
}

/// Users of another gateway lost their standard output by it (traefik/traefik#11779): here a file has its lines as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_go_to_a_receiver_beside_the_file() {
    let receiver = weir_testkit::otlp::Receiver::start("127.0.0.1:0").await.unwrap();
    let site = Site::new().unwrap();
    let file = site.path("requests.log");
    let yaml = logging(&format!(
        "{{outputs: [{{name: a, type: file, parameters: {{file: \"{}\"}}}}, {{name: b, type: otlp}}], accessLogs: {{outputs: [a, b]}}}}",
        file.display()
    ));
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let spec = GatewaySpec { more_yaml: yaml, ..GatewaySpec::new("here", "edge", upstream) };
    let endpoint = format!("http://{}", receiver.address);
    let env = [("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &*endpoint)];
    let mut gateway = Gateway::start_with(&site, &spec, &env).unwrap();
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let url = format!("http://{}/status/404", gateway.address);
    get_with(&url, &[("traceparent", &traceparent)]).await.unwrap();
    let line = &written(&file, 1).await[0];
    let record = eventually("the record arrives", async || receiver.logs().into_iter().next()).await;
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((hex(&record.trace_id), Value::from(hex(&record.span_id))), (TRACE.to_owned(), line["span_id"].clone()));
    // Every field of the line is an attribute but these two, which a record has itself.
    let fields: HashSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let attributes: HashSet<_> = record.attributes.iter().map(|pair| pair.key.as_str()).collect();
    // An attribute without a value is none.
    let missing: Vec<_> = fields.difference(&attributes).filter(|name| line[**name] != "").copied().collect();
    assert_eq!(missing.iter().collect::<HashSet<_>>(), ["trace_id", "span_id"].iter().collect());
    assert!(attributes.is_subset(&fields), "{attributes:?}");
    let resource = receiver.received()[0].resource().unwrap().attributes.clone();
    assert!(resource.iter().any(|pair| pair.key == "service.instance.id"), "{resource:?}");
    let count = || metric(gateway.admin, r#"weir_log_output_lines_total{output="b"}"#);
    eventually("it is counted", async || (count().await == 1.0).then_some(())).await;
    // The last lines are not lost with the process.
    ask(gateway.address, "/last").await;
    gateway.process.signal(Signal::TERM);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
    assert_eq!((receiver.logs().len(), lines(&file).len()), (2, 2));
}
