//! The engine as safe types: one process-wide engine on one folder, and connections to it.
//!
//! A connection is cheap (0.1 ms) and carries its own settings, current database and temporary
//! tables, so every request gets a fresh one and nothing can leak from one request to the next.
//! One statement runs on a connection at a time: the borrow checker holds that here, since every
//! statement takes `&mut Connection`. Whatever the library allocates is freed by a `Drop` below.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use crate::exception::Exception;
use crate::ffi::{Analysis, Conn, Symbols};
use crate::guard::Closed;
use crate::surroundings::{QUERY_ID, escape};
use crate::users::Right;

mod outcome;

use outcome::text;
pub use outcome::{InsertStream, Output, ResultStream, Stats};

/// Settings of every connection: what makes the embedded engine behave as the server does.
/// `async_insert` is off so that an acknowledged insert is a part on disk; a request may set it.
const CONNECTION_SETTINGS: [&str; 3] = ["--implicit_select=0", "--allow_introspection_functions=0", "--async_insert=0"];

/// Whether every connection begins with a value of this setting that is not the engine's default.
pub fn begins_with(setting: &str) -> bool {
    CONNECTION_SETTINGS.iter().any(|argument| {
        argument
            .strip_prefix("--")
            .and_then(|argument| argument.split_once('='))
            .is_some_and(|(name, _)| name == setting)
    })
}

/// Why the engine did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "cannot load `{path}`: {source}; reinstall it with `npm ci --ignore-scripts --prefix crates/chdb/engine` or point WEIR_CHDB_LIB at a whole libchdb.so"
    )]
    Load { path: PathBuf, source: libloading::Error },
    #[error("`{path}` is not usable as a path for the engine: it holds a NUL byte; choose another --path")]
    Nul { path: PathBuf },
    #[error(
        "the engine refused the folder `{path}`; see its message above, and check that it is a folder of this engine, that its files are readable and writable and that no other program has it open"
    )]
    Refused { path: PathBuf },
    #[error("the engine opened `{path}` but does not answer: {error}")]
    Mute { path: PathBuf, error: String },
}

/// The engine, open on its folder until it is dropped.
pub struct Engine {
    symbols: &'static Symbols,
    arguments: Vec<CString>,
    version: String,
    timezone: String,
    closed: Closed,
    /// Keeps the engine alive between requests, and runs `KILL QUERY`.
    anchor: Mutex<Connection>,
}

impl Engine {
    /// Loads the library and opens `path` with the rights that `config` leads to. Call it once, before other threads start.
    ///
    /// # Errors
    /// One sentence with the cure; see [`OpenError`].
    pub fn open(library: &Path, path: &Path, config: &Path) -> Result<Engine, OpenError> {
        let symbols = Symbols::load(library).map_err(|source| OpenError::Load { path: library.to_owned(), source })?;
        // SAFETY: called before the first connect, as the library asks.
        unsafe { (symbols.set_signal_handlers)(0) };
        let arguments = arguments(path)?;
        let refused = || OpenError::Refused { path: path.to_owned() };
        // The configuration is the engine's as a whole: its first connection brings it.
        let nul = |_| OpenError::Nul { path: path.to_owned() };
        let config = CString::new(format!("--config-file={}", config.display())).map_err(nul)?;
        let first: Vec<CString> = arguments.iter().cloned().chain([config]).collect();
        let mut anchor = Connection::open(symbols, &first).ok_or_else(refused)?;
        let answer = anchor
            .query(b"SELECT version(), timezone()", "TSV", &Params::default())
            .map_err(|exception| OpenError::Mute { path: path.to_owned(), error: exception.text })?;
        let mute = |exception: Exception| OpenError::Mute { path: path.to_owned(), error: exception.text };
        let settings = anchor.query(Closed::SQL.as_bytes(), "TSV", &Params::default()).map_err(mute)?;
        let closed = Closed::new(&String::from_utf8_lossy(settings.bytes()));
        let text = String::from_utf8_lossy(answer.bytes()).trim().to_owned();
        let (version, timezone) = text.split_once('\t').unwrap_or((&text, "UTC"));
        Ok(Engine {
            symbols,
            arguments,
            version: version.to_owned(),
            timezone: timezone.to_owned(),
            closed,
            anchor: Mutex::new(anchor),
        })
    }

