//! The dashboards over real gateways: every query answers, the figures are what was sent, and the page in a real browser
//! shows these figures and leads to the request that failed.
//!
//! What holds of the files alone, and that broken ones are found out, is in `crates/analytics/tests/dashboards.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_e2e::{Browser, DRAWN, Gateway, GatewaySpec, Part, TestStack, axe, eventually, now_ms};
use weir_testkit::witness::{Line, Plan, State, Witness, read_log};
use weir_testkit::{get, get_with};

/// User requests: enough that every path comes up.
/// Dashboards of samples, which go on coming while a page is compared with the API.
const OF_SAMPLES: [&str; 2] = ["weir-gateways", "weir-pipeline"];
/// Panels of what has not happened here: `tests/grafana.rs` makes it happen.
const OF_TROUBLE: [&str; 4] = [
    "/weir-gateways/panel?panel=4&",
    "/weir-gateways/panel?panel=20&",
    "/weir-pipeline/panel?panel=13&",
    "/weir-pipeline/panel?panel=14&",
];

const REQUESTS: u64 = 600;
/// In milliseconds: how slow the slow path is.
const SLOW: u64 = 60;

const PEERS: &str = "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: peers}
spec: {peerGateways: [127.0.0.1]}
";

/// An API of the gateway in front, which sends to the one behind it.
fn api(name: &str, port: SocketAddr, to: SocketAddr, policies: &str) -> String {
    format!(
        "---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: {name}}}
spec:
  address: http://{port}/{name}
  services: {{main: {{address: \"http://{to}\", peerGateway: true}}}}
{policies}"
    )
}

const BASIC_AUTH: &str = "  policies:
    - policyRef: {name: http-basic-authentication-flex}
      config: {username: witness, password: demo}
";

/// Two gateways on two sites, with what is behind them.
struct Chain {
    stack: TestStack,
    front: Gateway,
}

impl Chain {
    async fn start() -> Self {
        let mut stack = TestStack::start(None).await.unwrap();
        stack.stop(Part::Gateway).unwrap();
        stack.spec.more_yaml = PEERS.to_owned();
        stack.start_part(Part::Gateway, None).unwrap();
        let port = weir_e2e::reserve().unwrap();
        let mut spec = GatewaySpec::new("on-prem", "front", stack.gateway_at);
        spec.apis.clear();
        spec.analytics = Some((stack.analytics_at, "token-front".to_owned()));
        spec.more_yaml = api("orders", port, stack.gateway_at, BASIC_AUTH) + &api("users", port, stack.gateway_at, "");
        let front = Gateway::start(&stack.site, &spec).unwrap();
        Self { stack, front }
    }

    /// Sends mixed traffic, and answers what became of each request when all of their events are stored.
    async fn load(&self) -> Vec<Line> {
        let log = self.stack.site.path("witness.ndjson");
        let mix = [
            ("/orders/fast", 60),
            (&format!("/orders/slow?ms={SLOW}"), 8),
            ("/orders/flaky?percent=30", 12),
            ("/users/fast", 20),
            ("/users/status/404", 4),
            ("/users/broken", 4),
            ("/nowhere", 4),
        ];
        let plan = Plan {
            target: self.front.address,
            connections: 8,
            rate: Some(300.0),
            requests: Some(REQUESTS),
            duration: None,
            mix: mix.map(|(path, weight)| (path.to_owned(), weight)).to_vec(),
            log: log.clone(),
        };
        let tally = Witness::start(plan).unwrap().wait().await.unwrap();
        assert_eq!(tally.sent, REQUESTS);
        eventually("every event is acknowledged", async || self.is_stored().await.then_some(())).await;
        read_log(&log).unwrap().into_iter().filter(|line| matches!(line.state, State::Ended { .. })).collect()
    }

    fn admins(&self) -> [SocketAddr; 2] {
        [self.front.admin, self.stack.admin().unwrap()]
    }

    /// Requests that the gateways say that they have handled.
    async fn accepted(&self) -> u64 {
        let mut all = 0;
        for admin in self.admins() {
            let (_, text) = get(&format!("http://{admin}/metrics")).await.unwrap();
            let counts = text.lines().filter(|line| line.starts_with("weir_events_accepted_total{"));
            all += counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>();
        }
        all
    }

    /// Whether weir-analytics has acknowledged every event: it is in the roll-ups too then.
    async fn is_stored(&self) -> bool {
        for admin in self.admins() {
            let Ok((_, body)) = get(&format!("http://{admin}/ledger")).await else { return false };
            let ledger: Value = serde_json::from_str(&body).unwrap();
            let holds = |stream: &Value| ["spooled", "open"].iter().any(|set| stream[set] != json!([]));
            if ledger["streams"].as_array().unwrap().iter().any(holds) {
                return false;
            }
        }
        let stored: u64 = self.stack.client().query("SELECT sum(n) FROM requests_1m").fetch_one().await.unwrap();
        stored == self.accepted().await
    }

    /// One document of the API of dashboards.
    async fn ask(&self, what: &str) -> Result<Value, String> {
        let (status, text) = get(&format!("http://{}/api/v1/dashboards{what}", self.stack.analytics_at)).await.unwrap();
        let document: Value = serde_json::from_str(&text).map_err(|error| format!("{what}: {error}: {text}"))?;
        if status == 200 { Ok(document) } else { Err(format!("{what}: {status} {document}")) }
    }

    /// The rows of a panel, by the names of their columns.
    async fn panel(&self, uid: &str, title: &str, more: &str) -> Vec<BTreeMap<String, Value>> {
        let dashboard = self.ask(&format!("/{uid}")).await.unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let panel = panels.iter().find(|panel| panel["title"] == title).unwrap_or_else(|| panic!("no panel {title}"));
        let frame = self.ask(&format!("/{uid}/panel?panel={}{more}", panel["id"])).await.unwrap();
        let names: Vec<_> = frame["columns"].as_array().unwrap().iter().map(|column| text(&column["name"])).collect();
        let named = |row: &Value| names.iter().cloned().zip(row.as_array().unwrap().clone()).collect();
        frame["rows"].as_array().unwrap().iter().map(named).collect()
    }

    /// The one figure of a panel.
    async fn figure(&self, uid: &str, title: &str, more: &str) -> f64 {
        let rows = self.panel(uid, title, more).await;
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{title}: {rows:?}");
        number(rows[0].values().next().unwrap())
    }

    async fn traces(&self, condition: &str) -> Vec<String> {
        let sql = format!("SELECT lower(hex(trace_id)) FROM access_events WHERE {condition} ORDER BY ts DESC");
        self.stack.client().query(&sql).fetch_all().await.unwrap()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn uids(list: &Value) -> Vec<String> {
    list["rows"].as_array().unwrap().iter().map(|row| text(&row["uid"])).collect()
}

/// The time that the test is about: it ends after all that was sent, so that nothing changes while figures are compared.
fn the_hour() -> (String, i64, i64) {
    let to = now_ms() / 5000 * 5000 + 5000;
    let from = to - 3_600_000;
    (format!("&from={from}&to={to}&step=60"), from / 1000, to / 1000)
}

/// By what the witness saw: whole and below 500, or a failure.
fn failed(line: &Line) -> bool {
    matches!(line.state, State::Ended { status, completed, .. } if status >= 500 || !completed)
}

/// What does not answer, or without a row.
async fn unanswered(chain: &Chain, range: &str, trace: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let list = chain.ask("").await.unwrap();
    for uid in uids(&list) {
        let dashboard = chain.ask(&format!("/{uid}")).await.unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let has_trace = variables.iter().any(|variable| variable["name"] == "trace");
        let chosen = if has_trace { format!("{range}&var=trace:{trace}") } else { range.to_owned() };
        let mut asked: Vec<String> = variables
            .iter()
            .filter(|variable| variable["type"] == "query")
            .map(|variable| format!("/{uid}/variable?name={}{range}", text(&variable["name"])))
            .collect();
        asked.extend(dashboard["annotations"]["list"].as_array().unwrap().iter().map(|annotation| {
            format!("/{uid}/annotation?name={}{range}", text(&annotation["name"]).replace(' ', "+"))
        }));
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                asked.push(format!("/{uid}/panel?panel={}&target={}{chosen}", panel["id"], text(&target["refId"])));
            }
        }
        for question in asked {
            let answer = match chain.ask(&question).await {
                Ok(answer) => answer,
                Err(error) => {
                    wrong.push(error);
                    continue;
                }
            };
            let rows = answer.get("rows").or_else(|| answer.get("values")).and_then(Value::as_array).unwrap();
            let may_be_empty = OF_TROUBLE.iter().any(|panel| question.starts_with(panel));
            if rows.is_empty() && !may_be_empty {
                wrong.push(format!("{question}: no row"));
            }
        }
    }
    wrong
}

/// Figures beside what the witness counted.
async fn figures_are_true(chain: &Chain, log: &[Line], (range, from_s, to_s): &(String, i64, i64)) {
    let errors = log.iter().filter(|line| failed(line)).count() as f64;
    let broken = log.iter().filter(|line| line.path == "/users/broken").count() as f64;
    assert!(errors > broken && broken > 0.0, "both kinds of failures were sent: {errors}, {broken}");
    let users = REQUESTS as f64;
    // What the front has no route for never comes to the gateway behind it.
    let nowhere = log.iter().filter(|line| line.path == "/nowhere").count() as f64;
    let all = 2.0 * users - nowhere;
    assert_eq!(chain.accepted().await as f64, all, "gateway requests, as the gateways' own counters say");
    assert_eq!(chain.figure("weir-fleet", "User requests", range).await, users);
    assert_eq!(chain.figure("weir-fleet", "Gateway requests", range).await, all);
    let share = chain.figure("weir-fleet", "Errors, of user requests", range).await;
    assert!((share * users - errors).abs() < 1e-6, "{share} of {users} are {errors}");

    // Rates, each times the seconds of its step that are shown.
    let seconds = |time: &str, step: i64| {
        let begin = utc_s(time);
        (begin + step).min(*to_s) - begin.max((from_s + 59) / 60 * 60)
    };
    let lines = chain.panel("weir-fleet", "Gateway requests by site", range).await;
    let sent: f64 = lines.iter().map(|row| number(&row["requests"]) * seconds(&text(&row["time"]), 60) as f64).sum();
    assert!((sent - all).abs() < 1e-6, "{sent} {all}");
    for (api, prefix) in [("orders", "/orders/"), ("users", "/users/")] {
        let of_api: Vec<_> = log.iter().filter(|line| line.path.starts_with(prefix)).collect();
        let rows = chain.panel("weir-fleet", "APIs, worst first", range).await;
        let row = rows.iter().find(|row| row["api"] == api).unwrap();
        let failures = of_api.iter().filter(|line| failed(line)).count() as f64;
        assert_eq!(number(&row["requests"]), of_api.len() as f64, "{api}");
        assert!((number(&row["errors"]) * of_api.len() as f64 - failures).abs() < 1e-6, "{api}: {row:?}");
        let rows = chain.panel("weir-consumers", "Consumers and APIs", range).await;
        let row = rows.iter().find(|row| row["api"] == api).unwrap();
        assert_eq!(
            (number(&row["requests"]), text(&row["who"])),
            (of_api.len() as f64, if api == "orders" { "witness" } else { "nobody authenticated" }.to_owned())
        );
        assert!((number(&row["errors"]) * of_api.len() as f64 - failures).abs() < 1e-6, "{api}: {row:?}");
    }
    // One row for each site: what broke off is an error there, although its status is 200.
    for row in chain.panel("weir-fleet", "Status by site, gateway requests", range).await {
        assert_eq!((number(&row["broken off"]), number(&row["5xx"])), (broken, errors - broken), "{row:?}");
    }
    // One row for each request that failed, with its hops.
    let rows = chain.panel("weir-fleet", "Failed user requests, the last ones", range).await;
    assert_eq!(rows.len() as f64, errors.min(50.0));
    assert!(rows.iter().all(|row| row["way"] == "on-prem/front → here/edge"), "{rows:?}");
    let traces: Vec<_> = rows.iter().map(|row| text(&row["trace"])).collect();
    assert!(traces.iter().all(|trace| log.iter().any(|line| line.trace == *trace && failed(line))));
    let listed = chain.figure("weir-events", "Events that match", &format!("{range}&var=result:failed")).await;
    assert_eq!(listed, 2.0 * errors, "each failure is an event at both gateways");
    durations_are_true(chain, range).await;
}

/// Percentiles of merged histograms, within half a bucket (4.4 %) of those of all events.
async fn durations_are_true(chain: &Chain, range: &str) {
    let sql = "SELECT quantileExactWeighted(0.5)(total_us, 1), quantileExactWeighted(0.99)(total_us, 1) FROM access_events WHERE entry = 1 AND api = 'orders'";
    let exact: (u64, u64) = chain.stack.client().query(sql).fetch_one().await.unwrap();
    let rows = chain.panel("weir-fleet", "APIs, worst first", range).await;
    let row = rows.iter().find(|row| row["api"] == "orders").unwrap();
    for (name, exact) in [("p50", exact.0), ("p99", exact.1)] {
        let shown = number(&row[name]);
        assert!((shown / exact as f64 - 1.0).abs() < 0.046, "{name}: {shown} beside {exact}");
    }
    assert!(number(&row["p99"]) > 0.95 * (SLOW * 1000) as f64, "the slow path is in it: {row:?}");
    let slowest = chain.panel("weir-chain", "Slowest user requests", range).await;
    assert!(number(&slowest[0]["total"]) >= (SLOW * 1000) as f64, "{slowest:?}");
}

/// Seconds since the Unix epoch of a time as the API writes it.
fn utc_s(time: &str) -> i64 {
    let digits: Vec<i64> = time.split(['-', 'T', ':', 'Z', '.']).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = digits[..6] else { panic!("{time}") };
    // Days since the Unix epoch, of the Gregorian calendar.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + hour * 3600 + minute * 60 + second
}

/// Where screenshots go.
fn pictures() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dashboards");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Waits until every panel has been drawn, and none says that it could not be.
fn wait_until_drawn(browser: &mut Browser) {
    let without_problems = "[...document.querySelectorAll('.problem')].every((one) => one.hidden)";
    browser.wait_for(&format!("{DRAWN} && {without_problems}")).unwrap();
}

/// The figures of a page: those of panels with one, and the rows of tables.
const FIGURES: &str =
    "Object.fromEntries([...document.querySelectorAll('.panel')].map((one) => [one.querySelector('h2').textContent, {
  value: Number(one.querySelector('.figure')?.dataset.value ?? NaN),
  rows: one.querySelectorAll('tbody tr').length,
  isTable: one.classList.contains('table'),
  isStat: one.classList.contains('stat') }]))";

