//! `cors-flex`: which pages of other origins may call the API from a browser (WHATWG Fetch, 3.2).

use std::collections::BTreeSet;

use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::{PolicySpec, headers};
use crate::read::Cursor;

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    pub origins: Origins,
    /// Whether browsers may send cookies and other credentials, and show what is answered to them.
    pub credentials: bool,
}

/// Pages of which origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Of every one, with whatever method and header fields (`publicResource`).
    Every,
    /// Of these; each origin is in one group.
    Groups(Vec<Group>),
}

/// Origins that may do the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub origins: Vec<Origin>,
    pub max_age: MaxAge,
    /// Beside `GET`, `HEAD` and `POST`, for which browsers need no permission.
    pub methods: Vec<Method>,
    /// Header fields that requests may have beside those for which no permission is needed.
    pub headers: Vec<HeaderName>,
    /// Header fields of responses that scripts may read.
    pub exposed: Vec<HeaderName>,
}

/// An origin of pages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `*`
    Any,
    /// As browsers send it: `https://app.example.com`, without the port that the scheme implies.
    Of(String),
}

/// For how long a browser may remember the answer to a preflight, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxAge(pub u32);

impl Default for MaxAge {
    /// Flex's.
    fn default() -> Self {
        Self(30)
    }
}

impl PolicySpec for Cors {
    const NAME: &'static str = "cors-flex";
    const IS_FIRST: bool = true;

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let public = fields.optional("publicResource", Cursor::boolean);
        let credentials = fields.optional("supportCredentials", |at| Some((at.boolean()?, at.clone())));
        let groups = fields.take("originGroups");
        fields.finish();
        let mut seen = BTreeSet::new();
        let listed = groups.as_ref().map_or(Some(Vec::new()), |at| at.items(|at| group(at, &mut seen)));
        let origins = match (public.unwrap_or(true), groups) {
            (true, Some(at)) => {
                at.warn(
                    "has no effect beside `publicResource: true`, which is the default; write `publicResource: false`",
                );
                Origins::Every
            }
            (true, None) => Origins::Every,
            (false, None) => {
                return at.refuse("lets no origin in; add `originGroups`, or write `publicResource: true`");
            }
            (false, Some(_)) => Origins::Groups(listed?),
        };
        let with_any = match &origins {
            Origins::Every => true,
            Origins::Groups(groups) => groups.iter().any(|group| group.origins.contains(&Origin::Any)),
        };
        match credentials {
            Some((true, at)) if with_any => at.refuse(
                "lets every page act as its visitor; name the origins in `originGroups` and write `publicResource: false`",
            ),
            credentials => Some(Self { origins, credentials: credentials.is_some_and(|(allowed, _)| allowed) }),
        }
    }

    fn view(&self) -> Value {
        let Self { origins, credentials } = self;
        let origins = match origins {
            Origins::Every => json!("every"),
            Origins::Groups(groups) => groups.iter().map(group_view).collect(),
        };
        json!({"origins": origins, "credentials": credentials})
    }
}

fn group_view(Group { origins, max_age, methods, headers, exposed }: &Group) -> Value {
    let texts = |names: &[HeaderName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let origin = |origin: &Origin| match origin {
        Origin::Any => "*".to_owned(),
        Origin::Of(origin) => origin.clone(),
    };
    json!({
        "origins": origins.iter().map(origin).collect::<Vec<_>>(),
        "max_age_s": max_age.0,
        "methods": methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "headers": texts(headers),
        "exposed_headers": texts(exposed),
    })
}

fn group(at: &Cursor<'_>, seen: &mut BTreeSet<Origin>) -> Option<Group> {
    let mut fields = at.fields()?;
    let origins = fields.required("origins", |at| at.items(|at| new_origin(at, seen)));
    let max_age = fields.optional("accessControlMaxAge", |at| at.integer(0..=86_400));
    let methods = fields.optional("allowedMethods", |at| at.items(method));
    let headers = fields.optional("headers", |at| at.items(headers::name));
    let exposed = fields.optional("exposedHeaders", |at| at.items(headers::name));
    fields.finish();
    let origins = origins?;
    if origins.is_empty() {
        return at.refuse("has no origin; add one to `origins`, such as `https://app.example.com`");
    }
    Some(Group {
        origins,
        max_age: max_age.and_then(|seconds| u32::try_from(seconds).ok()).map_or_else(MaxAge::default, MaxAge),
        methods: methods.unwrap_or_default().into_iter().flatten().collect(),
        headers: headers.unwrap_or_default(),
        exposed: exposed.unwrap_or_default(),
    })
}

/// `None` inside for one that is not allowed.
fn method(at: &Cursor<'_>) -> Option<Option<Method>> {
    let mut fields = at.fields()?;
    let read = |text: &str| Method::from_bytes(text.as_bytes()).map_err(|_| "is no method");
    let name = fields.required("methodName", |at| at.parse(read, "write one such as `PUT`"));
    let allowed = fields.optional("isAllowed", Cursor::boolean);
    fields.finish();
    Some(Some(name?).filter(|_| allowed.unwrap_or(true)))
}

fn new_origin(at: &Cursor<'_>, seen: &mut BTreeSet<Origin>) -> Option<Origin> {
    let origin = origin(at)?;
    if seen.insert(origin.clone()) {
        Some(origin)
    } else {
        at.refuse("is in the list already; an origin is in one group, once")
    }
}

fn origin(at: &Cursor<'_>) -> Option<Origin> {
    at.parse(parse, "write `scheme://host[:port]` and nothing behind it")
}

fn parse(text: &str) -> Result<Origin, &'static str> {
    let text = text.to_ascii_lowercase();
    if text == "*" {
        return Ok(Origin::Any);
    }
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let (scheme, host) = text.split_once("://").ok_or("is no origin")?;
    if !is_word(scheme) || !is_word(host) || host.contains(['/', '?', '#', '@', '*']) {
        return Err("is no origin");
    }
    // Browsers leave out the port that the scheme implies.
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    Ok(Origin::Of(format!("{scheme}://{}", host.strip_suffix(implied).unwrap_or(host))))
}
