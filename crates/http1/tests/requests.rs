//! Requests that two readers could read in two ways, and others that no honest client sends: one row a shape. Those of the
//! gateway's table (`crates/proxy/tests/hostile.rs`) that concern reading a request are all here, with the same verdict.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Fault, Message, requests, requests_within};
use weir_http1::{BodyError, Framing, HeadError, Limits};

/// What is wrong, or how many bytes of content the first request has.
type Wanted = Result<usize, Fault>;

fn head(error: HeadError) -> Wanted {
    Err(Fault::Head(error))
}

fn body(error: BodyError) -> Wanted {
    Err(Fault::Body(error))
}

fn got((messages, fault): &(Vec<Message>, Option<Fault>)) -> Wanted {
    match fault {
        Some(fault) => Err(fault.clone()),
        None => Ok(messages.first().map_or(0, |message| message.body.len())),
    }
}

fn check(rows: &[(&str, String, Wanted)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(shape, text, wanted)| (shape, got(&requests(text)), wanted))
        .filter(|(_, got, wanted)| got != *wanted)
        .map(|(shape, got, wanted)| format!("{shape}: {got:?}, not {wanted:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A POST with these lines of framing, and this body.
fn framed(shape: &'static str, lines: &str, content: &str, wanted: Wanted) -> (&'static str, String, Wanted) {
    (shape, format!("POST / HTTP/1.1|Host: a|{lines}|Connection: close||{content}"), wanted)
}

/// A GET whose head has one more line.
fn with(shape: &'static str, line: &str, wanted: Wanted) -> (&'static str, String, Wanted) {
    (shape, format!("GET / HTTP/1.1|Host: a|{line}|Connection: close||"), wanted)
}

fn whole(shape: &'static str, text: &str, wanted: Wanted) -> (&'static str, String, Wanted) {
    (shape, text.to_owned(), wanted)
}

#[test]
fn where_the_body_ends_is_beyond_doubt() {
    let chunked = "5|hello|0||";
    let te = |value: &str| format!("Transfer-Encoding: {value}");
    let length = |value: &str| format!("Content-Length: {value}");
    let both = head(HeadError::LengthAndCoding);
    check(&[
        framed("CL.TE", "Content-Length: 6|Transfer-Encoding: chunked", "0||G", both.clone()),
        framed("TE.CL", "Transfer-Encoding: chunked|Content-Length: 3", chunked, both),
        framed(
            "TE.TE, one unknown",
            "Transfer-Encoding: chunked|Transfer-Encoding: x",
            chunked,
            head(HeadError::Coding),
        ),
        framed(
            "TE.TE, chunked last",
            "Transfer-Encoding: x|Transfer-Encoding: chunked",
            chunked,
            head(HeadError::Coding),
        ),
        framed(
            "TE.TE, both",
            "Transfer-Encoding: chunked|Transfer-Encoding: chunked",
            chunked,
            head(HeadError::Coding),
        ),
        framed("TE, a list", &te("gzip, chunked"), chunked, head(HeadError::CodingNotImplemented)),
        framed("TE, a list of three", &te("gzip,deflate , Chunked"), chunked, head(HeadError::CodingNotImplemented)),
        framed("TE, chunked is not the last", &te("chunked, gzip"), chunked, head(HeadError::Coding)),
        framed("TE, chunked twice", &te("chunked, chunked"), chunked, head(HeadError::Coding)),
        framed("TE, chunked thrice", &te("chunked, gzip, chunked"), chunked, head(HeadError::Coding)),
        framed("TE, an empty member", &te(", chunked"), chunked, head(HeadError::Coding)),
        framed("TE, an empty member behind", &te("chunked,"), chunked, head(HeadError::Coding)),
        framed("TE, a parameter", &te("chunked;q=1"), chunked, head(HeadError::Coding)),
        framed("TE, unknown", &te("xchunked"), chunked, head(HeadError::Coding)),
        framed("TE, in quotes", &te("\"chunked\""), chunked, head(HeadError::Coding)),
        framed("TE, identity", &te("identity"), "", head(HeadError::Coding)),
        framed("TE, empty", &te(""), "", head(HeadError::Coding)),
        framed("TE, capitals and blanks", "transfer-encoding:  <09> ChUnKeD <09>", chunked, Ok(5)),
        framed("TE, vertical tab", &te("<0b>chunked"), chunked, head(HeadError::FieldValue)),
        framed("TE, beyond ASCII", &te("<c3>chunked"), chunked, head(HeadError::Coding)),
        framed("TE, a name with a blank", "Transfer-Encoding : chunked", chunked, head(HeadError::FieldName)),
        framed("TE, folded", "Transfer-Encoding:| chunked", chunked, head(HeadError::FieldName)),
        framed("TE with sixty blanks", &te(&format!("{}chunked", " ".repeat(60))), chunked, head(HeadError::Padded)),
        whole(
            "TE in HTTP/1.0",
            &format!("POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||{chunked}"),
            head(HeadError::CodingInHttp10),
        ),
        whole(
            "TE and CL in HTTP/1.0",
            &format!("POST / HTTP/1.0|Host: a|Content-Length: 3|Transfer-Encoding: chunked||{chunked}"),
            head(HeadError::CodingInHttp10),
        ),
        framed("CL, twice the same", "Content-Length: 5|Content-Length: 5", "hello", head(HeadError::Length)),
        framed("CL, twice, not the same", "Content-Length: 5|Content-Length: 6", "hello", head(HeadError::Length)),
        framed("CL, a list", &length("5, 5"), "hello", head(HeadError::Length)),
        framed("CL, a comma", &length("5,"), "hello", head(HeadError::Length)),
        framed("CL, a plus", &length("+5"), "hello", head(HeadError::Length)),
        framed("CL, a minus", &length("-5"), "hello", head(HeadError::Length)),
        framed("CL, hexadecimal", &length("0x5"), "hello", head(HeadError::Length)),
        framed("CL, a fraction", &length("5.0"), "hello", head(HeadError::Length)),
        framed("CL, a blank within", &length("5 5"), "hello", head(HeadError::Length)),
        framed("CL, no number", &length("five"), "hello", head(HeadError::Length)),
        framed("CL, digits beyond ASCII", &length("<d9><a5>"), "hello", head(HeadError::Length)),
        framed("CL, empty", "Content-Length:", "", head(HeadError::Length)),
        framed("CL, 64 bits and one", &length("18446744073709551616"), "hello", head(HeadError::Length)),
        framed("CL, larger than 64 bits", &length("18446744073709551621"), "hello", head(HeadError::Length)),
        framed("CL, 64 bits", &length("18446744073709551615"), "hello", Err(Fault::Incomplete)),
        framed("CL, leading zeros", &length("005"), "hello", Ok(5)),
        framed("CL, a name with a blank", "Content-Length : 5", "hello", head(HeadError::FieldName)),
        framed("CL, folded", "Content-Length:| 5", "hello", head(HeadError::FieldName)),
        framed(
            "CL with sixty blanks",
            &format!("Content-Length:{}5", " ".repeat(60)),
            "hello",
            head(HeadError::Padded),
        ),
        framed("CL with sixty zeros", &length(&format!("{}5", "0".repeat(60))), "hello", head(HeadError::Padded)),
        framed("CL with thirty zeros", &length(&format!("{}5", "0".repeat(30))), "hello", head(HeadError::Length)),
        framed("CL with an underscore", "content_length: 5", "", Ok(0)),
        whole("a body of GET", "GET / HTTP/1.1|Host: a|Content-Length: 5||hello", Ok(5)),
        whole(
            "content of CONNECT",
            "CONNECT a:80 HTTP/1.1|Host: a|Content-Length: 5||hello",
            head(HeadError::ConnectContent),
        ),
        whole(
            "chunks of CONNECT",
            "CONNECT a:80 HTTP/1.1|Host: a|Transfer-Encoding: chunked||0||",
            head(HeadError::ConnectContent),
        ),
        whole("CONNECT that says that it has none", "CONNECT a:80 HTTP/1.1|Host: a|Content-Length: 0||", Ok(0)),
    ]);
}

#[test]
fn chunks_are_read_to_the_letter() {
    let chunked = |shape, content: &str, wanted| framed(shape, "Transfer-Encoding: chunked", content, wanted);
    check(&[
        chunked("extensions", "5;a=\"b\";c|hello|0;d||", Ok(5)),
        chunked("extensions with blanks", "5 ; a = b|hello|0||", Ok(5)),
        chunked("extension with a line feed", "5;a<0a>hello|0||", body(BodyError::ChunkLine)),
        chunked("extension with a NUL", "5;a<00>|hello|0||", body(BodyError::ChunkLine)),
        chunked("extension without a name", "5;|hello|0||", body(BodyError::ChunkLine)),
        chunked("extension that is none", "5;[|hello|0||", body(BodyError::ChunkLine)),
        chunked("extension in open quotes", "5;a=\"b|hello|0||", body(BodyError::ChunkLine)),
        chunked("extension without a value", "5;a=|hello|0||", body(BodyError::ChunkLine)),
        chunked(
            "extensions without a bound",
            &format!("5;{}|hello|0||", "x".repeat(2000)),
            body(BodyError::Extensions),
        ),
        chunked(
            "extensions of many chunks",
            &format!("{}0||", format!("1;{}|a|", "x".repeat(900)).repeat(20)),
            body(BodyError::Extensions),
        ),
        chunked("size and a blank", "5 |hello|0||", body(BodyError::ChunkLine)),
        chunked("size behind a blank", " 5|hello|0||", body(BodyError::ChunkSize)),
        chunked("size, no number", "zz|hello|0||", body(BodyError::ChunkSize)),
        chunked("size, empty", "|hello|0||", body(BodyError::ChunkSize)),
        chunked("size, a sign", "+5|hello|0||", body(BodyError::ChunkSize)),
        chunked("size, a minus", "-5|hello|0||", body(BodyError::ChunkSize)),
        chunked("size, 0x", "0x5|hello|0||", body(BodyError::ChunkSize)),
        chunked("size with a NUL", "5<00>|hello|0||", body(BodyError::ChunkSize)),
        chunked("size, more than 64 bits", "fffffffffffffffff|a|0||", body(BodyError::ChunkSize)),
        chunked("size, 64 bits", "ffffffffffffffff|a|0||", Err(Fault::Incomplete)),
        chunked("size with seventy zeros", &format!("{}5|hello|0||", "0".repeat(70)), body(BodyError::ChunkSize)),
        chunked("longer than its size", "3|hello|0||", body(BodyError::ChunkEnd)),
        chunked("shorter than its size", "7|hello|0||", body(BodyError::ChunkEnd)),
        chunked("line ends with LF alone", "5<0a>hello|0||", body(BodyError::ChunkLine)),
        chunked("line ends with CR alone", "5<0d>hello|0||", body(BodyError::ChunkLine)),
        chunked("data ends with LF alone", "5|hello<0a>0||", body(BodyError::ChunkEnd)),
        chunked("last chunk with many zeros", "000||", Ok(0)),
        chunked("no last chunk", "5|hello|", Err(Fault::Incomplete)),
        chunked("no end behind the last chunk", "5|hello|0|", Err(Fault::Incomplete)),
        chunked("nothing", "", Err(Fault::Incomplete)),
    ]);
}

#[test]
fn trailers_are_read_as_fields_are() {
    let of =
        |shape, lines: &str, wanted| framed(shape, "Transfer-Encoding: chunked", &format!("5|hello|0|{lines}"), wanted);
    let wrong = |error| body(BodyError::Trailer(error));
    let forbidden = || body(BodyError::TrailerForbidden);
    check(&[
        of("a trailer", "X-Sum: 1||", Ok(5)),
        of("an empty trailer", "X-Sum:||", Ok(5)),
        of("trailers that were not announced, beyond ASCII", "X-Sum: <c3><a9>|grpc-status: 0||", Ok(5)),
        of("LF alone", "X: a<0a><0a>GET /smuggled HTTP/1.1|Host: a||", wrong(HeadError::LineEnd)),
        of("LF alone in the first line", "X: a<0a>Y: b||", wrong(HeadError::LineEnd)),
        of("LF alone in the last line", "X: a|<0a>", wrong(HeadError::LineEnd)),
        of("LF alone in place of trailers", "<0a>", wrong(HeadError::LineEnd)),
        of("CR alone", "X: a<0d>Y: b||", wrong(HeadError::FieldValue)),
        of("CR alone in place of trailers", "<0d>X: a||", wrong(HeadError::LineEnd)),
        of("obs-fold", "X: a| b||", wrong(HeadError::FieldName)),
        of("obs-fold first", " X: a||", wrong(HeadError::FieldName)),
        of("a name with a blank", "X : a||", wrong(HeadError::FieldName)),
        of("no name", ": a||", wrong(HeadError::FieldName)),
        of("no colon", "nonsense||", wrong(HeadError::FieldName)),
        of("NUL in a value", "X: a<00>||", wrong(HeadError::FieldValue)),
        of("NUL in a name", "X<00>: a||", wrong(HeadError::FieldName)),
        of("control character", "X: <7f>||", wrong(HeadError::FieldValue)),
        of("a request in their place", "GET / HTTP/1.1|Host: a||", wrong(HeadError::FieldName)),
        of("pseudo field", ":path: /||", wrong(HeadError::FieldName)),
        of("Content-Length", "Content-Length: 5||", forbidden()),
        of("Transfer-Encoding", "TRANSFER-ENCODING: chunked||", forbidden()),
        of("Host", "host: b||", forbidden()),
        of("Connection", "X: a|connection: close||", forbidden()),
        of("Upgrade", "upgrade: h2c||", forbidden()),
        of("too many", &format!("{}|", "X: a|".repeat(101)), wrong(HeadError::TooManyFields)),
        of("too large", &format!("X: {}||", "a".repeat(17 * 1024)), body(BodyError::TrailersTooLarge)),
        of("without an end", "X: a|", Err(Fault::Incomplete)),
    ]);
}

#[test]
fn lines_are_what_they_say() {
    check(&[
        whole("LF alone ends the lines", "GET / HTTP/1.1<0a>Host: a<0a><0a>", head(HeadError::LineEnd)),
        whole("LF alone ends the first line", "GET / HTTP/1.1<0a>Host: a||", head(HeadError::LineEnd)),
        whole("LF alone ends one line", "GET / HTTP/1.1|Host: a<0a>Connection: close||", head(HeadError::LineEnd)),
        whole("LF alone ends the head", "GET / HTTP/1.1|Host: a|<0a>", head(HeadError::LineEnd)),
        whole("LF alone ends the last line", "GET / HTTP/1.1|Host: a<0a>|", head(HeadError::LineEnd)),
        whole("LF alone before the request", "<0a>GET / HTTP/1.1|Host: a||", head(HeadError::LineEnd)),
        whole("CR alone ends a line", "GET / HTTP/1.1|Host: a<0d>X: b||", head(HeadError::FieldValue)),
        whole("CR alone ends the first line", "GET / HTTP/1.1<0d>Host: a||", head(HeadError::LineEnd)),
        whole("CR alone before the request", "<0d>GET / HTTP/1.1|Host: a||", head(HeadError::LineEnd)),
        whole("CR CR LF", "GET / HTTP/1.1|Host: a<0d>||", head(HeadError::FieldValue)),
        with("obs-fold", "X-Folded: a| b", head(HeadError::FieldName)),
        with("obs-fold with a tab", "X-Folded: a|<09>b", head(HeadError::FieldName)),
        whole("a blank line before the request", "|GET / HTTP/1.1|Host: a||", Ok(0)),
        whole("blank lines before the request", "||GET / HTTP/1.1|Host: a||", Ok(0)),
        whole("nine blank lines", &format!("{}GET / HTTP/1.1|Host: a||", "|".repeat(9)), head(HeadError::Line)),
        whole("a blank before the first field", "GET / HTTP/1.1| Host: a||", head(HeadError::FieldName)),
        with("NUL in a value", "X: a<00>b", head(HeadError::FieldValue)),
        with("NUL in a name", "X<00>: a", head(HeadError::FieldName)),
        with("a control character in a value", "X: a<01>b", head(HeadError::FieldValue)),
        with("DEL in a value", "X: a<7f>", head(HeadError::FieldValue)),
        with("a tab in a value", "X: a<09>b", Ok(0)),
        with("a name with a blank", "X Y: a", head(HeadError::FieldName)),
        with("a name with a blank behind it", "X : a", head(HeadError::FieldName)),
        with("a name with a bracket", "X[0]: a", head(HeadError::FieldName)),
        with("no name", ": a", head(HeadError::FieldName)),
        with("no colon", "nonsense", head(HeadError::FieldName)),
        with("bytes beyond ASCII in a value", "X: <c3><a9><ff>", Ok(0)),
        with("bytes beyond ASCII in a name", "<c3><a9>: a", head(HeadError::FieldName)),
        with("an underscore in a name", "content_length: 5", Ok(0)),
        with("an empty value", "X:", Ok(0)),
    ]);
}

#[test]
fn a_request_has_one_host() {
    check(&[
        whole("no Host", "GET / HTTP/1.1||", head(HeadError::HostMissing)),
        whole("no Host beside an absolute target", "GET http://a/ HTTP/1.1||", head(HeadError::HostMissing)),
        whole("no Host in HTTP/1.0", "GET / HTTP/1.0||", Ok(0)),
        with("two Hosts", "Host: b", head(HeadError::HostRepeated)),
        with("twice the same Host", "host: a", head(HeadError::HostRepeated)),
        whole("two Hosts in HTTP/1.0", "GET / HTTP/1.0|Host: a|Host: b||", head(HeadError::HostRepeated)),
        whole("user information", "GET / HTTP/1.1|Host: u:p@a||", head(HeadError::Host)),
        whole("a blank", "GET / HTTP/1.1|Host: a b||", head(HeadError::Host)),
        whole("a path", "GET / HTTP/1.1|Host: a/b||", head(HeadError::Host)),
        whole("a list", "GET / HTTP/1.1|Host: a, b||", head(HeadError::Host)),
        whole("empty", "GET / HTTP/1.1|Host:||", head(HeadError::Host)),
        whole("a port that is no number", "GET / HTTP/1.1|Host: a:x||", head(HeadError::Host)),
        whole(
            "an invalid Host beside a target that is valid",
            "GET http://a/ HTTP/1.1|Host: @||",
            head(HeadError::Host),
        ),
        whole("an address of IPv6", "GET / HTTP/1.1|Host: [::1]:8080||", Ok(0)),
    ]);
}

#[test]
fn request_lines_and_their_targets() {
    let of = |shape, line: &str, wanted| whole(shape, &format!("{line}|Host: a||"), wanted);
    check(&[
        of("absolute form, another Host", "GET http://b/x HTTP/1.1", Ok(0)),
        of("absolute form without a path", "GET http://a HTTP/1.1", Ok(0)),
        of("absolute form with user information", "GET http://u:p@a/ HTTP/1.1", head(HeadError::Host)),
        of("absolute form of another scheme", "GET ftp://a/ HTTP/1.1", head(HeadError::Target)),
        of("authority form", "GET a:80 HTTP/1.1", head(HeadError::Target)),
        of("CONNECT", "CONNECT a:80 HTTP/1.1", Ok(0)),
        of("CONNECT without a port", "CONNECT a HTTP/1.1", head(HeadError::Target)),
        of("CONNECT with a path", "CONNECT / HTTP/1.1", head(HeadError::Target)),
        of("OPTIONS *", "OPTIONS * HTTP/1.1", Ok(0)),
        of("GET *", "GET * HTTP/1.1", head(HeadError::Target)),
        of("TRACE", "TRACE / HTTP/1.1", Ok(0)),
        whole("HTTP/0.9", "GET /|", head(HeadError::Http09)),
        of("HTTP/1.2", "GET / HTTP/1.2", Ok(0)),
        of("HTTP/1.12", "GET / HTTP/1.12", head(HeadError::Line)),
        of("HTTP/3.0", "GET / HTTP/3.0", head(HeadError::Version)),
        whole("HTTP/2", "PRI * HTTP/2.0||SM||", head(HeadError::Http2Preface)),
        of("two blanks", "GET  /  HTTP/1.1", head(HeadError::Line)),
        of("a tab", "GET<09>/ HTTP/1.1", head(HeadError::Line)),
        of("a method in small letters", "get / HTTP/1.1", Ok(0)),
        of("a method with a colon", "GE:T / HTTP/1.1", head(HeadError::Line)),
        whole("no HTTP at all", "<16><03><01><00><05>hello||", head(HeadError::Line)),
        of("a fragment", "GET /a#b HTTP/1.1", Ok(0)),
        of("bytes beyond ASCII", "GET /<c3><a9>?<e9> HTTP/1.1", Ok(0)),
        of("quotes and brackets", "GET /?a={\"b\"}<3c>c<3e>\\ HTTP/1.1", Ok(0)),
        of("a NUL", "GET /<00> HTTP/1.1", head(HeadError::Target)),
        whole(
            "Upgrade to h2c",
            "GET / HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AA||",
            Ok(0),
        ),
    ]);
}

#[test]
fn what_is_too_large_is_refused_with_its_own_status() {
    let limits = Limits { line: 100, head: 400, fields: 5, ..Limits::default() };
    let of = |text: &str| match requests_within(text, limits).1 {
        Some(Fault::Head(error)) => Err((error, error.status())),
        other => Ok(other),
    };
    let line = |len: usize| format!("GET /{} HTTP/1.1|Host: a||", "x".repeat(len - 14));
    assert_eq!(of(&line(100)), Ok(None));
    assert_eq!(of(&line(101)), Err((HeadError::LineTooLong, 414)));
    assert_eq!(of(&"x".repeat(103)), Err((HeadError::LineTooLong, 414)));
    let large = |len: usize| format!("GET / HTTP/1.1|Host: a|X: {}||", "x".repeat(len - 32));
    assert_eq!(of(&large(400)), Ok(None));
    assert_eq!(of(&large(401)), Err((HeadError::TooLarge, 431)));
    let many = |count: usize| format!("GET / HTTP/1.1|Host: a|{}|", "X: y|".repeat(count - 1));
    assert_eq!(of(&many(5)), Ok(None));
    assert_eq!(of(&many(6)), Err((HeadError::TooManyFields, 431)));
    let many = |count: usize| format!("GET / HTTP/1.1|Host: a|{}|", "X: y|".repeat(count - 1));
    assert_eq!(got(&requests(&many(100))), Ok(0));
    assert_eq!(got(&requests(&many(101))), head(HeadError::TooManyFields));
    assert_eq!(
        got(&requests(&format!("GET /{} HTTP/1.1|Host: a||", "x".repeat(70 * 1024)))),
        head(HeadError::LineTooLong)
    );
    assert_eq!(
        got(&requests(&format!("GET / HTTP/1.1|Host: a|X: {}||", "x".repeat(61 * 1024)))),
        head(HeadError::TooLarge)
    );
    assert_eq!(HeadError::Version.status(), 505);
    assert_eq!(HeadError::CodingNotImplemented.status(), 501);
    assert_eq!(HeadError::Http09.status(), 400);
}

#[test]
fn requests_follow_each_other() {
    let (messages, fault) = requests(
        "||POST /1 HTTP/1.1|Host: a|Content-Length: 22||content-length: 99||\
         POST /2 HTTP/1.1|host: a|transfer-Encoding:<09>CHUNKED ||1a;x=\"y\"|Content-Length: 7||abcde|0|X-Sum: 5||\
         GET /3 HTTP/1.1|host: a||PUT /4 HTTP/1.1|host: a|content-length: 0||GET /5#f HTTP/1.0||",
    );
    assert_eq!(fault, None);
    let lines: Vec<_> = messages.iter().map(|message| (&*message.line, message.framing, message.body.len())).collect();
    assert_eq!(
        lines,
        [
            ("POST /1", Framing::Length(22), 22),
            ("POST /2", Framing::Chunked, 26),
            ("GET /3", Framing::None, 0),
            ("PUT /4", Framing::Length(0), 0),
            ("GET /5", Framing::None, 0),
        ]
    );
    assert_eq!(messages[0].body, b"content-length: 99\r\n\r\n");
    assert_eq!(messages[1].trailers, [("X-Sum".to_owned(), "5".to_owned())]);
}

#[test]
fn what_hides_behind_a_request_is_not_a_request() {
    let smuggled = "0||GET /smuggled HTTP/1.1|Host: a||";
    let (messages, fault) =
        requests(&format!("POST / HTTP/1.1|Host: a|Content-Length: 38|Transfer-Encoding: chunked||{smuggled}"));
    assert_eq!((messages.len(), fault), (0, Some(Fault::Head(HeadError::LengthAndCoding))));
    let (messages, fault) = requests(
        "POST /1 HTTP/1.1|Host: a|Content-Length: 5||helloPOST /2 HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 3||5|hello|0||",
    );
    assert_eq!((messages.len(), fault), (1, Some(Fault::Head(HeadError::LengthAndCoding))));
}
