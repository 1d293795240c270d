//! A real browser, driven by the protocol of its developer tools over a pair of pipes.
//!
//! Chromium's headless shell, as Debian packages it (`chromium-headless-shell`).

use crate::process::Process;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a wait may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Of the pane's pages: every panel is drawn.
pub const DRAWN: &str = "document.body.dataset.rounds >= 1 && document.querySelectorAll('.panel').length > 0
  && [...document.querySelectorAll('.panel')].every((one) => one.dataset.drawn >= 1)";

/// One page in a browser of its own.
pub struct Browser {
    session: Option<String>,
    commands: File,
    answers: BufReader<File>,
    number: u64,
    /// What went wrong in pages, since it was asked for.
    complaints: Vec<String>,
    _process: Process,
}

impl Browser {
    /// Starts it with an empty page of this size; its profile and log are in `folder`.
    pub fn start(folder: &Path, width: u32, height: u32) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (commands, answers) = (folder.join("commands"), folder.join("answers"));
        let made = Command::new("mkfifo").args([&commands, &answers]).status()?;
        if !made.success() {
            return Err(io::Error::other("mkfifo failed"));
        }
        let mut command = Command::new("sh");
        // The protocol's pipes are the descriptors 3 and 4.
        command.args(["-c", r#"exec chromium-headless-shell "$@" 3<"$COMMANDS" 4>"$ANSWERS""#, "sh"]);
        command.args(["--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.env("COMMANDS", &commands).env("ANSWERS", &answers);
        let process = Process::start("browser", command, &folder.join("log"))?;
        let not_there = |error| {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            io::Error::other(format!("the browser does not start ({error}); run `make tools`\n{log}"))
        };
        // Each end waits for the other, in the order of the shell; both ways at once where it never comes.
        let (commands, answers) = (open(&commands)?, File::options().read(true).write(true).open(&answers)?);
        let mut browser = Self {
            session: None,
            commands,
            answers: BufReader::new(answers),
            number: 0,
            complaints: Vec::new(),
            _process: process,
        };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"})).map_err(not_there)?;
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", size)?;
        for domain in ["Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}))?;
        }
        Ok(browser)
    }

    /// What pages have complained about since this was last asked: exceptions, errors and warnings of the console, what a
    /// policy refused, answers that were errors.
    pub fn complaints(&mut self) -> io::Result<Vec<String>> {
        // Events come before the answer to what is asked after them.
        self.evaluate("0")?;
        Ok(std::mem::take(&mut self.complaints))
    }

    /// The whole page as an image.
    pub fn screenshot(&mut self, file: &Path) -> io::Result<()> {
        self.captured(file, json!({"format": "png", "captureBeyondViewport": true}))
    }

    /// The upper part of the page, of this size in pixels, as an image.
    pub fn picture(&mut self, file: &Path, width: u32, height: u32) -> io::Result<()> {
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        self.captured(file, json!({"format": "png", "captureBeyondViewport": true, "clip": clip}))
    }

    fn captured(&mut self, file: &Path, how: Value) -> io::Result<()> {
        let taken = self.call("Page.captureScreenshot", how)?;
        let image = taken["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
        std::fs::write(file, image.ok_or_else(|| io::Error::other("no image"))?)
    }

    /// Goes to an address.
    pub fn go(&mut self, url: &str) -> io::Result<()> {
        self.call("Page.navigate", json!({"url": url})).map(drop)
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> io::Result<Value> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", asked)?;
        match answer.get("exceptionDetails") {
            None => Ok(answer["result"]["value"].clone()),
            Some(thrown) => Err(io::Error::other(format!("{expression}: {thrown}"))),
        }
    }

    /// Goes to a page of the pane; the milliseconds from the navigation to the frame after its last panel was drawn, by the
    /// clock of the page.
    pub fn drawn_in_ms(&mut self, url: &str) -> io::Result<f64> {
        // Or the document that is left would be asked.
        self.go("about:blank")?;
        self.go(url)?;
        self.wait_for("location.protocol !== 'about:' && document.body !== null")?;
        let drawn = format!(
            "new Promise((done) => {{
               const look = () => ({DRAWN}) ? done(performance.now()) : requestAnimationFrame(look);
               look();
             }})"
        );
        self.evaluate(&drawn)?.as_f64().ok_or_else(|| io::Error::other(format!("no time for `{url}`")))
    }

    /// Drags the mouse from one point of the screen to another, in pixels.
    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) -> io::Result<()> {
        let between = |part: f64| (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
        let moves = [0.1, 0.5, 1.0].map(|part| ("mouseMoved", between(part), 1));
        let pressed = [("mouseMoved", from, 0), ("mousePressed", from, 1)];
        for (kind, (x, y), buttons) in pressed.into_iter().chain(moves).chain([("mouseReleased", to, 0)]) {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) -> io::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while self.evaluate(expression).ok() != Some(Value::Bool(true)) {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText")?;
                return Err(io::Error::other(format!("never true: {expression}; the page says {text}")));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }

    fn call(&mut self, method: &str, params: Value) -> io::Result<Value> {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{message}\0").as_bytes())?;
        loop {
            let mut answer = Vec::new();
            if self.answers.read_until(0, &mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.pop();
            let answer: Value = serde_json::from_slice(&answer).map_err(io::Error::other)?;
            if answer["id"] != self.number {
                self.complaints.extend(complaint(&answer));
                continue;
            }
            return match answer.get("error") {
                None => Ok(answer["result"].clone()),
                Some(error) => Err(io::Error::other(format!("{method}: {error}"))),
            };
        }
    }
}

/// What an event says that went wrong.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    let is_bad = |level: &Value| matches!(level.as_str(), Some("error" | "warning" | "assert"));
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if is_bad(&params["type"]) => Some(params["args"].to_string()),
        "Log.entryAdded" if is_bad(&params["entry"]["level"]) => Some(params["entry"].to_string()),
        _ => None,
    }
}

/// For writing, without waiting for the reader.
fn open(fifo: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(fifo)
}
