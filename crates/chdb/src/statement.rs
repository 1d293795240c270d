//! One request from its text to its answer, on a thread of its own that may block.
//!
//! The order of things: find where the statement ends and its data starts, take a connection (a fresh one, or the
//! session's), judge whether the user may run it, give the connection what the request brings, run it, answer, and
//! take back what the request brought.

use std::io::{self, Read};
use std::sync::Arc;

use crate::answer::{self, Ask};
use crate::body::BodyReader;
use crate::coding::Coding;
use crate::engine::{Class, Connection, Engine, InsertStream, Stats};
use crate::exception::Exception;
use crate::external::{self, External};
use crate::guard::{self, Closed};
use crate::metrics::Kind;
use crate::request::Order;
use crate::respond::Responder;
use crate::session::{Lease, Sessions};
use crate::sql::{self, Query, Shape};
use crate::surroundings::{Surroundings, Wish};
use crate::users::Right;
use crate::{failpoint, input, kill};

/// Data is handed to the engine in pieces of this size.
const PIECE: usize = 256 << 10;

/// A request that may run.
pub struct Job {
    pub order: Order,
    pub user: String,
    pub right: Right,
    pub sessions: Arc<Sessions>,
    pub body: BodyReader,
    /// Set if the body is `multipart/form-data`.
    pub boundary: Option<String>,
    /// Longest text of a statement, in bytes; its data does not count.
    pub max_query_size: usize,
    /// Most that a result may hold that is needed in memory as a whole, in bytes before formatting.
    pub max_whole_result: u64,
}

impl Job {
    fn only_reads(&self) -> bool {
        self.order.readonly || self.right == Right::ReadOnly
    }
}

/// A statement, and what of its data was read along with it.
enum Statement {
    Whole(Vec<u8>),
    Insert { head: Vec<u8>, format: String, data: Vec<u8> },
}

/// What is to be done, judged and allowed.
enum Task {
    Insert {
        head: Vec<u8>,
        format: String,
        data: Vec<u8>,
    },
    /// An INSERT whose rows the engine makes.
    InsertSelect(Vec<u8>),
    /// An INSERT whose rows the engine makes of the body's, by the table function `input`.
    InsertInput(input::Split),
    Change(Vec<u8>, Query),
    Read(Vec<u8>, Query),
}

impl Task {
    /// A `SET` or a `USE`, which a session keeps.
    fn changes_session(&self) -> bool {
        matches!(self, Task::Read(_, query) | Task::Change(_, query) if matches!(query.first.as_str(), "SET" | "USE"))
    }
}

/// Where a statement runs: a connection of its own, or a session's.
enum Place {
    Fresh(Connection),
    Kept(Lease),
}

impl Place {
    fn take(engine: &Engine, job: &Job) -> Result<Place, Exception> {
        match &job.order.session {
            // Who may only read cannot change a session, so each request gets a fresh one.
            Some(wanted) if job.right == Right::Full => {
                job.sessions.take(&job.user, wanted, || engine.connect(Right::Full)).map(Place::Kept)
            }
            _ => engine.connect(job.right).map(Place::Fresh),
        }
    }

    fn connection(&mut self) -> &mut Connection {
        match self {
            Place::Fresh(connection) => connection,
            Place::Kept(lease) => lease.connection(),
        }
    }

    /// Notes whether the task changes the session; gives whether one before it did.
    fn touch(&mut self, task: &Task) -> bool {
        let Place::Kept(lease) = self else { return false };
        let before = lease.is_touched();
        if task.changes_session() {
            lease.touch();
        }
        before
    }

    fn is_kept(&self) -> bool {
        matches!(self, Place::Kept(_))
    }

