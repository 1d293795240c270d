//! What `x-request-id` says, to the service and to the client.

use http::HeaderValue;
use weir_event::ids::hex_into;
use weir_event::{SpanId, TraceId};
use weir_http1::{Fields, Known, SoundValue};

const LEN: usize = 49;

/// `<trace id>-<span id>` unless the client's own is to be kept: unique for each request, and enough to find its
/// trace, so that no third random id need be stored.
pub(crate) enum RequestId {
    Kept(HeaderValue),
    /// In place: it is written twice, and no memory is asked for.
    Own(SoundValue<LEN>),
}

impl RequestId {
    /// That of a request, of which `fields` are as the client sent them.
    pub(crate) fn of(fields: &Fields, preserve: bool, trace: TraceId, span: SpanId) -> Self {
        let theirs = if preserve { fields.get_value(Known::XRequestId) } else { None };
        theirs.map_or_else(|| Self::own(trace, span), Self::Kept)
    }

    pub(crate) fn own(trace: TraceId, span: SpanId) -> Self {
        let mut text = [b'-'; LEN];
        hex_into(&trace.0, &mut text[..32]);
        hex_into(&span.0, &mut text[33..]);
        Self::Own(SoundValue::new(text).expect("hex digits and a dash are a value"))
    }

    /// Makes it the only one.
    pub(crate) fn put(&self, fields: &mut Fields) {
        match self {
            Self::Kept(theirs) => fields.put(Known::XRequestId, theirs),
            Self::Own(value) => fields.put_sound(Known::XRequestId, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_own_is_kept_where_it_is_to_be() {
        let mut fields = Fields::new();
        let id = |fields: &Fields, preserve| {
            let mut out = Fields::new();
            out.put(Known::XRequestId, &HeaderValue::from_static("before"));
            RequestId::of(fields, preserve, TraceId([0xab; 16]), SpanId([7; 8])).put(&mut out);
            assert_eq!(out.get_all(Known::XRequestId).count(), 1);
            String::from_utf8(out.get_value(Known::XRequestId).unwrap().as_bytes().to_vec()).unwrap()
        };
        let own = format!("{}-{}", "ab".repeat(16), "07".repeat(8));
        assert_eq!(id(&fields, true), own);
        fields.put(Known::XRequestId, &HeaderValue::from_static("mine"));
        assert_eq!((id(&fields, true), id(&fields, false)), ("mine".to_owned(), own));
    }
}
