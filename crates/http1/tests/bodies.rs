//! Bodies that are taken apart without a copy, and bodies that are written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::BytesMut;
use common::{listed, request, wire};
use weir_http1::{BodyError, Decoder, EncodeError, Encoder, Fields, Frame, Framing, Known, Limits, Piece};

#[test]
fn content_is_a_slice_of_the_buffer() {
    let mut buffer = BytesMut::from(&*wire("5;x|hello|6| world|0||GET"));
    let from = buffer.as_ptr() as usize;
    let mut decoder = Decoder::new(Framing::Chunked, Limits::default());
    let Some(Frame::Data(hello)) = decoder.next(&mut buffer).unwrap() else { panic!("content") };
    assert_eq!((&hello[..], hello.as_ptr() as usize - from), (&b"hello"[..], 5));
    let Some(Frame::Data(world)) = decoder.next(&mut buffer).unwrap() else { panic!("content") };
    assert_eq!((&world[..], world.as_ptr() as usize - from), (&b" world"[..], 15));
    assert!(matches!(decoder.next(&mut buffer), Ok(Some(Frame::End))) && decoder.is_done());
    assert_eq!(&buffer[..], b"GET", "the next message begins there");
    assert!(matches!(decoder.next(&mut buffer), Ok(Some(Frame::End))), "and is not read");
}

#[test]
fn steps_say_what_is_framing_and_what_is_content() {
    let mut decoder = Decoder::new(Framing::Chunked, Limits::default());
    let step = |decoder: &mut Decoder, bytes: &[u8]| {
        let step = decoder.step(bytes).unwrap();
        (step.skip, step.piece)
    };
    assert!(matches!(step(&mut decoder, b"5"), (0, Piece::More)));
    assert!(matches!(step(&mut decoder, b"5\r\nhel"), (3, Piece::Data(3))));
    assert!(matches!(step(&mut decoder, b"lo\r"), (0, Piece::Data(2))));
    assert!(matches!(step(&mut decoder, b"\r"), (0, Piece::More)));
    assert!(matches!(step(&mut decoder, b"\r\n0\r\nX: a"), (5, Piece::More)));
    let (skip, piece) = step(&mut decoder, b"X: a\r\n\r\nGET");
    let Piece::Trailers(fields) = piece else { panic!("trailers") };
    assert_eq!((skip, fields.get("x")), (8, Some(&b"a"[..])));
    assert!(matches!(step(&mut decoder, b"GET"), (0, Piece::End)) && decoder.is_done());

    let mut decoder = Decoder::new(Framing::Length(3), Limits::default());
    assert!(matches!(step(&mut decoder, b""), (0, Piece::More)));
    assert!(matches!(step(&mut decoder, b"abcGET"), (0, Piece::Data(3))));
    assert!(decoder.is_done(), "known with the last byte");
    assert!(Decoder::new(Framing::None, Limits::default()).is_done());
    assert!(Decoder::new(Framing::Length(0), Limits::default()).is_done());
}

#[test]
fn a_connection_that_closes_ends_a_body_or_breaks_it() {
    let close = |framing, text: &str| {
        let (mut decoder, mut buffer) = (Decoder::new(framing, Limits::default()), BytesMut::from(&*wire(text)));
        while let Some(frame) = decoder.next(&mut buffer).unwrap() {
            if matches!(frame, Frame::End) {
                break;
            }
        }
        decoder.close()
    };
    let broken = Err(BodyError::Incomplete);
    assert_eq!(close(Framing::UntilClose, "any"), Ok(()));
    assert_eq!(close(Framing::Tunnel, ""), Ok(()));
    assert_eq!(close(Framing::None, ""), Ok(()));
    assert_eq!(close(Framing::Length(3), "abc"), Ok(()));
    assert_eq!(close(Framing::Length(3), "ab"), broken);
    assert_eq!(close(Framing::Chunked, "0||"), Ok(()));
    for text in ["", "2", "2|a", "2|ab", "2|ab|", "2|ab|0|", "2|ab|0|X: a|"] {
        assert_eq!(close(Framing::Chunked, text), broken, "{text}");
    }
}

