//! `header-injection-flex`: header fields that every request, or every response, is given.

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::PolicySpec;
use super::headers::{self, counted};
use crate::expression::Expression;
use crate::read::Cursor;

/// What is added to requests on their way to the upstream, and to responses on their way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderInjection {
    pub inbound: Vec<Injected>,
    pub outbound: Vec<Injected>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    pub name: HeaderName,
    pub value: HeaderValueOf,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValueOf {
    Text(HeaderValue),
    /// Of the request; of a response, only `attributes.headers`, which are the response's.
    Expression(Expression),
}

impl PolicySpec for HeaderInjection {
    const NAME: &'static str = "header-injection-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let mut count = 0;
        let inbound = fields.optional("inboundHeaders", |at| at.items(counted(&mut count, injected)));
        let outbound = fields.optional("outboundHeaders", |at| at.items(counted(&mut count, of_response)));
        fields.finish();
        let (inbound, outbound) = (inbound.unwrap_or_default(), outbound.unwrap_or_default());
        if count == 0 {
            return at.refuse("adds nothing; write `inboundHeaders` or `outboundHeaders` as a list of `{key, value}`");
        }
        Some(Self { inbound, outbound })
    }

    fn view(&self) -> Value {
        let Self { inbound, outbound } = self;
        // A value may be a credential of the upstream: that it is there is shown, and no more.
        let names = |list: &[Injected]| list.iter().map(|field| field.name.to_string()).collect::<Vec<_>>();
        json!({"inbound": names(inbound), "outbound": names(outbound)})
    }

    fn secrets(&self) -> Vec<&str> {
        let texts = self.inbound.iter().chain(&self.outbound).filter_map(|field| match &field.value {
            HeaderValueOf::Text(value) if value.is_sensitive() => value.to_str().ok(),
            _ => None,
        });
        texts.collect()
    }
}

fn injected(at: &Cursor<'_>) -> Option<Injected> {
    let mut fields = at.fields()?;
    let name = fields.required("key", key);
    let value = fields.required("value", value);
    fields.finish();
    Some(Injected { name: name?, value: value? })
}

fn of_response(at: &Cursor<'_>) -> Option<Injected> {
    let field = injected(at)?;
    match &field.value {
        HeaderValueOf::Expression(Expression::Header(_)) | HeaderValueOf::Text(_) => Some(field),
        HeaderValueOf::Expression(other) => {
            at.refuse(format!("`{other}` is of the request; a response has `#[attributes.headers['name']]` alone"))
        }
    }
}

fn key(at: &Cursor<'_>) -> Option<HeaderName> {
    let name = headers::name(at)?;
    match headers::owner(&name) {
        Some(why) => at.refuse(format!("`{name}` cannot be injected: it {why}")),
        None => Some(name),
    }
}

fn value(at: &Cursor<'_>) -> Option<HeaderValueOf> {
    let text = at.text()?;
    if text.trim_start().starts_with("#[") {
        return Expression::read(at).map(HeaderValueOf::Expression);
    }
    match HeaderValue::from_str(text.trim()) {
        Ok(mut value) => {
            // What came from the environment is nobody's to read.
            value.set_sensitive(at.is_variable());
            Some(HeaderValueOf::Text(value))
        }
        Err(_) => at.refuse("has a control character or is not ASCII, which no header can carry"),
    }
}
