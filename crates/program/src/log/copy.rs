//! The log once more, for whoever takes it besides standard error: each event as its level and one text.

use super::Texts;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Takes the level and the text of an event. Called on whatever thread says it: it must not wait.
pub type Take = Box<dyn Fn(Level, &str) + Send + Sync>;

pub(super) struct Copy(pub(super) Take);

impl<S: Subscriber> Layer<S> for Copy {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Texts { message, fields } = Texts::of(event);
        let mut text = message;
        for (name, value) in fields {
            text.push_str(&format!(" {name}={value}"));
        }
        (self.0)(*event.metadata().level(), &text);
    }
}
