//! From a request to its API and route.

use weir_config::{Api, Route, Rule};

use crate::index::Index;
use crate::path::{Forwarded, Pieces};
use crate::rules::{CompiledRule, Request, or_always};

/// The APIs of one listener, compiled.
///
/// Clone it for each worker: a regular expression keeps scratch memory, which clones do not share.
#[derive(Debug, Clone)]
pub struct Router {
    /// Sorted by base path.
    apis: Vec<CompiledApi>,
    /// The most segments and the most bytes of any base path: how far into a path it is worth looking.
    most_segments: usize,
    most_bytes: usize,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The number of the API, from 0, in the order in which the router was given them.
    pub api: usize,
    /// Index into [`Api::routes`] of that API.
    pub route: usize,
    /// The path after the base path, which rules of policies look at. Begins with `/`.
    pub path_in_api: &'a str,
    /// The path to send upstream.
    pub path: Forwarded<'a>,
}

impl Router {
    /// Compiles the APIs of one listener: a slice of them, or those of a configuration that listen there.
    pub fn compile<'c>(apis: impl IntoIterator<Item = &'c Api>) -> Self {
        let mut compiled: Vec<_> =
            apis.into_iter().enumerate().map(|(number, api)| CompiledApi::compile(number, api)).collect();
        compiled.sort_by(|a, b| a.base_path.cmp(&b.base_path));
        let paths = || compiled.iter().map(|api| &api.base_path);
        let most_segments = paths().map(|path| path.matches('/').count()).max().unwrap_or(0);
        let most_bytes = paths().map(|path| path.len()).max().unwrap_or(0);
        Self { apis: compiled, most_segments, most_bytes }
    }

    /// The route of a request: first the API with the longest base path that fits, then its first route that matches.
    /// `None` where there is none (404), and for targets that are no path, such as the `*` of `OPTIONS *`.
    pub fn route<'a>(&'a self, request: &Request<'a>) -> Option<Matched<'a>> {
        let api = self.api(request.path)?;
        let path_in_api = match &request.path[api.base_path.len()..] {
            "" => "/",
            path => path,
        };
        let (route, pieces) = api.route(request, path_in_api)?;
        let destination = api.destinations[route].as_deref();
        Some(Matched { api: api.number, route, path_in_api, path: Forwarded::new(destination, pieces) })
    }

    /// The API of a path, by its number, and the path after its base path: what a request has before its route is known.
    pub fn api_of<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        let api = self.api(path)?;
        Some((api.number, &path[api.base_path.len()..]))
    }

    /// Looks at the end of each segment as far as base paths go: `/a`, `/a/b` … Costs a binary search each.
    fn api(&self, path: &str) -> Option<&CompiledApi> {
        if !path.starts_with('/') {
            return None;
        }
        let reach = &path.as_bytes()[..path.len().min(self.most_bytes + 1)];
        let slashes = memchr::memchr_iter(b'/', reach);
        let whole = (path.len() <= self.most_bytes).then_some(path.len());
        let ends = slashes.chain(whole).take(self.most_segments + 1);
        let mut longest = None;
        for end in ends {
            longest = self.with_base_path(&path[..end]).or(longest);
        }
        longest
    }

    fn with_base_path(&self, base_path: &str) -> Option<&CompiledApi> {
        let found = self.apis.binary_search_by(|api| (*api.base_path).cmp(base_path)).ok()?;
        self.apis.get(found)
    }
}

#[derive(Debug, Clone)]
struct CompiledApi {
    number: usize,
    base_path: Box<str>,
    destinations: Vec<Option<Box<str>>>,
    /// Those of all routes, one route after the other: the first that holds says where the request goes.
    rules: Vec<RouteRule>,
    index: Index,
}

#[derive(Debug, Clone)]
struct RouteRule {
    route: usize,
    rule: CompiledRule,
}

impl CompiledApi {
    fn compile(number: usize, api: &Api) -> Self {
        let rules: Vec<(usize, &Rule)> = api.routes.iter().enumerate().flat_map(rules_of).collect();
        Self {
            number,
            base_path: api.listen.base_path.as_str().into(),
            destinations: api.routes.iter().map(|route| route.destination_path.as_deref().map(Into::into)).collect(),
            index: Index::compile(rules.iter().map(|(_, rule)| rule.path.as_ref())),
            rules: rules.iter().map(|&(route, rule)| RouteRule { route, rule: CompiledRule::compile(rule) }).collect(),
        }
    }

    fn route<'a>(&self, request: &Request<'a>, path: &'a str) -> Option<(usize, Pieces<'a>)> {
        let mut candidates = self.index.candidates(path).map(|rule| &self.rules[rule]);
        let RouteRule { route, rule } = candidates.find(|candidate| candidate.rule.matches(request, path))?;
        Some((*route, rule.forwarded(path)))
    }
}

/// The rules of a route, each with the route's number.
fn rules_of((number, route): (usize, &Route)) -> impl Iterator<Item = (usize, &Rule)> {
    or_always(&route.rules).iter().map(move |rule| (number, rule))
}
