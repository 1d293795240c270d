//! What went wrong of late: the last warnings and errors of the program's own log, for a support case.

use super::Texts;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// How many are kept.
const KEPT: usize = 100;
/// The most of one text that is kept, in bytes.
const LONGEST: usize = 2048;

/// One warning or error.
#[derive(Clone, Debug)]
pub struct LogRecord {
    pub at: SystemTime,
    /// `WARN` or `ERROR`.
    pub level: &'static str,
    /// The part of the program, as in `weir_spool::shipper`.
    pub target: &'static str,
    pub message: String,
    pub fields: Vec<(&'static str, String)>,
}

/// The last of them, oldest first. A handle: clones share one list.
#[derive(Clone, Default)]
pub struct Recent(Arc<Mutex<VecDeque<LogRecord>>>);

impl Recent {
    pub fn list(&self) -> Vec<LogRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn keep(&self, said: LogRecord) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(said);
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN {
            return;
        }
        let Texts { message, fields } = Texts::of(event);
        let fields = fields.into_iter().map(|(name, text)| (name, shortened(text))).collect();
        let (level, target) = (metadata.level().as_str(), metadata.target());
        self.keep(LogRecord { at: SystemTime::now(), level, target, message: shortened(message), fields });
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn the_last_warnings_are_kept_and_nothing_else() {
        let recent = Recent::default();
        let subscriber = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("all is well");
            (0..KEPT + 5).for_each(|number| tracing::warn!(number, "not so well"));
            tracing::error!(cause = %"x".repeat(LONGEST * 2), "badly");
        });
        let list = recent.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!((list[0].message.as_str(), list[0].fields[0].1.as_str()), ("not so well", "6"));
        let last = &list[KEPT - 1];
        assert_eq!((last.level, last.message.as_str()), ("ERROR", "badly"));
        assert_eq!(last.fields[0].1.len(), LONGEST + '…'.len_utf8());
    }
}