#[test]
fn limits_hold_however_slowly_the_bytes_come() {
    let slowly = |text: &str| {
        let mut decoder = Decoder::new(Framing::Chunked, Limits::default());
        let mut buffer = BytesMut::new();
        for byte in wire(text) {
            buffer.extend_from_slice(&[byte]);
            while let Some(frame) = decoder.next(&mut buffer)? {
                if matches!(frame, Frame::End) {
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    assert_eq!(slowly(&format!("1;{}", "x".repeat(1100))), Err(BodyError::Extensions));
    assert_eq!(slowly(&format!("0|X: {}", "x".repeat(17_000))), Err(BodyError::TrailersTooLarge));
    assert_eq!(slowly(&format!("0|{}", "X: a|".repeat(4_000))), Err(BodyError::TrailersTooLarge));
    assert_eq!(slowly(&format!("0|X: {}||", "x".repeat(16_000))), Ok(()));
}

fn encoded(framing: Framing, pieces: &[&str], trailers: Option<&Fields>) -> Result<String, EncodeError> {
    let (mut encoder, mut out) = (Encoder::new(framing), BytesMut::new());
    for piece in pieces {
        encoder.write(piece.as_bytes(), &mut out)?;
    }
    encoder.end(trailers, &mut out)?;
    assert!(encoder.is_done());
    encoder.end(None, &mut out)?;
    Ok(String::from_utf8_lossy(&out).replace("\r\n", "|"))
}

#[test]
fn bodies_are_written() {
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(
        encoded(Framing::Chunked, &["hello", "", &"x".repeat(26)], None),
        ok(&format!("5|hello|1a|{}|0||", "x".repeat(26)))
    );
    assert_eq!(encoded(Framing::Chunked, &[], None), ok("0||"));
    assert_eq!(encoded(Framing::Length(6), &["abc", "", "def"], None), ok("abcdef"));
    assert_eq!(encoded(Framing::UntilClose, &["abc"], None), ok("abc"));
    assert_eq!(encoded(Framing::None, &[""], None), ok(""));
    let mut trailers = request("GET / HTTP/1.1|Host: a|Grpc-Status:0||").fields;
    assert_eq!(encoded(Framing::Chunked, &["a"], Some(&trailers)), Err(EncodeError::TrailerForbidden));
    trailers.remove(Known::Host);
    assert_eq!(encoded(Framing::Chunked, &["a"], Some(&trailers)), ok("1|a|0|Grpc-Status: 0||"));
    assert_eq!(encoded(Framing::Length(1), &["a"], Some(&trailers)), ok("a"));
}

#[test]
fn what_is_written_is_what_the_head_says() {
    assert_eq!(encoded(Framing::Length(3), &["ab", "cd"], None), Err(EncodeError::TooMuch));
    assert_eq!(encoded(Framing::Length(3), &["ab"], None), Err(EncodeError::TooLittle));
    assert_eq!(encoded(Framing::None, &["a"], None), Err(EncodeError::TooMuch));
    let (mut encoder, mut out) = (Encoder::new(Framing::Chunked), BytesMut::new());
    encoder.end(None, &mut out).unwrap();
    assert_eq!(encoder.write(b"a", &mut out), Err(EncodeError::TooMuch));
    assert_eq!(&out[..], b"0\r\n\r\n");
}

#[test]
fn what_is_written_is_read_again() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let pieces: Vec<Vec<u8>> = (0..rng.usize(0..5)).map(|_| vec![rng.u8(..); rng.usize(0..70_000)]).collect();
        let (mut encoder, mut out) = (Encoder::new(Framing::Chunked), BytesMut::new());
        for piece in &pieces {
            // Content that goes out by itself.
            encoder.begin(piece.len(), &mut out).unwrap();
            out.extend_from_slice(piece);
            encoder.close(piece.len(), &mut out);
        }
        encoder.end(None, &mut out).unwrap();
        out.extend_from_slice(b"GET");
        let (mut decoder, mut read) = (Decoder::new(Framing::Chunked, Limits::default()), Vec::new());
        loop {
            match decoder.next(&mut out).unwrap() {
                Some(Frame::Data(data)) => read.extend_from_slice(&data),
                Some(Frame::End) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((read, &out[..]), (pieces.concat(), &b"GET"[..]));
    }
    assert!(listed(&Fields::new()).is_empty());
}
