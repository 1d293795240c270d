//! Any bytes, as a record of each schema: a record or an error; and a record's accessors hold whatever it says.

use weir_event::{BootId, Event, Identity, Schema, Stream, json};

pub fn record(bytes: &[u8]) {
    check(Schema::V1, bytes);
    check(Schema::V2, bytes);
}

fn check(schema: Schema, bytes: &[u8]) {
    let Ok(event) = Event::decode(schema, bytes) else { return };
    assert_eq!(event.policies().len(), usize::from(event.fixed.policies));
    assert_eq!(event.attempts().len(), usize::from(event.fixed.attempts));
    assert_eq!(event.attrs().count(), usize::from(event.fixed.attrs));
    let stream = Stream { identity: Identity::default(), boot: BootId::default(), worker: 0 };
    json::to_json(&event, &stream, |_| None);
}
