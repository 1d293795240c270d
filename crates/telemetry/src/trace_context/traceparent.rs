//! The `traceparent` header (W3C Trace Context Level 2, section 3.2): 55 bytes that are right or mean nothing.

use weir_event::ids::{hex_from, hex_into};
use weir_event::{SpanId, TraceId};

const LEN: usize = 55;
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// A valid traceparent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: TraceId,
    /// `parent-id`: the span of whoever sent it.
    pub span: SpanId,
    pub sampled: bool,
    /// Level 2: the right-most seven bytes of the trace id are random.
    pub random: bool,
}

impl TraceParent {
    /// Reads a header value. `None` means that the trace must begin anew.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = trim(value);
        let (head, tail) = value.split_first_chunk::<LEN>()?;
        if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return None;
        }
        let [version] = hex_from::<1>(&head[..2])?;
        let well_ended = match version {
            0xff => false,
            0 => tail.is_empty(),
            _ => tail.first().is_none_or(|byte| *byte == b'-'),
        };
        if !well_ended {
            return None;
        }
        let trace = TraceId::from_hex(&head[3..35])?;
        let span = SpanId::from_hex(&head[36..52])?;
        let [flags] = hex_from::<1>(&head[53..55])?;
        if trace.is_none() || span.is_none() {
            return None;
        }
        // Of a version not yet known only `sampled` may be read: what bit 1 means there nobody has said.
        Some(Self { trace, span, sampled: flags & SAMPLED != 0, random: version == 0 && flags & RANDOM != 0 })
    }

    /// The value to send: always version 00, flags not known set to 0.
    pub fn text(&self) -> [u8; LEN] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex_into(&self.trace.0, &mut text[3..35]);
        hex_into(&self.span.0, &mut text[36..52]);
        let flags = (u8::from(self.sampled) * SAMPLED) | (u8::from(self.random) * RANDOM);
        hex_into(&[flags], &mut text[53..55]);
        text
    }
}

/// Strips the optional white space round a value (RFC 9110 5.6.3): spaces and tabs.
fn trim(value: &[u8]) -> &[u8] {
    let white = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !white(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !white(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(text: &str) -> Option<TraceParent> {
        TraceParent::parse(text.as_bytes())
    }

    fn versioned(version: &str, flags_and_more: &str) -> Option<TraceParent> {
        parse(&format!("{version}-{TRACE}-{SPAN}-{flags_and_more}"))
    }

    #[test]
    fn version_00_is_exactly_55_bytes() {
        assert!(versioned("00", "01").is_some());
        for tail in ["01.", "01-", "01-x", "01-what-the-future-holds", "0", "", "1"] {
            assert_eq!(versioned("00", tail), None, "{tail:?}");
        }
    }

    #[test]
    fn version_ff_is_invalid() {
        assert_eq!(versioned("ff", "01"), None);
    }

    #[test]
    fn a_higher_version_gives_its_ids_and_its_sampled_bit() {
        for version in ["01", "cc", "fe"] {
            for tail in ["01", "01-", "01-what-the-future-holds"] {
                let parent = versioned(version, tail).unwrap();
                assert_eq!((parent.trace.to_string().as_str(), parent.sampled), (TRACE, true));
            }
            for tail in ["01.what", "01x", "0"] {
                assert_eq!(versioned(version, tail), None, "{version} {tail:?}");
            }
        }
    }

    #[test]
    fn what_a_higher_version_means_by_its_other_flags_is_not_guessed() {
        assert!(!versioned("01", "03").unwrap().random);
        assert_eq!(versioned("cc", "ff-x").unwrap().text(), format!("00-{TRACE}-{SPAN}-01").as_bytes());
    }

    #[test]
    fn a_version_that_is_not_two_hex_digits_and_a_dash_restarts() {
        for version in [".0", "0.", "0", "000", "0O", "00_"] {
            assert_eq!(versioned(version, "01"), None, "{version:?}");
        }
    }

    #[test]
    fn zero_ids_are_invalid() {
        assert_eq!(parse(&format!("00-{}-{SPAN}-01", "0".repeat(32))), None);
        assert_eq!(parse(&format!("00-{TRACE}-{}-01", "0".repeat(16))), None);
    }

    #[test]
    fn upper_case_and_wrong_lengths_are_invalid() {
        assert_eq!(parse(&format!("00-{}-{SPAN}-01", TRACE.to_uppercase())), None);
        assert_eq!(parse(&format!("00-{TRACE}-{}-01", SPAN.to_uppercase())), None);
        assert_eq!(versioned("00", "0A"), None);
        assert_eq!(parse(&format!("00-{}-{SPAN}-01", &TRACE[1..])), None);
        assert_eq!(parse(&format!("00-{TRACE}0-{SPAN}-01")), None);
        assert_eq!(parse(&format!("00-{TRACE}-{}-01", &SPAN[1..])), None);
        assert_eq!(parse(&format!("00-{TRACE}-{SPAN}0-01")), None);
        assert_eq!(parse(&format!("00-.{}-{SPAN}-01", &TRACE[1..])), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn white_space_round_the_value_is_stripped() {
        for value in [" {}", "\t{}", "{} ", "{}\t", "\t {} \t"] {
            let value = value.replace("{}", &format!("00-{TRACE}-{SPAN}-01"));
            assert!(parse(&value).is_some(), "{value:?}");
        }
        assert_eq!(parse(&format!("00- {TRACE}-{SPAN}-01")), None);
    }

    #[test]
    fn flags_are_bits_and_unknown_ones_go_on_as_zero() {
        for (flags, sampled, random, sent) in [
            ("00", false, false, "00"),
            ("01", true, false, "01"),
            ("02", false, true, "02"),
            ("03", true, true, "03"),
            ("04", false, false, "00"),
            ("ff", true, true, "03"),
        ] {
            let parent = versioned("00", flags).unwrap();
            assert_eq!((parent.sampled, parent.random), (sampled, random), "{flags}");
            assert_eq!(parent.text(), format!("00-{TRACE}-{SPAN}-{sent}").as_bytes());
        }
    }
}
