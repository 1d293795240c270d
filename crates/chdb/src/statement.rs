//! One request from its text to its answer, on a thread of its own that may block.
//!
//! The order of things: find where the statement ends and its data starts, judge whether the user may
//! run it, prepare a fresh connection with the request's database and settings, run it, answer.

use std::io::{self, Read, Write};

use crate::engine::{Class, Connection, Engine, InsertStream, Stats};
use crate::exception::Exception;
use crate::formats::{self, Joining};
use crate::multipart;
use crate::request::Order;
use crate::respond::Responder;
use crate::sql::{self, Query, Shape};
use crate::users::Right;
use crate::{body::BodyReader, failpoint, guard};

/// Data is handed to the engine in pieces of this size.
const PIECE: usize = 256 << 10;
/// A result shorter than this is sent with its length, its full summary and the status of any error.
const HELD_BACK: usize = 1 << 20;

/// A request that may run.
pub struct Job {
    pub order: Order,
    pub right: Right,
    pub body: BodyReader,
    /// Set if the body is `multipart/form-data`.
    pub boundary: Option<String>,
    /// Longest text of a statement, in bytes; its data does not count.
    pub max_query_size: usize,
    /// Goes into `log_comment`, by which the statement can be found and cancelled.
    pub marker: String,
}

/// A statement, and what of its data was read along with it.
enum Statement {
    Whole(Vec<u8>),
    Insert { head: Vec<u8>, format: String, data: Vec<u8> },
}

/// Runs the job; the answer, whatever it is, is left with `responder` or was begun by it.
pub fn run(engine: &Engine, job: Job, responder: &mut Responder) {
    if let Err(error) = execute(engine, job, responder) {
        tracing::debug!(code = error.code, error = %error.text, "statement failed");
        responder.fail(&error);
    }
}

fn execute(engine: &Engine, mut job: Job, responder: &mut Responder) -> Result<(), Exception> {
    let body = std::mem::replace(&mut job.body, BodyReader::of(Default::default()));
    let mut reader = job
        .order
        .request_coding
        .unwrap_or(crate::coding::Coding::Identity)
        .reader(body)
        .map_err(|error| unreadable(&error))?;
    if let Some(boundary) = job.boundary.take() {
        take_fields(&mut job, &mut reader, &boundary)?;
        reader = Box::new(io::empty());
    }
    let statement = read_statement(job.order.query.take(), &mut reader, job.max_query_size)?;
    let mut connection = engine.connect()?;
    match statement {
        Statement::Insert { head, format, data } => {
            if job.order.readonly || job.right == Right::ReadOnly {
                return Err(Exception::readonly(
                    "Cannot execute query in readonly mode: send it by POST, as a user with the right `full`",
                ));
            }
            job.order.check_format(&format)?;
            prepare(&mut connection, &job)?;
            failpoint::pass("insert.before_data");
            let insert = connection.insert(&head, &format, &job.order.params)?;
            let stats = copy(insert, &data, &mut reader)?;
            failpoint::pass("insert.after_commit");
            responder.holds_insert();
            responder.whole(&format, Vec::new(), stats)
        }
        Statement::Whole(text) => {
            let (query, class) = judge(&mut connection, &job, &text)?;
            prepare(&mut connection, &job)?;
            match (query.first.as_str(), class) {
                ("INSERT", _) => insert_without_data(&mut connection, &job, &text, responder),
                (_, Class::Writes) => change(&mut connection, &job, &text, &query, responder),
                _ => answer(&mut connection, &job, &text, &query, responder),
            }
        }
    }
}

fn take_fields(job: &mut Job, reader: &mut dyn Read, boundary: &str) -> Result<(), Exception> {
    let mut body = Vec::new();
    reader.take(job.max_query_size as u64 + 1).read_to_end(&mut body).map_err(|error| unreadable(&error))?;
    if body.len() > job.max_query_size {
        return Err(too_large(job.max_query_size));
    }
    for (name, value) in multipart::fields(&body, boundary)? {
        match name.strip_prefix("param_") {
            Some(parameter) => job.order.add_param(parameter, value),
            None if name == "query" => job.order.query = Some(value),
            None => {
                return Err(Exception::not_implemented(format!(
                    "field `{name}`: external tables are not served here; send `query` and `param_*` fields"
                )));
            }
        }
    }
    Ok(())
}

