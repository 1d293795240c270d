//! What waits to become a line: as bytes, one after the other, so that a worker only copies.

use weir_config::policy::LogLevel;
use weir_event::{NameId, SpanId, TraceId};

/// What a line is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a> {
    /// The record of a request that has ended.
    Request(&'a [u8]),
    /// What a policy says of a request.
    Message(PolicyMessage<'a>),
    /// What the program says of itself.
    Program { at_us: i64, level: LogLevel, text: &'a str },
}

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyMessage<'a> {
    /// Microseconds since the Unix epoch.
    pub at_us: i64,
    pub trace: TraceId,
    pub span: SpanId,
    pub api: NameId,
    pub policy: NameId,
    pub level: LogLevel,
    /// May be empty.
    pub category: &'a str,
    pub text: &'a str,
}

const REQUEST: u8 = 0;
const MESSAGE: u8 = 1;
const PROGRAM: u8 = 2;
/// Kind and length.
const HEAD: usize = 5;

impl<'a> Entry<'a> {
    /// Its size among others.
    pub(crate) fn size(&self) -> usize {
        HEAD + match self {
            Self::Request(record) => record.len(),
            Self::Message(message) => 8 + 16 + 8 + 4 + 4 + 1 + 4 + message.category.len() + message.text.len(),
            Self::Program { text, .. } => 8 + 1 + text.len(),
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Request(_) => REQUEST,
            Self::Message(_) => MESSAGE,
            Self::Program { .. } => PROGRAM,
        };
        out.push(kind);
        // A line is far below 4 GiB: records are bounded, and so are messages.
        out.extend_from_slice(&((self.size() - HEAD) as u32).to_le_bytes());
        match self {
            Self::Request(record) => out.extend_from_slice(record),
            Self::Message(message) => {
                out.extend_from_slice(&message.at_us.to_le_bytes());
                out.extend_from_slice(&message.trace.0);
                out.extend_from_slice(&message.span.0);
                out.extend_from_slice(&message.api.0.to_le_bytes());
                out.extend_from_slice(&message.policy.0.to_le_bytes());
                out.push(message.level as u8);
                out.extend_from_slice(&(message.category.len() as u32).to_le_bytes());
                out.extend_from_slice(message.category.as_bytes());
                out.extend_from_slice(message.text.as_bytes());
            }
            Self::Program { at_us, level, text } => {
                out.extend_from_slice(&at_us.to_le_bytes());
                out.push(*level as u8);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// The first of `bytes`, which it is taken from; `None` where there is none left.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let kind = number::<1>(bytes)?[0];
        let length = u32::from_le_bytes(number(bytes)?) as usize;
        let mut own = bytes.split_off(..length)?;
        Some(match kind {
            REQUEST => Self::Request(own),
            MESSAGE => {
                let at_us = i64::from_le_bytes(number(&mut own)?);
                let trace = TraceId(number(&mut own)?);
                let span = SpanId(number(&mut own)?);
                let api = NameId(u32::from_le_bytes(number(&mut own)?));
                let policy = NameId(u32::from_le_bytes(number(&mut own)?));
                let level = level(number::<1>(&mut own)?[0]);
                let category = u32::from_le_bytes(number(&mut own)?) as usize;
                let category = std::str::from_utf8(own.split_off(..category)?).ok()?;
                let text = std::str::from_utf8(own).ok()?;
                Self::Message(PolicyMessage { at_us, trace, span, api, policy, level, category, text })
            }
            _ => {
                let at_us = i64::from_le_bytes(number(&mut own)?);
                let level = level(number::<1>(&mut own)?[0]);
                Self::Program { at_us, level, text: std::str::from_utf8(own).ok()? }
            }
        })
    }
}

fn number<const SIZE: usize>(bytes: &mut &[u8]) -> Option<[u8; SIZE]> {
    bytes.split_off(..SIZE)?.try_into().ok()
}

fn level(byte: u8) -> LogLevel {
    LogLevel::NAMES.iter().map(|(_, level)| *level).find(|level| *level as u8 == byte).unwrap_or(LogLevel::Info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        let message = PolicyMessage {
            at_us: 5,
            trace: TraceId([1; 16]),
            span: SpanId([2; 8]),
            api: NameId(3),
            policy: NameId(4),
            level: LogLevel::Warn,
            category: "c",
            text: "über",
        };
        let entries = [
            Entry::Request(b"record"),
            Entry::Message(message),
            Entry::Program { at_us: -1, level: LogLevel::Error, text: "x" },
            Entry::Request(b""),
        ];
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.put(&mut bytes));
        assert_eq!(bytes.len(), entries.iter().map(Entry::size).sum::<usize>());
        let mut rest = &bytes[..];
        let taken: Vec<_> = std::iter::from_fn(|| Entry::take(&mut rest)).collect();
        assert_eq!(taken, entries);
        assert!(rest.is_empty());
    }
}