/// The page shows what the API answers, on every dashboard.
async fn page_is_true(chain: &Chain, browser: &mut Browser, (range, from_s, to_s): &(String, i64, i64), trace: &str) {
    let list = chain.ask("").await.unwrap();
    for uid in uids(&list) {
        let dashboard = chain.ask(&format!("/{uid}")).await.unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let has_trace = variables.iter().any(|variable| variable["name"] == "trace");
        let of_trace = if has_trace { format!("&var-trace={trace}") } else { String::new() };
        let address = format!(
            "http://{}/d/{uid}?from={}&to={}&refresh={of_trace}",
            chain.stack.analytics_at,
            from_s * 1000,
            to_s * 1000
        );
        browser.go(&address).unwrap();
        browser.wait_for(&format!("location.pathname === '/d/{uid}'")).unwrap();
        wait_until_drawn(browser);
        let shown = browser.evaluate(FIGURES).unwrap();
        browser.screenshot(&pictures().join(format!("{uid}.png"))).unwrap();
        assert_eq!(browser.complaints().unwrap(), [""; 0], "{uid}");
        assert_eq!(axe::findings(browser).unwrap(), [""; 0], "{uid}");
        if OF_SAMPLES.contains(&uid.as_str()) {
            continue;
        }
        let more = if has_trace { format!("{range}&var=trace:{trace}") } else { range.clone() };
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = text(&panel["title"]);
            let shown = &shown[&title];
            if shown["isStat"] == true {
                assert_eq!(number(&shown["value"]), chain.figure(&uid, &title, &more).await, "{uid}: {title}");
            } else if shown["isTable"] == true {
                let rows = chain.panel(&uid, &title, &more).await.len();
                assert_eq!(shown["rows"], json!(rows), "{uid}: {title}");
            }
        }
    }
}

