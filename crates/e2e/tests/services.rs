//! Services with several addresses, by the program: checks beside the requests, metrics, the dump and the log.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::net::SocketAddr;
use weir_e2e::{Gateway, GatewaySpec, Site, eventually};
use weir_testkit::{get, upstream};

fn start(site: &Site, addresses: &[SocketAddr]) -> Gateway {
    let mut spec = GatewaySpec::new("edge", "edge", addresses[0]);
    spec.apis.clear();
    let addresses: Vec<_> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    spec.more_yaml = format!(
        "---
apiVersion: gateway.weir.dev/v1
kind: Service
metadata: {{name: orders}}
spec:
  addresses: [{}]
  healthChecks: {{interval: 100ms, unhealthyThreshold: 1}}
  retries: {{attempts: 1}}
---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: api-0}}
spec: {{address: \"http://127.0.0.1:0\"}}
---
apiVersion: gateway.weir.dev/v1
kind: PolicyBinding
metadata: {{name: all}}
spec:
  targetRef: {{name: api-0}}
  policyRef: {{name: route}}
  config: {{destinationRef: {{name: orders}}}}
",
        addresses.join(", ")
    );
    Gateway::start(site, &spec).unwrap()
}

async fn metric(gateway: &Gateway, name: &str) -> Vec<(String, f64)> {
    let text = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap().1;
    let of = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    of.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_down_is_reported_and_gets_no_requests() {
    let site = Site::new().unwrap();
    let (live, dead) = (upstream::spawn("127.0.0.1:0").await.unwrap(), {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    });
    let gateway = start(&site, &[dead, live]);
    let of = |rows: &[(String, f64)], address: SocketAddr, more: &str| {
        let label = format!("endpoint=\"http://{address}\"");
        rows.iter().find(|(labels, _)| labels.contains(&label) && labels.contains(more)).map(|(_, value)| *value)
    };
    eventually("the address that is down is left out", async || {
        let available = metric(&gateway, "weir_upstream_endpoint_available").await;
        (of(&available, dead, "") == Some(0.0) && of(&available, live, "") == Some(1.0)).then_some(())
    })
    .await;
    let url = format!("http://{}/x", gateway.address);
    for _ in 0..20 {
        assert_eq!(get(&url).await.unwrap().0, 200);
    }
    let checks = metric(&gateway, "weir_upstream_health_checks_total").await;
    assert!(of(&checks, dead, "result=\"failed\"").unwrap() >= 1.0);
    assert!(of(&checks, live, "result=\"failed\"").unwrap() < 1.0);
    let retries = metric(&gateway, "weir_upstream_retries_total").await;
    assert!(retries.iter().all(|(labels, value)| labels.contains("service=\"orders\"") && *value < 1.0), "{retries:?}");
    let dump: serde_json::Value =
        serde_json::from_str(&get(&format!("http://{}/dump", gateway.admin)).await.unwrap().1).unwrap();
    let service = &dump["configuration"]["apis"][0]["services"][0];
    assert_eq!(service["addresses"][0]["address"], format!("http://{dead}"), "{dump:#}");
    assert_eq!(service["cluster"]["healthChecks"]["interval"], "100ms");
    let log = site.log("edge");
    let said = log.lines().find(|line| line.contains("an endpoint is unhealthy")).unwrap_or_else(|| panic!("{log}"));
    assert!(said.contains("orders") && said.contains(&dead.to_string()), "{said}");
}