    fn leave(mut self, around: Surroundings) {
        if let Place::Kept(lease) = &mut self
            && !around.take_back(lease.connection())
        {
            lease.discard();
        }
    }
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
    let coding = job.order.request_coding.unwrap_or(Coding::Identity);
    let mut reader = coding.reader(body).map_err(|error| unreadable(&error))?;
    let mut externals = Vec::new();
    if let Some(boundary) = job.boundary.take() {
        externals = external::take_fields(&mut job.order, &mut reader, &boundary, job.max_query_size)?;
        reader = Box::new(io::empty());
    }
    if job.right == Right::ReadOnly {
        job.order.settings.iter().try_for_each(|(name, _)| engine.closed().check(name))?;
        externals.iter().try_for_each(|table| table.check(engine.closed()))?;
    }
    let statement = read_statement(job.order.query.take(), &mut reader, job.max_query_size)?;
    let mut place = Place::take(engine, &job)?;
    let kept = place.is_kept();
    let task = judge(place.connection(), &job, statement, kept, engine.closed())?;
    let mut around = Surroundings::default();
    let touched = place.touch(&task);
    let connection = place.connection();
    let mut run = Run { connection, job: &job, externals: &externals, reader: &mut reader, kept, touched };
    let done = run.perform(task, &mut around, responder);
    place.leave(around);
    done
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

/// What is to be done, if this request may do it.
fn judge(
    connection: &mut Connection,
    job: &Job,
    statement: Statement,
    kept: bool,
    closed: &Closed,
) -> Result<Task, Exception> {
    match statement {
        Statement::Insert { .. } if job.only_reads() => Err(Exception::readonly(
            "Cannot execute query in readonly mode: send it by POST, as a user with the right `full`",
        )),
        Statement::Insert { head, format, data } => match input::split(&head, &format, data) {
            input::Found::Nothing(data) => Ok(Task::Insert { head, format, data }),
            input::Found::Call(split) => Ok(Task::InsertInput(split)),
            input::Found::Unclear => Err(Exception::not_implemented(
                "`input` needs its structure as a literal, input('a UInt8, b String'), once in a statement",
            )),
        },
        Statement::Whole(text) => judge_whole(connection, job, text, kept, closed),
    }
}

fn judge_whole(
    connection: &mut Connection,
    job: &Job,
    text: Vec<u8>,
    kept: bool,
    closed: &Closed,
) -> Result<Task, Exception> {
    let query = sql::query(&text);
    if query.is_empty {
        return Err(Exception::new(62, "SYNTAX_ERROR", "Empty query"));
    }
    if query.has_client_file {
        return Err(Exception::not_implemented(
            "INTO OUTFILE and FROM INFILE name files of a client and are not served over HTTP; use the request's or the response's body",
        ));
    }
    if query.inserts_from_input {
        return Err(Exception::not_implemented("INSERT … SELECT … FROM input() needs FORMAT and its rows after it"));
    }
    let statements = connection.classify(&text);
    if statements.count > 1 {
        return Err(Exception::new(
            62,
            "SYNTAX_ERROR",
            "Multi-statements are not allowed; send one statement a request",
        ));
    }
    // The engine is told to refuse as well, except in a session, where that could not be taken back.
    let refused = statements.class == Class::Writes || (kept && !guard::reads(&query.first));
    if job.order.readonly && refused {
        return Err(Exception::readonly(
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries",
        ));
    }
    if job.right == Right::ReadOnly {
        guard::check(&text, &query.first, &job.order.params, closed)?;
    }
    Ok(match (query.first.as_str(), statements.class) {
        ("INSERT", _) => Task::InsertSelect(text),
        ("KILL", _) => Task::Change(kill::by_query_id(&text), query),
        (_, Class::Writes) => Task::Change(text, query),
        _ => Task::Read(text, query),
    })
}

/// A task on its connection.
struct Run<'a> {
    connection: &'a mut Connection,
    job: &'a Job,
    externals: &'a [External],
    reader: &'a mut dyn Read,
    kept: bool,
    /// The session was changed by `SET` or `USE` before this task.
    touched: bool,
}

impl<'a> Run<'a> {
    fn perform(&mut self, task: Task, around: &mut Surroundings, responder: &mut Responder) -> Result<(), Exception> {
        responder.account.kind = Kind::of(&task);
        for table in self.externals {
            table.create(self.connection)?;
            if self.kept {
                around.drop_later(&table.name);
            }
        }
        around.apply(self.connection, &self.wish(&task))?;
        match task {
            Task::Insert { head, format, data } => self.insert(&head, &format, &data, responder),
            Task::InsertSelect(text) => self.insert_select(&text, responder),
            Task::InsertInput(split) => self.insert_input(&split, around, responder),
            Task::Change(text, query) => self.change(&text, &query, responder),
            Task::Read(text, query) => self.read(&text, &query, responder),
        }
    }

