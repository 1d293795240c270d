//! The page of weir-analytics in a real browser where readers have tokens: the login, events as they arrive, and files.
//!
//! Who may see what is a test of `crates/analytics/tests/readers.rs`, what the figures are one of `dashboards.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::json;
use weir_e2e::{Browser, DRAWN, Part, TestStack, axe, eventually};
use weir_testkit::get;
use weir_testkit::process::program;

const ANNA: &str = "token-of-anna-0001";
const READERS: &str = "token-of-anna-0001 anna viewer acme *\n";

/// A gateway, and a weir-analytics that asks readers for a token.
async fn started() -> TestStack {
    let mut stack = TestStack::start(None).await.unwrap();
    stack.stop(Part::Analytics).unwrap();
    let readers = stack.site.path("readers");
    std::fs::write(&readers, READERS).unwrap();
    stack.analytics_args = vec!["--readers".to_owned(), readers.to_string_lossy().into_owned()];
    stack.start_part(Part::Analytics, None).unwrap();
    stack
}

fn log_in(browser: &mut Browser, token: &str) {
    browser.wait_for("document.querySelector('#token') !== null").unwrap();
    browser.evaluate(&format!("document.querySelector('#token').value = '{token}'")).unwrap();
    browser.evaluate("void document.querySelector('button').click()").unwrap();
}

