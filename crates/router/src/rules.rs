//! Rules, compiled: any rule of a list is enough, and of one rule all conditions must hold.

use http::{HeaderName, Method};
use weir_config::Rule;
use weir_http1::Fields;

use crate::path::{PathMatcher, Pieces};
use crate::text::TextMatcher;

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// `Host` or `:authority`, with or without a port.
    pub host: &'a str,
    /// As the client sent it, percent-encoded, without the query. What to make of `//`, `..` and `%2f` is decided by
    /// whoever makes a `Request`, once for routing, policies and forwarding alike; here no two texts are the same.
    pub path: &'a str,
    pub headers: &'a Fields,
}

/// No rules at all are one that always holds.
pub(crate) fn or_always(rules: &[Rule]) -> &[Rule] {
    static ALWAYS: [Rule; 1] = [Rule { path: None, methods: None, host: None, headers: Vec::new() }];
    if rules.is_empty() { &ALWAYS } else { rules }
}

/// The rules under which a policy applies.
#[derive(Debug, Clone)]
pub struct PolicyRules(
    /// Never empty.
    Vec<CompiledRule>,
);

impl PolicyRules {
    /// Compiles the rules of a policy binding; none means always.
    pub fn compile(rules: &[Rule]) -> Self {
        Self(or_always(rules).iter().map(CompiledRule::compile).collect())
    }

    /// Whether the policy applies. `path` is [`Matched::path_in_api`](crate::Matched): the one after the base path.
    pub fn matches(&self, request: &Request<'_>, path: &str) -> bool {
        self.0.iter().any(|rule| rule.matches(request, path))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct CompiledRule {
    path: PathMatcher,
    methods: Option<TextMatcher>,
    host: Option<TextMatcher>,
    headers: Vec<(HeaderName, TextMatcher)>,
}

impl CompiledRule {
    pub fn compile(rule: &Rule) -> Self {
        let header = |(name, pattern): &(HeaderName, _)| (name.clone(), TextMatcher::compile(pattern));
        Self {
            path: rule.path.as_ref().map_or(PathMatcher::Any, PathMatcher::compile),
            methods: rule.methods.as_ref().map(TextMatcher::compile),
            host: rule.host.as_ref().map(TextMatcher::compile),
            headers: rule.headers.iter().map(header).collect(),
        }
    }

    pub fn matches(&self, request: &Request<'_>, path: &str) -> bool {
        self.path.is_match(path)
            && self.methods.as_ref().is_none_or(|methods| methods.is_match(request.method.as_str()))
            && self.host.as_ref().is_none_or(|host| is_host(host, request.host))
            && self.headers.iter().all(|(name, value)| has(request.headers, name, value))
    }

    /// What of a path that matches is forwarded.
    pub fn forwarded<'a>(&self, path: &'a str) -> Pieces<'a> {
        self.path.forwarded(path)
    }
}

/// A pattern without a port means the host on any port.
fn is_host(matcher: &TextMatcher, host: &str) -> bool {
    matcher.is_match(host) || without_port(host).is_some_and(|host| matcher.is_match(host))
}

fn without_port(host: &str) -> Option<&str> {
    let (name, port) = host.rsplit_once(':')?;
    port.bytes().all(|b| b.is_ascii_digit()).then_some(name)
}

/// A header that is there several times matches by any of its values; one that is absent never does.
fn has(headers: &Fields, name: &HeaderName, matcher: &TextMatcher) -> bool {
    headers.get_all(name).any(|value| matcher.is_match_bytes(value))
}
