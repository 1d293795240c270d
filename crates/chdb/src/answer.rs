//! How a statement's result becomes an answer: whole, or block by block as the engine makes it.
//!
//! A short result is sent whole, with its length, its figures and the status of any error. A long one is streamed,
//! and an error in its middle is told in the body and cuts the connection. A client that asks to wait for the end
//! gets a long one from a file, after the engine is done.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use crate::engine::{Connection, Output, ResultStream};
use crate::exception::Exception;
use crate::formats::{self, Joining};
use crate::native;
use crate::request::Order;
use crate::respond::{PieceWriter, Responder};
use crate::sql::Query;

/// A result shorter than this is sent with its length, its full summary and the status of any error.
const HELD_BACK: usize = 1 << 20;

/// A statement that may run.
pub struct Ask<'a> {
    pub order: &'a Order,
    pub text: &'a [u8],
    pub query: &'a Query,
}

/// Whether the statement is a SELECT, by whichever word it starts.
pub fn selects(query: &Query) -> bool {
    matches!(query.first.as_str(), "SELECT" | "WITH" | "FROM")
}

/// Whether the result goes out block by block, and so takes little memory.
pub fn is_streamed(order: &Order, query: &Query) -> bool {
    let changes_shape = |name: &str| matches!(name, "extremes" | "output_format_json_array_of_rows");
    let plain = !query.has_totals && !order.settings.iter().any(|(name, _)| changes_shape(name));
    selects(query) && plain && formats::joining(&format(order, query)) != Joining::Whole
}

fn format(order: &Order, query: &Query) -> String {
    query.format.clone().or_else(|| order.format.clone()).unwrap_or_else(|| "TabSeparated".to_owned())
}

/// Runs a statement that may return rows.
///
/// # Errors
/// What the engine says, if the answer has not begun.
pub fn answer(connection: &mut Connection, ask: &Ask, responder: &mut Responder) -> Result<(), Exception> {
    let format = format(ask.order, ask.query);
    let shaper = Shaper::new(&format, ask.order);
    if is_streamed(ask.order, ask.query) {
        match connection.stream(ask.text, &format, &ask.order.params) {
            Err(error) if error.text.contains("Streaming query is not supported") => {}
            Err(error) => return Err(error),
            Ok(stream) => return streamed(stream, shaper, ask.order.wait_end_of_query, responder),
        }
    }
    let output = connection.query(ask.text, &format, &ask.order.params)?;
    responder.whole(&format, shaper.whole(output.bytes())?, output.stats())
}

/// Gives blocks the form in which they make one document.
struct Shaper<'a> {
    format: &'a str,
    joining: Joining,
    /// Revision of the native protocol, 0 if the format is another.
    revision: u64,
    is_first: bool,
}

impl<'a> Shaper<'a> {
    fn new(format: &'a str, order: &Order) -> Shaper<'a> {
        let revision = if format.eq_ignore_ascii_case("Native") { order.protocol_revision } else { 0 };
        Shaper { format, joining: formats::joining(format), revision, is_first: true }
    }

    fn whole(&self, bytes: &[u8]) -> Result<Vec<u8>, Exception> {
        native::frame(bytes, self.revision, false)
    }

    fn write(&mut self, block: &Output, to: &mut dyn Write) -> Result<(), Exception> {
        let bytes = block.bytes();
        let head = if std::mem::take(&mut self.is_first) { 0 } else { self.joining.head(bytes) };
        match self.revision {
            0 => to.write_all(&bytes[head..]).map_err(gone),
            revision => to.write_all(&native::frame(bytes, revision, true)?).map_err(gone),
        }
    }
}

fn streamed(
    mut stream: ResultStream<'_>,
    mut shaper: Shaper<'_>,
    wait: bool,
    responder: &mut Responder,
) -> Result<(), Exception> {
    let mut held = Vec::new();
    while held.len() < HELD_BACK {
        let Some(block) = stream.next()? else {
            return responder.whole(shaper.format, held, stream.stats());
        };
        shaper.write(&block, &mut held)?;
    }
    if wait {
        return from_file(stream, shaper, held, responder);
    }
    let mut writer = responder.begin(shaper.format, stream.stats())?;
    let first = writer.write_all(&held).map_err(gone);
    drop(held);
    let done = first.and_then(|()| rest(&mut stream, &mut shaper, &mut writer));
    responder.account.stats = stream.stats();
    finish(writer, done, responder)
}

/// Every further block.
fn rest(stream: &mut ResultStream<'_>, shaper: &mut Shaper<'_>, to: &mut dyn Write) -> Result<(), Exception> {
    while let Some(block) = stream.next()? {
        shaper.write(&block, to)?;
    }
    Ok(())
}

/// Waits for the end with what came in a file, and then sends that.
fn from_file(
    mut stream: ResultStream<'_>,
    mut shaper: Shaper<'_>,
    held: Vec<u8>,
    responder: &mut Responder,
) -> Result<(), Exception> {
    let no_file = |error: io::Error| {
        Exception::new(
            243,
            "NOT_ENOUGH_SPACE",
            format!("cannot keep the result until its end: {error}; ask without wait_end_of_query, or make room"),
        )
    };
    // Without a name, in the engine's folder: it goes with the handle.
    let mut file = io::BufWriter::new(tempfile::tempfile_in(".").map_err(no_file)?);
    file.write_all(&held).map_err(no_file)?;
    drop(held);
    rest(&mut stream, &mut shaper, &mut file)?;
    let mut file = file.into_inner().map_err(|error| no_file(error.into_error()))?;
    file.rewind().map_err(no_file)?;
    let mut writer = responder.begin(shaper.format, stream.stats())?;
    let done = copy(&mut file, &mut writer);
    finish(writer, done, responder)
}

fn copy(file: &mut File, to: &mut PieceWriter) -> Result<(), Exception> {
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&piece[..count]).map_err(gone)?,
            Err(error) => return Err(Exception::new(74, "CANNOT_READ_FROM_FILE_DESCRIPTOR", error)),
        }
    }
}

/// Ends an answer that has begun.
fn finish(writer: PieceWriter, done: Result<(), Exception>, responder: &mut Responder) -> Result<(), Exception> {
    match done {
        Ok(()) => writer.finish().map_err(gone),
        Err(error) => {
            responder.account.error = Some(error.code);
            writer.break_off(&error).map_err(gone)
        }
    }
}

fn gone(error: io::Error) -> Exception {
    Exception::new(210, "NETWORK_ERROR", error)
}