async fn sent(stack: &TestStack, path: &str) {
    let _status = get(&format!("http://{}{path}", stack.gateway_at)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_logs_in_and_looks_on() {
    let stack = started().await;
    for _ in 0..5 {
        sent(&stack, "/fast/before").await;
    }
    stack.settle().await;
    let at = format!("http://{}", stack.analytics_at);
    let mut browser = Browser::start(&stack.site.path("browser"), 1300, 900).unwrap();
    browser.go(&format!("{at}/d/weir-events?var-search=before")).unwrap();
    browser.wait_for("document.querySelector('#token') !== null").unwrap();
    assert_eq!(axe::findings(&mut browser).unwrap(), [""; 0], "the login");
    log_in(&mut browser, "a-token-that-nobody-has");
    browser.wait_for("document.querySelector('#said').textContent.startsWith('nobody has this token')").unwrap();
    log_in(&mut browser, ANNA);
    browser.wait_for("location.pathname + location.search === '/d/weir-events?var-search=before'").unwrap();
    browser.wait_for(DRAWN).unwrap();
    browser.wait_for("document.querySelector('#logout').textContent === 'log out anna'").unwrap();
    assert_eq!(browser.evaluate("document.cookie").unwrap(), "", "no script reads the session");
    files_are_offered(&mut browser);

    // A link on a page of another site: the browser sends no cookie with it, and the reader need not log in again.
    let elsewhere = format!("http://localhost:{}", stack.analytics_at.port());
    browser.go(&format!("{elsewhere}/login")).unwrap();
    browser.wait_for("document.querySelector('#token') !== null").unwrap();
    browser.evaluate(&format!("void location.assign('{at}/d/weir-fleet')")).unwrap();
    browser.wait_for("location.hostname === '127.0.0.1' && location.pathname === '/d/weir-fleet'").unwrap();
    browser.wait_for(DRAWN).unwrap();

    browser.go(&format!("{at}/live")).unwrap();
    browser.wait_for("document.querySelectorAll('tbody tr').length > 0").unwrap();
    assert_eq!(axe::findings(&mut browser).unwrap(), [""; 0], "the last hour");
    drop(browser.complaints().unwrap());
    what_changed_is_named(&mut browser, &at);
    events_arrive(&stack, &mut browser, &at).await;
    assert_eq!(browser.complaints().unwrap(), [""; 0]);
    browser.evaluate("void document.querySelector('#logout').click()").unwrap();
    browser.wait_for("location.pathname === '/login' && document.querySelector('#token') !== null").unwrap();
    browser.go(&format!("{at}/d/weir-fleet")).unwrap();
    browser.wait_for("location.pathname === '/login' && document.querySelector('#token') !== null").unwrap();
}

/// The links above the list of events lead to all that match.
fn files_are_offered(browser: &mut Browser) {
    let of = |text: &str| {
        format!("[...document.querySelectorAll('.files a')].find((one) => one.textContent === '{text}').href")
    };
    let lines = |text: &str| {
        format!("fetch({}).then((one) => one.text()).then((all) => all.trim().split('\\n').length)", of(text))
    };
    assert_eq!(browser.evaluate(&lines("all as CSV")).unwrap(), 6, "names, and five events");
    assert_eq!(browser.evaluate(&lines("all as JSON lines")).unwrap(), 5);
    let tail = browser.evaluate(&format!("new URL({}).pathname", of("as they arrive"))).unwrap();
    assert_eq!(tail, "/tail");
}

/// Below the API dashboard: that an API is to be chosen, and what there was of it.
fn what_changed_is_named(browser: &mut Browser, at: &str) {
    browser.go(&format!("{at}/d/weir-api?refresh=")).unwrap();
    browser.wait_for("document.querySelector('#blame .nothing')?.textContent === 'Choose one API above.'").unwrap();
    browser.go(&format!("{at}/d/weir-api?refresh=&var-api=api-0")).unwrap();
    browser
        .wait_for("document.querySelector('#blame .sentence')?.textContent.startsWith('no gateway changed')")
        .unwrap();
    browser.wait_for(DRAWN).unwrap();
}

/// What happens is shown without anybody asking for it, unless it is paused; and only what is chosen.
async fn events_arrive(stack: &TestStack, browser: &mut Browser, at: &str) {
    browser.go(&format!("{at}/tail?var-search=arrives")).unwrap();
    browser.wait_for("document.querySelector('#tail')?.dataset.drawn >= 1").unwrap();
    let rows = "[...document.querySelectorAll('#tail tbody tr')].map((one) => one.cells[7].textContent)";
    assert_eq!(browser.evaluate(rows).unwrap(), json!([]), "what was before does not match");
    sent(stack, "/fast/arrives/1").await;
    sent(stack, "/fast/other").await;
    sent(stack, "/fast/arrives/2").await;
    browser.wait_for(&format!("{rows}.length === 2")).unwrap();
    assert_eq!(
        browser.evaluate(rows).unwrap(),
        json!(["/fast/arrives/2", "/fast/arrives/1"]),
        "the newest first, each once"
    );
    assert_eq!(axe::findings(browser).unwrap(), [""; 0], "the tail");
    browser.evaluate("void document.querySelector('#pause').click()").unwrap();
    let drawn = browser.evaluate("document.querySelector('#tail').dataset.drawn").unwrap();
    sent(stack, "/fast/arrives/3").await;
    stack.settle().await;
    assert_eq!(browser.evaluate("document.querySelector('#tail').dataset.drawn").unwrap(), drawn, "it is paused");
    browser.evaluate("void document.querySelector('#pause').click()").unwrap();
    browser.wait_for(&format!("{rows}.length === 3 && {rows}[0] === '/fast/arrives/3'")).unwrap();
    let width = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.evaluate(width).unwrap(), 0, "nothing scrolls sideways");
}

/// What `weirctl` ends with, and what it says.
fn weirctl(stack: &TestStack, variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(program("weirctl").unwrap());
    command.args(["--analytics", &format!("http://{}", stack.analytics_at)]).args(arguments);
    command.env_remove("WEIR_READER_TOKEN").env_remove("WEIR_ADMIN_TOKEN").envs(variables.iter().copied());
    let ended = command.output().unwrap();
    (ended.status.code(), String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn weirctl_shows_its_token_to_weir_analytics() {
    let stack = started().await;
    sent(&stack, "/fast/before").await;
    stack.settle().await;
    let file = stack.site.path("reader-token");
    std::fs::write(&file, format!("{ANNA}\n")).unwrap();
    let file = file.to_string_lossy().into_owned();
    let (code, said) = weirctl(&stack, &[], &["ledger"]);
    assert!(code == Some(3) && said.contains("401") && said.contains("reader's token"), "{code:?} {said}");
    // Whose a stream is comes with its gateway's report, ten seconds apart.
    eventually("the viewer sees the stream", async || {
        let (code, said) = weirctl(&stack, &[("WEIR_READER_TOKEN", ANNA)], &["ledger"]);
        (matches!(code, Some(0 | 4)) && said.contains("here/edge")).then_some(())
    })
    .await;
    let (code, said) = weirctl(&stack, &[], &["ledger", "--reader-token-file", &file]);
    assert!(matches!(code, Some(0 | 4)) && said.contains("here/edge"), "{code:?} {said}");
    let (code, said) = weirctl(&stack, &[("WEIR_READER_TOKEN", ANNA)], &["ledger", "--verify"]);
    assert!(code == Some(3) && said.contains("`anna` is a viewer"), "{code:?} {said}");
    // Whoever may change the account may read it.
    let (code, said) =
        weirctl(&stack, &[("WEIR_ADMIN_TOKEN", "a-token-of-the-administrator")], &["ledger", "--verify"]);
    assert!(matches!(code, Some(0 | 4)) && said.contains("here/edge"), "{code:?} {said}");
    let (code, said) = weirctl(&stack, &[], &["ledger", "--reader-token-file", "/nowhere/token"]);
    assert!(code == Some(2) && said.contains("cannot read the token"), "{code:?} {said}");
}

#[test]
fn a_page_that_some_cannot_use_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(folder.path(), 800, 600).unwrap();
    browser.go("data:text/html,<html lang=en><title>a</title><main><h1>a</h1><input type=text><p style='color:%23aaa;background:%23fff'>some words</p>").unwrap();
    browser.wait_for("document.querySelector('input') !== null").unwrap();
    let found = axe::findings(&mut browser).unwrap();
    for rule in ["critical label", "serious color-contrast"] {
        assert!(found.iter().any(|line| line.contains(rule)), "{rule}: {found:#?}");
    }
}
