//! The page of the last hour (`/live`) in a real browser, on the narrowest screen that it must fit on (WCAG 1.4.10: 320 px).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::io::{Read, Write};
use weir_e2e::{Browser, TestStack, eventually};
use weir_testkit::get;

/// How much of the page lies beside the screen, how wide that is, and the elements that stick out of it.
const WIDTHS: &str = "(() => {
  const out = [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && !one.closest('.scroll') && getComputedStyle(one).position !== 'absolute').map((one) => one.outerHTML.slice(0, 120));
  return [document.documentElement.scrollWidth - document.documentElement.clientWidth, innerWidth, ...out];
})()";

/// The notes in place of rows that do not fit on the screen.
const CUT: &str = "[...document.querySelectorAll('.nothing')].filter((one) => {
  const [note, box] = [one, one.closest('.scroll')].map((each) => each.getBoundingClientRect());
  return note.right > box.right + 1 || note.left < box.left - 1;
}).length";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_scrolls_sideways_and_long_paths_are_whole_on_demand() {
    let stack = TestStack::start(None).await.unwrap();
    let mut browser = Browser::start(&stack.site.path("browser"), 320, 800).unwrap();
    browser.go(&format!("http://{}/live", stack.analytics_at)).unwrap();
    browser.wait_for("document.querySelectorAll('.nothing').length === 2").unwrap();
    assert_eq!(browser.evaluate(CUT).unwrap(), 0, "what is said in place of rows is seen whole");
    let path = format!("/status/{}/503", "x".repeat(1500));
    let mut client = std::net::TcpStream::connect(stack.gateway_at).unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let errors = format!("http://{}/api/v1/errors", stack.analytics_at);
    let (id, kept) = eventually("the event is stored", async || {
        let (_, body) = get(&errors).await.ok()?;
        let errors: serde_json::Value = serde_json::from_str(&body).ok()?;
        let row = errors["rows"].get(0)?;
        Some((row["trace_id"].as_str()?.to_owned(), row["path"].as_str()?.len()))
    })
    .await;
    assert!(kept > 1000, "the path is {kept} characters long");
    browser.wait_for("document.querySelectorAll('#failures td.path').length > 0").unwrap();
    browser.wait_for("document.querySelector('#balance').textContent !== ''").unwrap();
    let widths = browser.evaluate(WIDTHS).unwrap();
    assert_eq!(widths, serde_json::json!([0, 320]), "figures");
    browser.go(&format!("http://{}/live#trace={id}", stack.analytics_at)).unwrap();
    browser.wait_for("document.querySelectorAll('#waterfall .hop').length > 0").unwrap();
    let widths = browser.evaluate(WIDTHS).unwrap();
    assert_eq!(widths, serde_json::json!([0, 320]), "a trace");
    let shown = "document.querySelector('#waterfall').innerText.length";
    assert!(browser.evaluate(shown).unwrap().as_u64().unwrap() < 500, "the path is shortened");
    browser.evaluate("document.querySelector('#waterfall summary').click()").unwrap();
    assert!(browser.evaluate(shown).unwrap().as_u64().unwrap() as usize > kept, "and whole on demand");
    let widths = browser.evaluate(WIDTHS).unwrap();
    assert_eq!(widths, serde_json::json!([0, 320]), "a whole path");
}
