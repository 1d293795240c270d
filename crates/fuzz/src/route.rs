//! Any pattern against any path: no panic, and what is forwarded is a path.
//!
//! Input: lines, `rule`, `destination`, `host pattern`, `host`, `path`.

use std::net::SocketAddr;

use http::Method;
use weir_config::{Api, Listen, Pattern, Route, Rule, Scheme};
use weir_http1::Fields;
use weir_router::{Request, Router};

pub fn route(text: &str) {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (rule, destination, host_rule, host, path) = (next(), next(), next(), next(), next());
    if let Ok(normal) = weir_router::normalize(path) {
        assert_eq!(weir_router::normalize(&normal).as_deref(), Ok(&*normal), "normal is normal");
        assert!(!path.starts_with('/') || normal.starts_with('/'));
    }
    let (Ok(rule), Ok(host_rule)) = (Pattern::new(rule), Pattern::ignoring_case(host_rule)) else { return };
    let rule = Rule { path: Some(rule.clone()), host: Some(host_rule), ..Rule::default() };
    let destination_path = (!destination.is_empty()).then(|| format!("/{}", destination.trim_matches('/')));
    let route = Route { name: String::new(), service: 0, rules: vec![rule], destination_path };
    let listen = Listen { scheme: Scheme::Http, address: SocketAddr::from(([0; 4], 0)), base_path: "/é".into() };
    let (name, namespace) = (String::new(), String::new());
    let api = Api {
        name,
        namespace,
        labels: Default::default(),
        listen,
        services: vec![],
        routes: vec![route],
        policies: vec![],
        tls: None,
        contracts: vec![],
        access_log: None,
        tracing: None,
    };
    let root = Api { listen: Listen { base_path: String::new(), ..api.listen.clone() }, ..api.clone() };
    let router = Router::compile(&[api, root]);
    let (method, headers) = (Method::GET, Fields::new());
    let Some(matched) = router.route(&Request { method: &method, host, path, headers: &headers }) else { return };
    let forwarded = matched.path.to_cow();
    assert!(forwarded.starts_with('/'));
    assert_eq!(forwarded.len(), matched.path.len());
}