/// From the fleet to one request that failed.
async fn three_clicks(chain: &Chain, browser: &mut Browser, log: &[Line]) {
    browser.go(&format!("http://{}/", chain.stack.analytics_at)).unwrap();
    browser.wait_for("document.querySelector('#title')?.textContent === 'Fleet'").unwrap();
    wait_until_drawn(browser);
    let clicks = [
        ("Errors, of user requests", ".figure", "Events"),
        ("Events", "td[data-column=trace] a", "Events"),
        ("Events", "td[data-column=trace] a.more", "Chain"),
    ];
    for (panel, link, lands) in clicks {
        let find = format!(
            "[...document.querySelectorAll('.panel')].find((one) => one.querySelector('h2').textContent === '{panel}').querySelector('{link}')"
        );
        browser.wait_for(&format!("{find} !== null")).unwrap();
        browser.evaluate("void (document.body.dataset.left = 'not yet')").unwrap();
        browser.evaluate(&format!("void {find}.click()")).unwrap();
        let landed = format!(
            "document.body.dataset.left === undefined && document.querySelector('#title')?.textContent === '{lands}'"
        );
        browser.wait_for(&landed).unwrap();
        wait_until_drawn(browser);
        if panel == "Events" && lands == "Events" {
            let event = browser.evaluate("Object.fromEntries([...document.querySelectorAll('#panel-4 tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent)))").unwrap();
            let line =
                log.iter().find(|line| event["trace_id"] == line.trace.as_str()).unwrap_or_else(|| panic!("{event}"));
            assert!(failed(line) && line.path.contains(event["path"].as_str().unwrap()), "{event} {line:?}");
        }
    }
    let spans = browser.evaluate("document.querySelectorAll('.waterfall li').length").unwrap();
    assert!(spans.as_u64().unwrap() >= 4, "two gateways and their attempts: {spans}");
}

