//! `POST /reload` and `POST /rollback`: the calls that change what is served.

use super::operator::Denied;
use super::{Admin, Body, json_with};
use crate::reload::{ask, lock};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_api::ErrorDocument;
use weir_api::admin::{ChangeOutcome, Changed, Refused, Unconfirmed};
use weir_api::operations::{self, Whole};
use weir_config::{Answer, Origin};

/// How often the workers are looked at by a call that waits for them.
const LOOK: Duration = Duration::from_millis(5);

/// What is in the folders, now. `?wait=SECONDS`: answers when every worker serves it.
pub async fn reload(admin: Arc<Admin>, request: Request<Incoming>) -> Response<Body> {
    reloaded(&admin, &request).await.unwrap_or_else(refused)
}

async fn reloaded(admin: &Admin, request: &Request<Incoming>) -> Result<Response<Body>, Denied> {
    let operator = admin.operators.check(request)?;
    let wait = number(request, "wait", operations::WAIT)?;
    admin.operators.note(&operator, "reload", &json!({}))?;
    let (send, answer) = oneshot::channel();
    ask(&admin.handle, move |said| drop(send.send(said)));
    Ok(answered(admin, answer.await.unwrap_or(Answer::Ended), wait).await)
}

/// A generation that was kept: `?to=N`, or the one before what runs. `?confirm=true`: though it opens what is closed.
pub async fn roll_back(admin: Arc<Admin>, request: Request<Incoming>) -> Response<Body> {
    rolled_back(&admin, &request).await.unwrap_or_else(refused)
}

async fn rolled_back(admin: &Admin, request: &Request<Incoming>) -> Result<Response<Body>, Denied> {
    // First: what is kept here is for whoever may have it back.
    let operator = admin.operators.check(request)?;
    let to = number(request, "to", operations::GENERATION)?;
    let wait = number(request, "wait", operations::WAIT)?;
    let confirmed = parameter(request, "confirm") == Some("true");
    let numbers = admin.generations.numbers();
    let target = match to {
        Some(to) => u32::try_from(to).ok().filter(|to| numbers.contains(to)),
        None => {
            let before = match admin.reloads.origin() {
                Origin::Kept(number) => number,
                Origin::Folder => generation(admin).unwrap_or(u32::MAX),
            };
            numbers.iter().rev().copied().find(|number| *number < before)
        }
    };
    let Some(target) = target else {
        let kept = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let why = format!("no such generation is kept; there are: {kept}");
        return Err(Denied { status: StatusCode::NOT_FOUND, why });
    };
    admin.operators.note(&operator, "rollback", &json!({"to": target, "confirmed": confirmed}))?;
    let kept = admin.generations.get(target).map_err(|error| {
        let why = format!("generation {target} cannot be read: {error}");
        Denied { status: StatusCode::INTERNAL_SERVER_ERROR, why }
    })?;
    let (send, answer) = oneshot::channel();
    admin.handle.roll_back(Arc::new(kept.content), target, confirmed, move |said| drop(send.send(said)));
    Ok(answered(admin, answer.await.unwrap_or(Answer::Ended), wait).await)
}

async fn answered(admin: &Admin, answer: Answer, wait: Option<u64>) -> Response<Body> {
    let (outcome, wanted) = match answer {
        Answer::Taken(generation) => (ChangeOutcome::Taken, Some(generation)),
        Answer::Unchanged => (ChangeOutcome::Unchanged, generation(admin)),
        Answer::Refused(errors) => {
            let errors = errors.lines().map(str::to_owned).collect();
            let refused = Refused { outcome: ChangeOutcome::Refused, errors };
            return json_with(StatusCode::UNPROCESSABLE_ENTITY, &refused);
        }
        Answer::Unconfirmed(opened) => {
            let unconfirmed = Unconfirmed { outcome: ChangeOutcome::Unconfirmed, opens: opened };
            return json_with(StatusCode::CONFLICT, &unconfirmed);
        }
        Answer::Ended => return draining(),
    };
    let Some(wanted) = wanted else { return draining() };
    let deadline = Instant::now() + Duration::from_secs(wait.unwrap_or_default());
    loop {
        let serving = lock(&admin.proxy).as_ref().map_or(0, weir_proxy::Proxy::serving);
        let all = serving >= wanted;
        if all || Instant::now() >= deadline {
            let late = !all && wait.is_some();
            let status = if late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::OK };
            let outcome = if late { ChangeOutcome::Late } else { outcome };
            return json_with(status, &Changed { outcome, generation: wanted, serving });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn generation(admin: &Admin) -> Option<u32> {
    lock(&admin.proxy).as_ref().map(|proxy| proxy.snapshot().generation())
}

fn parameter<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}

pub fn number(request: &Request<Incoming>, name: &str, bounds: Whole) -> Result<Option<u64>, Denied> {
    let wrong = |why| Denied { status: StatusCode::BAD_REQUEST, why };
    bounds.read(name, parameter(request, name)).map_err(wrong)
}

fn draining() -> Response<Body> {
    refused(Denied { status: StatusCode::SERVICE_UNAVAILABLE, why: "the gateway is draining".to_owned() })
}

pub fn refused(Denied { status, why }: Denied) -> Response<Body> {
    json_with(status, &ErrorDocument { error: why })
}