/// Reads until the statement is whole, or an INSERT's data begins.
fn read_statement(query: Option<String>, reader: &mut dyn Read, limit: usize) -> Result<Statement, Exception> {
    let mut text = query.unwrap_or_default().into_bytes();
    let url = text.len();
    if url > 0 && text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    let mut complete = false;
    loop {
        if let Shape::Insert { head, format, data } = sql::shape(&text, complete) {
            let data = text.split_off(data);
            text.truncate(head);
            return Ok(Statement::Insert { head: text, format, data });
        }
        if complete {
            break;
        }
        let before = text.len();
        (&mut *reader).take(64 << 10).read_to_end(&mut text).map_err(|error| unreadable(&error))?;
        complete = text.len() == before;
        if text.len() > limit {
            return Err(too_large(limit));
        }
    }
    Ok(Statement::Whole(text))
}

/// Whether this request may run this statement.
fn judge(connection: &mut Connection, job: &Job, text: &[u8]) -> Result<(Query, Class), Exception> {
    let query = sql::query(text);
    if query.is_empty {
        return Err(Exception::new(62, "SYNTAX_ERROR", "Empty query"));
    }
    if query.has_client_file {
        return Err(Exception::not_implemented(
            "INTO OUTFILE and FROM INFILE name files of a client and are not served over HTTP; use the request's or the response's body",
        ));
    }
    if query.inserts_from_input {
        return Err(Exception::not_implemented(
            "INSERT … SELECT … FROM input() is not served; insert the rows as they are, with FORMAT, or into a table whose view transforms them",
        ));
    }
    let statements = connection.classify(text);
    if statements.count > 1 {
        return Err(Exception::new(
            62,
            "SYNTAX_ERROR",
            "Multi-statements are not allowed; send one statement a request",
        ));
    }
    if job.order.readonly && statements.class == Class::Writes {
        return Err(Exception::readonly(
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries",
        ));
    }
    if job.right == Right::ReadOnly {
        guard::check(text, &query.first, &job.order.params)?;
    }
    Ok((query, statements.class))
}

/// Gives the connection the request's database and settings. They end with the connection.
fn prepare(connection: &mut Connection, job: &Job) -> Result<(), Exception> {
    let nothing = crate::engine::Params::default();
    if let Some(database) = job.order.database.as_deref().filter(|name| !name.is_empty() && *name != "default") {
        connection.query(format!("USE `{}`", escape(database, '`')).as_bytes(), "TSV", &nothing)?;
    }
    let readonly = job.order.readonly || job.right == Right::ReadOnly;
    let mut sets = Vec::new();
    for (name, value) in &job.order.settings {
        if readonly && name == "readonly" && value == "0" {
            return Err(Exception::readonly("Cannot modify 'readonly' setting in readonly mode"));
        }
        sets.push(format!("{name} = '{}'", escape(value, '\'')));
    }
    let given = |wanted: &str| job.order.settings.iter().any(|(name, _)| name == wanted);
    if !given("log_comment") {
        sets.push(format!("log_comment = '{}'", job.marker));
    }
    if readonly && !given("readonly") {
        sets.push("readonly = 2".to_owned());
    }
    if !sets.is_empty() {
        connection.query(format!("SET {}", sets.join(", ")).as_bytes(), "TSV", &nothing)?;
    }
    Ok(())
}

fn escape(text: &str, quote: char) -> String {
    text.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"))
}

