//! `weirctl reload` and `weirctl rollback`: have gateways load their configuration, and say what they serve then.

use crate::args::{ChangeOptions, ReloadOptions, RollbackOptions};
use crate::terminal::{ask, excerpt, say, say_json, tell};
use crate::{Failure, Outcome, admin, fetch};
use http::StatusCode;
use serde_json::Value;
use std::io::{self, IsTerminal};

/// Asks every gateway for what is in its folders.
pub async fn reload(gateways: &[String], options: &ReloadOptions) -> Result<Outcome, Failure> {
    let mut call = Call::new("/reload", &options.change)?;
    call.add_wait(&options.change);
    let mut outcome = Outcome::Well;
    for gateway in gateways {
        let answer = call.make(gateway, "").await?;
        outcome = worse(outcome, answer.tell(&call)?);
    }
    Ok(outcome)
}

/// Asks every gateway for a generation that it kept.
pub async fn roll_back(gateways: &[String], options: &RollbackOptions) -> Result<Outcome, Failure> {
    let mut call = Call::new("/rollback", &options.change)?;
    call.add_wait(&options.change);
    options.to.iter().for_each(|to| call.add("to", to));
    let mut outcome = Outcome::Well;
    for gateway in gateways {
        let mut answer = call.make(gateway, if options.yes { "confirm=true" } else { "" }).await?;
        if answer.status == StatusCode::CONFLICT {
            let opened: Vec<_> = answer.lines("opens").collect();
            opened.iter().for_each(tell);
            if !confirmed()? {
                outcome = Outcome::No;
                continue;
            }
            answer = call.make(gateway, "confirm=true").await?;
        }
        outcome = worse(outcome, answer.tell(&call)?);
    }
    Ok(outcome)
}

struct Call {
    path: String,
    token: Option<String>,
    json: bool,
}

struct Answer {
    gateway: String,
    status: StatusCode,
    document: Value,
}

impl Call {
    fn new(path: &str, options: &ChangeOptions) -> Result<Self, Failure> {
        let token = admin::token_if_any(options.admin.token_file.as_deref())?;
        Ok(Self { path: format!("{path}?"), token, json: options.json })
    }

    fn add_wait(&mut self, options: &ChangeOptions) {
        options.wait.iter().for_each(|wait| self.add("wait", wait));
    }

    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        self.path += &format!("{name}={value}&");
    }

    async fn make(&self, gateway: &str, more: &str) -> Result<Answer, Failure> {
        let path = format!("{}{more}", self.path);
        let (url, status, body) = fetch::post_any(gateway, &path, self.token.as_deref()).await?;
        let understood = [
            StatusCode::OK,
            StatusCode::CONFLICT,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::GATEWAY_TIMEOUT,
            StatusCode::NOT_FOUND,
        ];
        match serde_json::from_str::<Value>(&body) {
            Ok(document) if understood.contains(&status) => {
                Ok(Answer { gateway: gateway.to_owned(), status, document })
            }
            Err(error) if status == StatusCode::OK => Err(Failure::Answer { url, error }),
            _ => Err(fetch::FetchError::Refused { url, status, body: excerpt(&body) }.into()),
        }
    }
}

impl Answer {
    fn lines(&self, name: &str) -> impl Iterator<Item = &str> {
        self.document[name].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    fn tell(&self, call: &Call) -> Result<Outcome, Failure> {
        let well = self.status == StatusCode::OK;
        if call.json {
            say_json(&self.document)?;
        } else if well {
            let generation = &self.document["generation"];
            match self.document["outcome"].as_str() {
                Some("unchanged") => say(format_args!("generation {generation} (unchanged)"))?,
                _ => say(format_args!("generation {generation}"))?,
            }
        } else {
            self.lines("errors").chain(self.document["error"].as_str()).for_each(tell);
            if self.status == StatusCode::GATEWAY_TIMEOUT {
                let (generation, serving) = (&self.document["generation"], &self.document["serving"]);
                let gateway = &self.gateway;
                tell(format_args!(
                    "generation {generation} is loaded by {gateway}, and a worker still serves {serving}"
                ));
            }
        }
        Ok(if well { Outcome::Well } else { Outcome::No })
    }
}

fn worse(one: Outcome, other: Outcome) -> Outcome {
    if matches!(one, Outcome::Well) { other } else { one }
}

fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Unconfirmed);
    }
    ask("the rollback does that. Continue? [y/N] ");
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
