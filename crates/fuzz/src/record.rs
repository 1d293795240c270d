//! Any bytes: a record or an error; and a record's accessors hold whatever it says.

use weir_event::{BootId, Event, Identity, Stream, json};

pub fn record(bytes: &[u8]) {
    let Ok(event) = Event::decode(bytes) else { return };
    assert_eq!(event.policies().len(), usize::from(event.fixed.policies));
    assert_eq!(event.attempts().len(), usize::from(event.fixed.attempts));
    assert_eq!(event.attrs().count(), usize::from(event.fixed.attrs));
    let stream = Stream { identity: Identity::default(), boot: BootId::default(), worker: 0 };
    json::to_json(&event, &stream, |_| None);
}