    fn wish(&self, task: &Task) -> Wish<'a> {
        let streamed = match task {
            Task::Read(_, query) => Some(answer::is_streamed(&self.job.order, query)),
            _ => None,
        };
        Wish {
            order: &self.job.order,
            lock: self.job.only_reads() && !self.kept,
            changes_session: task.changes_session() && self.kept,
            kept: self.kept,
            touched: self.touched,
            max_result: (streamed == Some(false)).then_some(self.job.max_whole_result),
            streamed: streamed == Some(true),
        }
    }

    fn read(&mut self, text: &[u8], query: &Query, responder: &mut Responder) -> Result<(), Exception> {
        answer::answer(self.connection, &Ask { order: &self.job.order, text, query }, responder)
    }

    fn insert(&mut self, head: &[u8], format: &str, data: &[u8], responder: &mut Responder) -> Result<(), Exception> {
        failpoint::pass("insert.before_data");
        let insert = self.connection.insert(head, format, &self.job.order.params)?;
        let insert = copy(insert, data, self.reader)?;
        failpoint::pass("insert.before_commit");
        failpoint::soon("insert.in_commit");
        let stats = insert.finish()?;
        stored(format, stats, responder)
    }

    fn insert_select(&mut self, text: &[u8], responder: &mut Responder) -> Result<(), Exception> {
        failpoint::pass("insert.before_data");
        failpoint::soon("insert.in_commit");
        let output = self.connection.query(text, "TabSeparated", &self.job.order.params)?;
        stored("TabSeparated", output.stats(), responder)
    }

    /// The body's rows go into a table of this request first; the engine's INSERT then selects from that.
    fn insert_input(
        &mut self,
        split: &input::Split,
        around: &mut Surroundings,
        responder: &mut Responder,
    ) -> Result<(), Exception> {
        let nothing = crate::engine::Params::default();
        if self.kept {
            around.drop_later(input::TABLE);
        }
        self.connection.query(split.create().as_bytes(), "TSV", &nothing)?;
        let insert = self.connection.insert(split.fill().as_bytes(), &split.format, &nothing)?;
        copy(insert, &split.data, self.reader)?.finish()?;
        self.insert_select(&split.sql, responder)
    }

    fn change(&mut self, text: &[u8], query: &Query, responder: &mut Responder) -> Result<(), Exception> {
        failpoint::pass("write.before");
        self.read(text, query, responder)?;
        failpoint::pass("write.after");
        Ok(())
    }
}

impl Kind {
    fn of(task: &Task) -> Kind {
        match task {
            Task::Insert { .. } | Task::InsertSelect(_) | Task::InsertInput(_) => Kind::Insert,
            Task::Read(_, query) if answer::selects(query) => Kind::Select,
            Task::Read(..) | Task::Change(..) => Kind::Other,
        }
    }
}

/// Answers that rows are stored.
fn stored(format: &str, stats: Stats, responder: &mut Responder) -> Result<(), Exception> {
    failpoint::pass("insert.after_commit");
    responder.holds_insert();
    responder.whole(format, Vec::new(), stats)
}

/// Hands all of the body over. An error drops the stream, which cancels it: half a body is not committed.
fn copy<'a>(mut insert: InsertStream<'a>, first: &[u8], reader: &mut dyn Read) -> Result<InsertStream<'a>, Exception> {
    let mut going = first.is_empty() || insert.append(first);
    let mut piece = vec![0; PIECE];
    while going {
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => going = insert.append(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    Ok(insert)
}

pub fn too_large(limit: usize) -> Exception {
    Exception::new(
        229,
        "QUERY_IS_TOO_LARGE",
        format!("the text of the query is above {limit} bytes; shorten it or raise --max-query-size"),
    )
}

pub fn unreadable(error: &io::Error) -> Exception {
    match error.kind() {
        io::ErrorKind::TimedOut => Exception::new(209, "SOCKET_TIMEOUT", error),
        io::ErrorKind::UnexpectedEof => Exception::new(33, "CANNOT_READ_ALL_DATA", error),
        _ if error.to_string().contains("checksum") => Exception::new(40, "CHECKSUM_DOESNT_MATCH", error),
        _ => Exception::new(271, "CANNOT_DECOMPRESS", error),
    }
}