    /// A fresh connection, with default settings, the database `default`, and no more rights than `right`.
    ///
    /// # Errors
    /// When the engine is out of threads or memory.
    pub fn connect(&self, right: Right) -> Result<Connection, Exception> {
        let mut connection = Connection::open(self.symbols, &self.arguments)
            .ok_or_else(|| Exception::new(439, "CANNOT_SCHEDULE_TASK", "the engine gives no further connection"))?;
        if right != Right::Full {
            connection.query(format!("SET ROLE {}", right.role()).as_bytes(), "TSV", &Params::default())?;
        }
        Ok(connection)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// The settings that a reader may not set.
    pub fn closed(&self) -> &Closed {
        &self.closed
    }

    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// Asks the engine to stop the statement that runs under this id. Does not wait.
    pub fn kill(&self, query_id: &str) {
        self.kill_where(&format!("Settings['{QUERY_ID}'] = '{}'", escape(query_id, '\'')));
    }

    /// Asks the engine to stop every statement. Does not wait.
    pub fn kill_all(&self) {
        self.kill_where("query NOT ILIKE 'KILL%'");
    }

    fn kill_where(&self, condition: &str) {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = format!("KILL QUERY WHERE {condition} ASYNC");
        if let Err(error) = anchor.query(sql.as_bytes(), "TSV", &Params::default()) {
            tracing::warn!(error = %error.text, "a statement could not be cancelled");
        }
    }
}

fn arguments(path: &Path) -> Result<Vec<CString>, OpenError> {
    let nul = |_| OpenError::Nul { path: path.to_owned() };
    let mut arguments = vec![c"clickhouse".to_owned()];
    arguments.push(CString::new(format!("--path={}", path.display())).map_err(nul)?);
    for setting in CONNECTION_SETTINGS {
        arguments.push(CString::new(setting).map_err(nul)?);
    }
    Ok(arguments)
}

/// Server-side parameters of one statement: `{name:Type}` in its text.
#[derive(Debug, Default, Clone)]
pub struct Params {
    pub names: Vec<String>,
    pub values: Vec<String>,
}

/// The four parallel arrays that the library wants; they borrow from a [`Params`].
struct RawParams {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
}

impl RawParams {
    fn new(params: &Params) -> RawParams {
        RawParams {
            names: params.names.iter().map(|name| name.as_ptr().cast()).collect(),
            name_lengths: params.names.iter().map(String::len).collect(),
            values: params.values.iter().map(|value| value.as_ptr().cast()).collect(),
            value_lengths: params.values.iter().map(String::len).collect(),
        }
    }
}

/// What the engine's parser says of a text, without running it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statements {
    pub count: u32,
    pub class: Class,
}

/// What a statement does to what outlives it; of several, the most far-reaching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    ReadOnly,
    Writes,
    Unknown,
}

/// One session of the engine.
pub struct Connection {
    symbols: &'static Symbols,
    raw: *mut Conn,
}

// SAFETY: the library locks a connection inside every call and ties none of it to a thread; we
// never share a `&Connection` between threads for a call, since every call takes `&mut`.
unsafe impl Send for Connection {}

impl Connection {
    fn open(symbols: &'static Symbols, arguments: &[CString]) -> Option<Connection> {
        let mut argv: Vec<*mut c_char> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let argc = i32::try_from(argv.len()).ok()?;
        // SAFETY: `argv` holds `argc` NUL-terminated strings that outlive the call; the library copies them.
        let raw = unsafe { (symbols.connect)(argc, argv.as_mut_ptr()) };
        (!raw.is_null()).then_some(Connection { symbols, raw })
    }

    fn handle(&self) -> Conn {
        // SAFETY: `raw` came from a successful connect and is closed only in `drop`.
        unsafe { *self.raw }
    }

    /// Runs one statement; the whole result is in memory.
    ///
    /// # Errors
    /// What the engine says.
    pub fn query(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<Output, Exception> {
        let raw = self.call(self.symbols.query, sql, format, params);
        Output::new(self.symbols, raw)
    }

    /// Starts a SELECT whose result is fetched block by block.
    ///
    /// # Errors
    /// What the engine says, also that it cannot stream this kind of statement: nothing has run then.
    pub fn stream(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<ResultStream<'_>, Exception> {
        let raw = self.call(self.symbols.stream_query, sql, format, params);
        let result = Output::new(self.symbols, raw)?;
        Ok(ResultStream { connection: self, result, ended: false, stats: Stats::default() })
    }

    /// Starts an INSERT (`sql` ends before its `FORMAT`); data is appended in `format`.
    ///
    /// # Errors
    /// What the engine says; nothing is stored then.
    pub fn insert(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<InsertStream<'_>, Exception> {
        let raw = self.call(self.symbols.stream_insert, sql, format, params);
        let stream = InsertStream { connection: self, raw };
        // SAFETY: the stream is alive; the text it returns lives as long as the stream and is copied here.
        match unsafe { text((stream.connection.symbols.insert_error)(raw)) } {
            Some(error) => Err(Exception::from_engine(&error)),
            None => Ok(stream),
        }
    }

    /// Asks the engine's parser what `sql` is.
    pub fn classify(&mut self, sql: &[u8]) -> Statements {
        let size = u32::try_from(size_of::<Analysis>()).unwrap_or(16);
        let mut analysis = Analysis { struct_size: size, ..Analysis::default() };
        // SAFETY: `sql` and `analysis` outlive the call; a null target database is allowed.
        let state = unsafe {
            (self.symbols.classify)(self.handle(), sql.as_ptr().cast(), sql.len(), ptr::null(), 0, &raw mut analysis)
        };
        let class = match (state, analysis.query_class) {
            (0, 0) => Class::ReadOnly,
            (0, 1..=3) => Class::Writes,
            _ => Class::Unknown,
        };
        Statements { count: analysis.statement_count, class }
    }

    fn call<T>(&mut self, function: crate::ffi::WithParams<T>, sql: &[u8], format: &str, params: &Params) -> T {
        let raw = RawParams::new(params);
        // SAFETY: every pointer comes with its length, borrows from an argument of this function and
        // so outlives the call; the library copies what it keeps. `&mut self`: one statement at a time.
        unsafe {
            function(
                self.handle(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                raw.names.as_ptr(),
                raw.name_lengths.as_ptr(),
                raw.values.as_ptr(),
                raw.value_lengths.as_ptr(),
                params.names.len(),
            )
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once; streams borrow the connection and are gone by now.
        unsafe { (self.symbols.close)(self.raw) };
    }
}
