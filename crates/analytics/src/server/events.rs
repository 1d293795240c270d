//! `GET /api/v1/events`: the newest events as a list, for the page that shows them as they arrive, or all as a file.
//!
//! A file is whole or it is none: what matches is counted first, and where ClickHouse fails in the middle the connection
//! breaks off. It is handed on as it comes, so that a million rows take no more memory than a few. It keeps a place among
//! the queries until its client has it, and few are made at once.

use super::Server;
use super::answer::{self, Answer, again, json, refused};
use super::dashboards::{Wrong, asked_of};
use super::places::Client;
use super::queries::{Params, QueryError};
use super::readers::QueryPlace;
use crate::ingest::now_us;
use crate::query::events::{self, File, FileKind, Wanted};
use crate::scope::Scope;
use crate::store::{Store, StoreError};
use bytes::Bytes;
use http::StatusCode;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use weir_api::operations;

/// Files that are made at once.
pub(super) const FILES: usize = 2;
/// Rows of a list, and of a file, unless it is said.
const LIST: u64 = 200;
const MOST_OF_LIST: u64 = 1000;
const FILE: u64 = 100_000;
/// Pieces that wait for their client.
const PIECES: usize = 4;

impl Server {
    pub(super) async fn events(self: Arc<Self>, client: Client, params: &str, scope: &Scope) -> Answer {
        let params = Params::parse(params);
        let kind = match params.get("format") {
            None | Some("json") => None,
            Some("csv") => Some(FileKind::Csv),
            Some("ndjson") => Some(FileKind::Lines),
            Some(_) => return refused(StatusCode::BAD_REQUEST, "`format` is `json`, `csv` or `ndjson`"),
        };
        let asked = match Question::read(&params) {
            Ok(asked) => asked,
            Err(wrong) => return wrong.answer(),
        };
        let scope = scope.clone();
        match kind {
            None => {
                let server = Arc::clone(&self);
                self.queried(client, async move { server.list_of_events(&asked, &scope).await }).await
            }
            Some(kind) => {
                let Ok(alone) = Arc::clone(&self.exporting).try_acquire_owned() else {
                    return again("as many files are being made as may be; ask again", 10);
                };
                let place = match self.readers.enter(client).await {
                    Ok(place) => place,
                    Err(crowded) => return crowded.answer(),
                };
                self.file_of_events(kind, &asked, &scope, Held { _place: place, _alone: alone }).await
            }
        }
    }

    async fn list_of_events(&self, asked: &Question, scope: &Scope) -> Answer {
        let limit = asked.limit.unwrap_or(LIST);
        if limit > MOST_OF_LIST {
            let why = format!("`limit` is at most {MOST_OF_LIST} for a list; ask for a file (`format=ndjson`)");
            return refused(StatusCode::BAD_REQUEST, &why);
        }
        let statement = match asked.wanted().newest(limit) {
            Ok(statement) => statement,
            Err(error) => return Wrong::from(error).answer(),
        };
        match events::list(&self.reading_dashboards.seen_by(scope), &statement).await {
            Ok(list) => json(StatusCode::OK, &list),
            Err(error) => QueryError::from(error).answer(),
        }
    }

    async fn file_of_events(&self, kind: FileKind, asked: &Question, scope: &Scope, held: Held) -> Answer {
        let (limit, wanted) = (asked.limit.unwrap_or(FILE), asked.wanted());
        let statements = wanted.counted().and_then(|counted| Ok((counted, wanted.whole(limit)?)));
        let (counted, whole) = match statements {
            Ok(statements) => statements,
            Err(error) => return Wrong::from(error).answer(),
        };
        match events::count(&self.reading_dashboards.seen_by(scope), &counted).await {
            Ok(found) if found > limit => {
                let why =
                    format!("{found} events match, and this file may have {limit}; choose fewer, or give `limit`");
                return refused(StatusCode::UNPROCESSABLE_ENTITY, &why);
            }
            Ok(_) => {}
            Err(error) => return QueryError::from(error).answer(),
        }
        let store = self.reading_exports.seen_by(scope);
        let (sender, pieces) = mpsc::channel(PIECES);
        match first_piece(&store, &whole, kind).await {
            Ok((file, first)) => {
                tokio::spawn(hand_on(file, first, sender, held));
                answer::file(kind, "weir-events", pieces)
            }
            Err(error) => QueryError::from(error).answer(),
        }
    }
}

/// With the first piece in hand, so that what ClickHouse refuses at once is an answer with a status.
async fn first_piece(
    store: &Store,
    statement: &crate::query::dashboards::Statement,
    kind: FileKind,
) -> Result<(File, Option<Vec<u8>>), StoreError> {
    let mut file = File::begin(store, statement, kind).await?;
    let first = file.next().await?;
    Ok((file, first))
}

/// What a file holds until its client has it.
struct Held {
    _place: QueryPlace,
    _alone: OwnedSemaphorePermit,
}

async fn hand_on(mut file: File, first: Option<Vec<u8>>, sender: mpsc::Sender<Result<Bytes, StoreError>>, _held: Held) {
    let mut piece = Ok(first);
    loop {
        let sent = match piece {
            Ok(None) => return,
            Ok(Some(bytes)) => sender.send(Ok(Bytes::from(bytes))).await,
            Err(error) => {
                tracing::warn!(%error, "a file of events broke off");
                drop(sender.send(Err(error)).await);
                return;
            }
        };
        if sent.is_err() {
            return;
        }
        piece = file.next().await;
    }
}

/// What is asked, checked.
struct Question {
    asked: crate::query::dashboards::Asked,
    received_ms: Option<u64>,
    limit: Option<u64>,
}

impl Question {
    fn read(params: &Params) -> Result<Self, Wrong> {
        // What happens now is in the time shown, and so is the second that it ends in.
        let mut asked = asked_of(params, now_us() / 1_000_000, 1)?;
        asked.to_s += 1;
        let received_ms = params.whole("received", operations::TIME_MS)?;
        Ok(Self { asked, received_ms, limit: params.whole("limit", operations::EVENTS)? })
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { asked: &self.asked, after_ms: self.received_ms }
    }
}