fn copy(mut insert: InsertStream<'_>, first: &[u8], reader: &mut dyn Read) -> Result<Stats, Exception> {
    let mut going = first.is_empty() || insert.append(first);
    let mut piece = vec![0; PIECE];
    while going {
        // An error drops the stream, which cancels it: half a body is not committed.
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => going = insert.append(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    failpoint::pass("insert.before_commit");
    failpoint::soon("insert.in_commit");
    insert.finish()
}

/// Runs an INSERT whose rows the engine makes.
fn insert_without_data(
    connection: &mut Connection,
    job: &Job,
    text: &[u8],
    responder: &mut Responder,
) -> Result<(), Exception> {
    failpoint::pass("insert.before_data");
    failpoint::soon("insert.in_commit");
    let output = connection.query(text, "TabSeparated", &job.order.params)?;
    failpoint::pass("insert.after_commit");
    responder.holds_insert();
    responder.whole("TabSeparated", output.bytes().to_vec(), output.stats())
}

/// Runs any other statement that writes.
fn change(
    connection: &mut Connection,
    job: &Job,
    text: &[u8],
    query: &Query,
    responder: &mut Responder,
) -> Result<(), Exception> {
    failpoint::pass("write.before");
    answer(connection, job, text, query, responder)?;
    failpoint::pass("write.after");
    Ok(())
}

/// Runs a statement that may return rows.
fn answer(
    connection: &mut Connection,
    job: &Job,
    text: &[u8],
    query: &Query,
    responder: &mut Responder,
) -> Result<(), Exception> {
    let format = query.format.clone().or_else(|| job.order.format.clone()).unwrap_or_else(|| "TabSeparated".to_owned());
    job.order.check_format(&format)?;
    let joining = formats::joining(&format);
    let reads = matches!(query.first.as_str(), "SELECT" | "WITH" | "FROM");
    let changes_shape = |name: &str| matches!(name, "extremes" | "output_format_json_array_of_rows");
    let plain = !query.has_totals && !job.order.settings.iter().any(|(name, _)| changes_shape(name));
    if reads && plain && joining != Joining::Whole && !job.order.wait_end_of_query {
        match stream(connection, job, text, &format, joining, responder) {
            Err(error) if error.text.contains("Streaming query is not supported") => {}
            done => return done,
        }
    }
    let output = connection.query(text, &format, &job.order.params)?;
    responder.whole(&format, output.bytes().to_vec(), output.stats())
}

fn stream(
    connection: &mut Connection,
    job: &Job,
    text: &[u8],
    format: &str,
    joining: Joining,
    responder: &mut Responder,
) -> Result<(), Exception> {
    let mut stream = connection.stream(text, format, &job.order.params)?;
    let mut stats = Stats::default();
    let mut held = Vec::new();
    while held.len() < HELD_BACK {
        let Some(block) = stream.next()? else {
            return responder.whole(format, held, stats);
        };
        let head = if held.is_empty() { 0 } else { joining.head(block.bytes()) };
        held.extend_from_slice(&block.bytes()[head..]);
        stats.add(block.stats());
    }
    let mut writer = responder.begin(format, stats)?;
    let gone = |error: io::Error| Exception::new(210, "NETWORK_ERROR", error);
    writer.write_all(&held).map_err(gone)?;
    drop(held);
    loop {
        match stream.next() {
            Ok(None) => return writer.finish().map_err(gone),
            Ok(Some(block)) => {
                let bytes = block.bytes();
                writer.write_all(&bytes[joining.head(bytes)..]).map_err(gone)?;
            }
            Err(error) => return writer.break_off(&error).map_err(gone),
        }
    }
}

fn too_large(limit: usize) -> Exception {
    Exception::new(
        229,
        "QUERY_IS_TOO_LARGE",
        format!("the text of the query is above {limit} bytes; shorten it or raise --max-query-size"),
    )
}

fn unreadable(error: &io::Error) -> Exception {
    match error.kind() {
        io::ErrorKind::TimedOut => Exception::new(209, "SOCKET_TIMEOUT", error),
        io::ErrorKind::UnexpectedEof => Exception::new(33, "CANNOT_READ_ALL_DATA", error),
        _ if error.to_string().contains("checksum") => Exception::new(40, "CHECKSUM_DOESNT_MATCH", error),
        _ => Exception::new(271, "CANNOT_DECOMPRESS", error),
    }
}
