//! Routing as users configure it: YAML in, forwarded path out.

use http::Method;
use weir_config::{Api, Rule, load_text};
use weir_http1::Fields;
use weir_router::{PolicyRules, Request, Router};

/// An API on `base` with the routes as YAML.
fn api(name: &str, base: &str, routes: &str) -> Api {
    let text = format!(
        "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {{name: {name}}}\n\
         spec: {{address: \"http://0.0.0.0:8080{base}\", services: {{s: {{address: http://b, routes: {routes}}}}}}}\n"
    );
    let config = load_text("test.yaml".as_ref(), &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    config.apis.into_iter().next().expect("one API")
}

struct Asked {
    method: Method,
    host: &'static str,
    headers: Fields,
}

impl Asked {
    fn get() -> Self {
        Self { method: Method::GET, host: "api.example.com", headers: Fields::new() }
    }

    fn header(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.append(name, value).expect("a field");
        self
    }

    fn at<'a>(&'a self, path: &'a str) -> Request<'a> {
        Request { method: &self.method, host: self.host, path, headers: &self.headers }
    }
}

/// The forwarded path of `GET path`, with the API and the route.
fn forwarded(router: &Router, path: &str) -> Option<(usize, usize, String)> {
    let asked = Asked::get();
    let matched = router.route(&asked.at(path))?;
    Some((matched.api, matched.route, matched.path.to_cow().into_owned()))
}

/// Flex's table of path computation, row for row.
#[test]
fn the_path_table() {
    let groups = "/foo(/.*)/bar(/.*)";
    for (base, rule, destination, path, expected) in [
        ("", "/api/.*", "", "/api/foo/bar", Some("/api/foo/bar")),
        ("", "/api(/.*)", "", "/api/foo/bar", Some("/foo/bar")),
        ("", "/api/.*", "/orders", "/api/foo/bar", Some("/orders/api/foo/bar")),
        ("", "/api(/.*)", "/orders", "/api/foo/bar", Some("/orders/foo/bar")),
        ("/api", "/foo/.*", "", "/api/foo/bar", Some("/foo/bar")),
        ("/api", "/foo(/.*)", "", "/api/foo/bar", Some("/bar")),
        ("/api", "/foo/.*", "/orders", "/api/foo/bar", Some("/orders/foo/bar")),
        ("/api", "/foo(/.*)", "/orders", "/api/foo/bar", Some("/orders/bar")),
        ("/api", "/api/foo/.*", "/orders", "/api/foo/bar", None),
        ("/api", groups, "", "/api/foo/abc/bar/def", Some("/abc/def")),
        ("/api", groups, "/orders", "/api/foo/abc/bar/def", Some("/orders/abc/def")),
    ] {
        let routes = format!("[{{rules: [{{path: \"{rule}\"}}], config: {{destinationPath: \"{destination}\"}}}}]");
        let router = Router::compile(&[api("a", base, &routes)]);
        let found = forwarded(&router, path).map(|(_, _, path)| path);
        assert_eq!(found.as_deref(), expected, "{base} {rule} {destination} {path}");
    }
}

#[test]
fn the_api_is_that_of_the_base_path() {
    let apis = ["/cats", "/dogs/v1", "/catsup", "/dogs/v2"].map(|base| api("a", base, "[]"));
    let router = Router::compile(&apis);
    for (path, expected) in [
        ("/cats", Some((0, "/"))),
        ("/cats/", Some((0, "/"))),
        ("/cats/1/2/3", Some((0, "/1/2/3"))),
        ("/catsup/1", Some((2, "/1"))),
        ("/dogs/v2/x", Some((3, "/x"))),
        ("/dogs", None),
        ("/dogs/v3", None),
        ("/cat", None),
        ("/catsupp", None),
        ("/", None),
        ("", None),
        ("*", None),
    ] {
        let found = forwarded(&router, path).map(|(api, _, path)| (api, path));
        assert_eq!(found.as_ref().map(|(api, path)| (*api, path.as_str())), expected, "{path}");
    }
}

/// The configuration refuses base paths that overlap; the router would still be right about them.
#[test]
fn the_longest_base_path_wins() {
    let apis = ["", "/a", "/a/b"].map(|base| api("a", base, "[]"));
    let router = Router::compile(&apis);
    for (path, expected) in [("/a/b/c", 2), ("/a/b", 2), ("/a/bc", 1), ("/a", 1), ("/ab", 0), ("/", 0)] {
        assert_eq!(forwarded(&router, path).map(|(api, ..)| api), Some(expected), "{path}");
    }
}

#[test]
fn the_first_route_wins() {
    let routes = "[{rules: [{path: /a/.*, methods: POST}, {path: /b}]}, {rules: [{path: \"/a(/.*)\"}]}, {}]";
    let router = Router::compile(&[api("a", "", routes)]);
    assert_eq!(forwarded(&router, "/b"), Some((0, 0, "/b".into())));
    assert_eq!(forwarded(&router, "/a/x"), Some((0, 1, "/x".into())));
    assert_eq!(forwarded(&router, "/c"), Some((0, 2, "/c".into())));
}

#[test]
fn a_rewritten_path_is_still_a_path() {
    for (rule, destination, path, expected) in [
        ("/api/(.*)", "", "/api/x", "/x"),
        ("/api/(.*)", "/orders", "/api/x", "/orders/x"),
        ("/api(/.*)?", "", "/api", "/"),
        ("/api(/.*)?", "/orders", "/api", "/orders"),
        ("/api(/.*)?", "/orders", "/api/", "/orders/"),
    ] {
        let routes = format!("[{{rules: [{{path: \"{rule}\"}}], config: {{destinationPath: \"{destination}\"}}}}]");
        let router = Router::compile(&[api("a", "", &routes)]);
        assert_eq!(forwarded(&router, path), Some((0, 0, expected.into())), "{rule} {destination} {path}");
    }
}

fn rules(yaml: &str) -> Vec<Rule> {
    api("a", "", &format!("[{{rules: {yaml}}}]")).routes.remove(0).rules
}

#[test]
fn conditions_are_all_and_rules_are_any() {
    let holds = |yaml: &str, asked: &Asked| PolicyRules::compile(&rules(yaml)).matches(&asked.at("/a"), "/a");
    let kind = || Asked::get().header("x-kind", b"one").header("x-kind", b"two");
    assert!(holds("[]", &Asked::get()));
    assert!(holds("[{}]", &Asked::get()));
    assert!(holds("[{path: /b}, {path: /a}]", &Asked::get()));
    assert!(holds("[{path: /a, methods: GET|POST, host: API.example.com, headers: {X-Kind: two}}]", &kind()));
    for wrong in
        ["path: /b", "methods: POST", "host: example.com", "headers: {x-kind: three}", "headers: {x-other: \".*\"}"]
    {
        assert!(!holds(&format!("[{{path: /a, {wrong}}}]").replace("path: /a, path", "path"), &kind()), "{wrong}");
    }
}

#[test]
fn hosts_match_with_and_without_their_port() {
    let holds = |yaml: &str, host: &'static str| {
        let asked = Asked { host, ..Asked::get() };
        PolicyRules::compile(&rules(yaml)).matches(&asked.at("/"), "/")
    };
    assert!(holds("[{host: a.example}]", "a.example:8080"));
    assert!(holds("[{host: \"a.example:8080\"}]", "a.example:8080"));
    assert!(holds("[{host: \"[a-z]+.example\"}]", "A.EXAMPLE:8080"));
    assert!(!holds("[{host: \"a.example:80\"}]", "a.example:8080"));
    assert!(holds("[{host: \".*:[0-9]+.*\"}]", "[::1]"), "no port, no harm");
}

#[test]
fn header_values_need_not_be_text() {
    let asked = Asked::get().header("x-raw", b"\xff\xfe");
    let holds = |yaml: &str| PolicyRules::compile(&rules(yaml)).matches(&asked.at("/"), "/");
    assert!(holds("[{headers: {x-raw: \".*\"}}]"));
    assert!(!holds("[{headers: {x-raw: \".+\"}}]"));
}
