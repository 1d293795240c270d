//! `weirctl reload` and `weirctl rollback`: have gateways load their configuration, and say what they serve then.

use crate::args::{ChangeOptions, ReloadOptions, RollbackOptions};
use crate::terminal::{ask, excerpt, say, say_json, tell};
use crate::{Failure, Outcome, admin, fetch};
use http::StatusCode;
use serde_json::Value;
use std::io::{self, IsTerminal};
use weir_api::ErrorDocument;
use weir_api::admin::{ChangeOutcome, Changed, Refused, Unconfirmed};

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
        if let Said::Unconfirmed(unconfirmed) = &answer.said {
            unconfirmed.opens.iter().for_each(tell);
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
    /// As it came.
    document: Value,
    said: Said,
}

/// What a gateway says of a call.
enum Said {
    Changed(Changed),
    Refused(Refused),
    Unconfirmed(Unconfirmed),
    /// There is no such generation.
    Unknown(ErrorDocument),
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
        let read = |body: &str| -> serde_json::Result<(Value, Said)> {
            let document: Value = serde_json::from_str(body)?;
            let of = document.clone();
            let said = match status {
                StatusCode::UNPROCESSABLE_ENTITY => Said::Refused(serde_json::from_value(of)?),
                StatusCode::CONFLICT => Said::Unconfirmed(serde_json::from_value(of)?),
                StatusCode::NOT_FOUND => Said::Unknown(serde_json::from_value(of)?),
                _ => Said::Changed(serde_json::from_value(of)?),
            };
            Ok((document, said))
        };
        match read(&body) {
            Ok((document, said)) => Ok(Answer { gateway: gateway.to_owned(), document, said }),
            Err(error) if status == StatusCode::OK => Err(Failure::Answer { url, error }),
            // A call that was not carried out, or an answer of somebody else.
            Err(_) => Err(fetch::FetchError::Refused { url, status, body: excerpt(&body) }.into()),
        }
    }
}

impl Answer {
    fn tell(&self, call: &Call) -> Result<Outcome, Failure> {
        if call.json {
            say_json(&self.document)?;
        } else {
            self.say()?;
        }
        Ok(match &self.said {
            Said::Changed(changed) if changed.outcome != ChangeOutcome::Late => Outcome::Well,
            _ => Outcome::No,
        })
    }

    fn say(&self) -> io::Result<()> {
        match &self.said {
            Said::Changed(Changed { outcome: ChangeOutcome::Late, generation, serving }) => {
                let gateway = &self.gateway;
                tell(format_args!(
                    "generation {generation} is loaded by {gateway}, and a worker still serves {serving}"
                ));
            }
            Said::Changed(Changed { outcome: ChangeOutcome::Unchanged, generation, .. }) => {
                say(format_args!("generation {generation} (unchanged)"))?;
            }
            Said::Changed(Changed { generation, .. }) => say(format_args!("generation {generation}"))?,
            Said::Refused(refused) => refused.errors.iter().for_each(tell),
            Said::Unconfirmed(_) => {}
            Said::Unknown(unknown) => tell(&unknown.error),
        }
        Ok(())
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