/// A choice is in the address and in every figure, and dragging over a chart shows that time.
async fn choices_are_in_the_address(chain: &Chain, browser: &mut Browser, (range, from_s, to_s): &(String, i64, i64)) {
    let shown = format!("from={}&to={}&refresh=", from_s * 1000, to_s * 1000);
    browser.go(&format!("http://{}/d/weir-fleet?{shown}", chain.stack.analytics_at)).unwrap();
    browser.wait_for("document.querySelector('#title')?.textContent === 'Fleet'").unwrap();
    wait_until_drawn(browser);
    let site = "[...document.querySelectorAll('[data-variable=site] label')].find((one) => one.textContent.trim() === 'here').querySelector('input')";
    browser
        .wait_for(&format!("document.querySelectorAll('[data-variable=site] label').length === 3 && {site} !== null"))
        .unwrap();
    browser.evaluate(&format!("void {site}.click()")).unwrap();
    let here = chain.figure("weir-fleet", "Gateway requests", &format!("{range}&var=site:here")).await;
    let figure = "[...document.querySelectorAll('.panel')].find((one) => one.querySelector('h2').textContent === 'Gateway requests').querySelector('.figure')";
    browser.wait_for(&format!("{figure}?.dataset.value === '{here}'")).unwrap();
    let chosen = browser.evaluate("new URLSearchParams(location.search).getAll('var-site')").unwrap();
    assert_eq!(chosen, json!(["here"]));
    // Nobody enters there: an empty answer is no 0.
    browser.wait_for("document.querySelector('#panel-1 .nothing')?.textContent === 'no data'").unwrap();
    browser.evaluate("void history.back()").unwrap();
    let all = chain.figure("weir-fleet", "Gateway requests", range).await;
    browser.wait_for(&format!("{figure}?.dataset.value === '{all}'")).unwrap();
    wait_until_drawn(browser);
    let chart = "(({ left, top, width, height }) => [left, top, width, height])(document.querySelector('#panel-7 .u-over').getBoundingClientRect())";
    let chart: Vec<f64> = browser.evaluate(chart).unwrap().as_array().unwrap().iter().map(number).collect();
    let at = |part: f64| (chart[0] + part * chart[2], chart[1] + chart[3] / 2.0);
    browser.drag(at(0.5), at(0.9)).unwrap();
    browser.wait_for(&format!("Number(new URLSearchParams(location.search).get('from')) > {}", from_s * 1000)).unwrap();
    let ends = browser
        .evaluate("['from', 'to'].map((end) => Number(new URLSearchParams(location.search).get(end)) / 1000)")
        .unwrap();
    let (from, to) = (number(&ends[0]), number(&ends[1]));
    let length = (to_s - from_s) as f64;
    assert!(
        (from - (*from_s as f64 + 0.5 * length)).abs() < 0.02 * length
            && (to - (*from_s as f64 + 0.9 * length)).abs() < 0.02 * length,
        "{ends}"
    );
    assert_eq!(browser.complaints().unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_what_was_sent_and_the_page_shows_them() {
    let chain = Chain::start().await;
    let log = chain.load().await;
    assert_eq!(log.len() as u64, REQUESTS);
    let hour = the_hour();
    tokio::time::timeout(Duration::from_secs(60), figures_are_true(&chain, &log, &hour)).await.unwrap();
    let trace = chain.traces("entry = 0 AND api = 'api-0'").await.swap_remove(0);
    let wrong = unanswered(&chain, &hour.0, &trace).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut browser = Browser::start(&chain.stack.site.path("browser"), 1500, 1300).unwrap();
    page_is_true(&chain, &mut browser, &hour, &trace).await;
    choices_are_in_the_address(&chain, &mut browser, &hour).await;
    three_clicks(&chain, &mut browser, &log).await;
}

/// A path, a user agent and an address that would run a script, were they read as markup.
const MARKUP: &str = "<img src=x onerror=document.title=1>";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_stands_what_happens_to_it() {
    let mut stack = TestStack::start(None).await.unwrap();
    let mut browser = Browser::start(&stack.site.path("browser"), 320, 800).unwrap();
    let fleet = format!("http://{}/d/weir-fleet?refresh=5s", stack.analytics_at);
    // Nothing is there yet: it says so, and no figure is 0.
    browser.go(&fleet).unwrap();
    wait_until_drawn(&mut browser);
    let said =
        browser.evaluate("[...document.querySelectorAll('.stat .nothing')].map((one) => one.textContent)").unwrap();
    assert_eq!(said, json!(["no data", "no data", "no data", "no data", "no data", "no data"]));
    assert_eq!(browser.complaints().unwrap(), [""; 0]);

    let address = format!("http://{}/fast/%3Cimg%20src=x%20onerror=document.title=1%3E", stack.gateway_at);
    assert_eq!(get_with(&address, &[("user-agent", MARKUP)]).await.unwrap().0, 200);
    stack.settle().await;
    browser.wait_for("document.querySelector('.figure')?.dataset.value === '1'").unwrap();
    let width = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.evaluate(width).unwrap(), 0, "nothing scrolls sideways on a screen of 320 pixels");
    let events = format!(
        "http://{}/d/weir-events?refresh=&var-search=%3Cimg+src%3Dx+onerror%3Ddocument.title%3D1%3E",
        stack.analytics_at
    );
    browser.go(&events).unwrap();
    browser.wait_for("document.querySelector('#title')?.textContent === 'Events'").unwrap();
    wait_until_drawn(&mut browser);
    let shown = "[...document.querySelectorAll('#panel-4 td')].some((cell) => cell.textContent === '<img src=x onerror=document.title=1>')";
    assert_eq!(browser.evaluate(shown).unwrap(), true, "it is shown as text");
    assert_eq!(
        browser.evaluate("[document.querySelectorAll('img').length, document.title]").unwrap(),
        json!([0, "Weir / Events"])
    );
    assert_eq!(browser.evaluate(width).unwrap(), 0, "nor do long texts");
    assert_eq!(browser.complaints().unwrap(), [""; 0]);

    // Without ClickHouse it keeps what it shows and says that it is old; afterwards it recovers by itself.
    browser.go(&fleet).unwrap();
    browser.wait_for("document.querySelector('.figure')?.dataset.value === '1'").unwrap();
    stack.stop(Part::Engine).unwrap();
    browser.wait_for("[...document.querySelectorAll('.problem')].some((one) => !one.hidden && one.textContent.startsWith('The figures below are old: '))").unwrap();
    assert_eq!(browser.evaluate("document.querySelector('.figure')?.dataset.value").unwrap(), "1");
    stack.start_part(Part::Engine, None).unwrap();
    browser.wait_for("[...document.querySelectorAll('.problem')].every((one) => one.hidden)").unwrap();
}
