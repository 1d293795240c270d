//! Heads as lists: what is found in them, what is changed, what is written, and what an editor cannot do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::BytesMut;
use common::{listed, request, response, wire, written};
use weir_http1::{
    EditError, Expectation, Fields, Form, Framing, Known, KnownSet, Options, Reader, Request, Response, Upgrade,
    Version,
};

const BROWSER: &str = "GET http://API.example:80/a/b?c=d HTTP/1.1|host: API.example|User-Agent:Mozilla<09>|accept:  a, b |\
    X-Odd: 1|COOKIE: a=b|x-odd: 2|||";

#[test]
fn a_head_is_what_was_sent() {
    let head = request(BROWSER);
    assert_eq!((head.method(), head.version(), head.form()), (&b"GET"[..], Version::Http11, Form::Absolute));
    assert_eq!(head.target(), b"http://API.example:80/a/b?c=d");
    assert_eq!((head.path(), head.query()), (&b"/a/b"[..], Some(&b"c=d"[..])));
    assert_eq!(head.authority(), Some(&b"API.example:80"[..]));
    let names: Vec<_> = head.fields.iter().map(|field| (field.name, field.known)).collect();
    assert_eq!(
        names,
        [
            (&b"host"[..], Some(Known::Host)),
            (b"User-Agent", Some(Known::UserAgent)),
            (b"accept", Some(Known::Accept)),
            (b"X-Odd", None),
            (b"COOKIE", Some(Known::Cookie)),
            (b"x-odd", None),
        ]
    );
    assert_eq!(head.fields.get(Known::UserAgent), Some(&b"Mozilla"[..]));
    assert_eq!(head.fields.get("user-agent"), Some(&b"Mozilla"[..]));
    assert_eq!(head.fields.get_shared("X-ODD").as_deref(), Some(&b"1"[..]));
    assert_eq!(head.fields.get_all("x-odd").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(head.fields.members(Known::Accept).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!((head.fields.get(Known::Via), head.fields.get("x-none")), (None, None));
    assert!(head.fields.has(Known::Cookie) && !head.fields.has(Known::SetCookie));
}

#[test]
fn what_is_not_changed_is_written_as_it_was_but_for_blanks() {
    let wanted = "GET http://API.example:80/a/b?c=d HTTP/1.1|host: API.example|User-Agent: Mozilla|accept: a, b|X-Odd: 1|\
        COOKIE: a=b|x-odd: 2||";
    assert_eq!(written(|out| request(BROWSER).write(out)), wanted);
    assert_eq!(written(|out| request(wanted).write(out)), wanted);
    let answer = "HTTP/1.1 299 All is <c3><a9>|Empty:|B: |C: x||";
    assert_eq!(written(|out| response(answer).write(out)), "HTTP/1.1 299 All is é|Empty: |B: |C: x||");
    assert_eq!(written(|out| response("HTTP/1.0 204||").write(out)), "HTTP/1.1 204 ||");
    let blanks = "GET / HTTP/1.1|Host: a |B: c<09> |D:<09>e|F: ||";
    assert_eq!(written(|out| request(blanks).write(out)), "GET / HTTP/1.1|Host: a|B: c|D: e|F: ||");
}

#[test]
fn an_added_line_is_no_neighbour_of_one_that_came() {
    let mut head = request("GET / HTTP/1.1|Host: a||");
    // As many bytes as the head has in front of its empty line.
    head.fields.append("X", &[b'x'; 20]).unwrap();
    head.fields.remove("X");
    head.fields.append("Y", b"1").unwrap();
    assert_eq!(written(|out| head.write(out)), "GET / HTTP/1.1|Host: a|Y: 1||");
}

#[test]
fn a_list_is_edited() {
    let mut head = request("GET / HTTP/1.1|Host: a|A: 1|Via: 1.0 x|a: 2|B: 3||");
    let fields = &mut head.fields;
    fields.append("C", b" 4 ").unwrap();
    fields.set("A", b"5").unwrap();
    fields.set(Known::Via, b"1.1 y").unwrap();
    fields.set(Known::XRequestId, b"6").unwrap();
    fields.insert(1, "D", b"7").unwrap();
    fields.insert(99, "E", b"8").unwrap();
    assert!(fields.remove("b") && !fields.remove("b"));
    assert_eq!(
        written(|out| head.write(out)),
        "GET / HTTP/1.1|Host: a|D: 7|A: 5|via: 1.1 y|C: 4|x-request-id: 6|E: 8||"
    );
    let fields = &mut head.fields;
    assert!(fields.remove(Known::Via) && !fields.has(Known::Via) && fields.get(Known::Via).is_none());
    fields.remove_all(KnownSet::new(&[Known::XRequestId, Known::Te]));
    fields.retain(|field| field.name != b"E");
    fields.append(Known::Via, b"z").unwrap();
    head.set_target(b"/x?y#z").unwrap();
    assert_eq!(written(|out| head.write(out)), "GET /x?y HTTP/1.1|Host: a|D: 7|A: 5|C: 4|via: z||");
    assert_eq!((head.path(), head.query(), head.form()), (&b"/x"[..], Some(&b"y"[..]), Form::Origin));
    let again = request(&written(|out| head.write(out)));
    assert_eq!(listed(&again.fields), listed(&head.fields));
}

#[test]
fn an_editor_cannot_split_a_message() {
    let mut fields = Fields::new();
    for value in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "\r\n\r\nHTTP/1.1 200 OK", "a\x7f", "a\x1b[m", "a\n"] {
        assert_eq!(fields.append("X", value.as_bytes()), Err(EditError::Value), "{value:?}");
        assert_eq!(fields.set(Known::Location, value.as_bytes()), Err(EditError::Value), "{value:?}");
        assert_eq!(fields.insert(0, "X", value.as_bytes()), Err(EditError::Value), "{value:?}");
        assert_eq!(Response::new(200, value.as_bytes()).err(), Some(EditError::Value), "{value:?}");
        assert_eq!(Request::new(value.as_bytes(), b"/").err(), Some(EditError::Method), "{value:?}");
        assert_eq!(Request::new(b"GET", format!("/{value}").as_bytes()).err(), Some(EditError::Target), "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r\n", "a\0", "a\n b", ":path", "a\u{e9}", "(a)", "\"a\"", " a", "a "] {
        assert_eq!(fields.append(name, b"b"), Err(EditError::Name), "{name:?}");
        assert_eq!(fields.set(name, b"b"), Err(EditError::Name), "{name:?}");
    }
    assert!(fields.is_empty());
    for (method, target) in
        [("GET", ""), ("GET", "/a b"), ("GET", "*"), ("GET", "a"), ("CONNECT", "/"), ("OPTIONS", "*x")]
    {
        let made = Request::new(method.as_bytes(), target.as_bytes()).err();
        assert_eq!(made, Some(EditError::Target), "{method} {target:?}");
    }
    assert_eq!(Request::new(b"", b"/").err(), Some(EditError::Method));
    for status in [0, 99, 1000, 65535] {
        assert_eq!(Response::new(status, b"").err(), Some(EditError::Status));
    }
    let mut out = BytesMut::new();
    fields.append("X", b"\t tab\tand \xff ").unwrap();
    fields.write(&mut out);
    assert_eq!(&out[..], b"X: tab\tand \xff\r\n");
}

#[test]
fn a_message_is_made_without_one_that_came() {
    let mut response = Response::new(404, b"Not Found").unwrap();
    response.fields.append(Known::ContentType, b"text/plain").unwrap();
    response.fields.set_framing(Framing::Length(12)).unwrap();
    let wanted = "HTTP/1.1 404 Not Found|content-type: text/plain|content-length: 12||";
    assert_eq!(written(|out| response.write(out)), wanted);
    let mut request = Request::new(b"OPTIONS", b"*").unwrap();
    request.fields.append(Known::Host, b"a").unwrap();
    assert_eq!(written(|out| request.write(out)), "OPTIONS * HTTP/1.1|host: a||");
    request.begin(b"GET", b"/").unwrap();
    assert_eq!(written(|out| request.write(out)), "GET / HTTP/1.1||");
}

#[test]
fn framing_is_said_once() {
    let of = |lines: &str, framing| {
        let mut head = response(&format!("HTTP/1.1 200 OK|{lines}A: b||"));
        head.fields.set_framing(framing).unwrap();
        written(|out| head.fields.write(out))
    };
    assert_eq!(of("Content-Length: 5|", Framing::Length(5)), "Content-Length: 5|A: b|");
    assert_eq!(of("Content-Length: 005|", Framing::Length(5)), "content-length: 5|A: b|");
    assert_eq!(of("Content-Length: 5, 5|", Framing::Length(5)), "content-length: 5|A: b|");
    assert_eq!(of("Content-Length: 5|content-length: 5|", Framing::Length(5)), "content-length: 5|A: b|");
    assert_eq!(of("Content-Length: 5|", Framing::Length(u64::MAX)), "content-length: 18446744073709551615|A: b|");
    assert_eq!(of("", Framing::Length(0)), "A: b|content-length: 0|");
    assert_eq!(of("Content-Length: 5|", Framing::Chunked), "A: b|transfer-encoding: chunked|");
    assert_eq!(of("Transfer-Encoding: chunked|", Framing::Chunked), "Transfer-Encoding: chunked|A: b|");
    assert_eq!(of("Transfer-Encoding: CHUNKED|", Framing::Chunked), "transfer-encoding: chunked|A: b|");
    assert_eq!(of("Transfer-Encoding: chunked|", Framing::Length(5)), "A: b|content-length: 5|");
    assert_eq!(of("Content-Length: 5|", Framing::None), "A: b|");
    assert_eq!(of("Transfer-Encoding: chunked|", Framing::UntilClose), "A: b|");
}

#[test]
fn hop_by_hop_fields_and_those_that_connection_names_end_here() {
    let of = |lines: &str| {
        let mut head = request(&format!("GET / HTTP/1.1|Host: a|{lines}|"));
        head.fields.end_hop().unwrap();
        written(|out| head.fields.write(out))
    };
    let all = "Connection: close, X-Private, ,x y|X-Private: 1|x-private: 2|Keep-Alive: timeout=5|Proxy-Connection: keep-alive|\
        Transfer-Encoding: chunked|Upgrade: h2c|HTTP2-Settings: AA|TE: gzip|X-Public: 1|";
    assert_eq!(of(all), "Host: a|X-Public: 1|");
    assert_eq!(of("Connection: keep-alive|A: 1|"), "Host: a|A: 1|");
    let frames = "Connection: content-length, host, via, trailer|Content-Length: 3|Via: 1.1 a|Trailer: x|";
    assert_eq!(of(frames), "Host: a|Content-Length: 3|Via: 1.1 a|Trailer: x|");
    let many = format!("Connection: {}X-Last|X-Last: 1|A: 2|", "A,".repeat(63));
    assert_eq!(of(&many), "Host: a|");
    let more = format!("Connection: {}X-Last|X-Last: 1|A: 2|", "A,".repeat(64));
    assert_eq!(of(&more), "Host: a|X-Last: 1|", "what is named beyond a bound stays");
    let mut head = request("GET / HTTP/1.1|Host: a|Connection: cookie|Cookie: b||");
    head.fields.end_hop().unwrap();
    assert!(!head.fields.has(Known::Cookie) && head.fields.has(Known::Host));
    let trailers = "TE: gzip, Trailers|Connection: te|Trailer: x-sum|";
    assert_eq!(of(trailers), "Host: a|Trailer: x-sum|te: trailers|connection: te|");
    assert_eq!(of("TE: trailers|"), "Host: a|te: trailers|connection: te|");
}

#[test]
fn whether_a_connection_persists() {
    for (version, lines, wanted) in [
        ("1.1", "", true),
        ("1.1", "Connection: close|", false),
        ("1.1", "Connection: x, Close|", false),
        ("1.1", "Connection: keep-alive|Connection: close|", false),
        ("1.1", "Connection: keep-alive|", true),
        ("1.1", "Connection: upgrade|", true),
        ("1.1", "Connection: closed|", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive|", true),
        ("1.0", "Connection: keep-alive, close|", false),
        ("1.0", "Connection: upgrade|", false),
        ("1.0", "Keep-Alive: timeout=5|", false),
    ] {
        let asked = request(&format!("GET / HTTP/{version}|Host: a|{lines}|"));
        assert_eq!(asked.persists(), wanted, "{version} {lines}");
        assert_eq!(response(&format!("HTTP/{version} 200 OK|{lines}|")).persists(), wanted, "{version} {lines}");
    }
    let options = request("GET / HTTP/1.1|Host: a|Connection: Upgrade,KEEP-alive||").fields.options();
    assert_eq!(options, Options { close: false, keep_alive: true, upgrade: true });
}

#[test]
fn expectations_and_upgrades() {
    let of = |version: &str, lines: &str| request(&format!("GET / HTTP/{version}|Host: a|{lines}|"));
    for (version, lines, wanted) in [
        ("1.1", "", Expectation::None),
        ("1.1", "Expect: 100-continue|", Expectation::Continue),
        ("1.1", "expect: 100-Continue|", Expectation::Continue),
        ("1.1", "Expect:|", Expectation::None),
        ("1.1", "Expect: x, 100-continue|", Expectation::Unknown),
        ("1.1", "Expect: 100-continue, x|", Expectation::Unknown),
        ("1.1", "Expect: 100-continue|Expect: x=y|", Expectation::Unknown),
        ("1.0", "Expect: 100-continue|", Expectation::None),
    ] {
        assert_eq!(of(version, lines).expectation(), wanted, "{version} {lines}");
    }
    for (version, lines, wanted) in [
        ("1.1", "", Upgrade::None),
        ("1.1", "Upgrade: websocket|", Upgrade::None),
        ("1.1", "Upgrade: websocket|Connection: keep-alive|", Upgrade::None),
        ("1.1", "Upgrade: WebSocket|Connection: keep-alive, Upgrade|", Upgrade::WebSocket),
        ("1.1", "Upgrade: h2c|Connection: Upgrade, HTTP2-Settings|", Upgrade::H2c),
        ("1.1", "Upgrade: h2c, websocket|Connection: Upgrade|", Upgrade::Other),
        ("1.1", "Upgrade: TLS/1.0|Connection: Upgrade|", Upgrade::Other),
        ("1.1", "Upgrade:|Connection: Upgrade|", Upgrade::None),
        ("1.0", "Upgrade: websocket|Connection: Upgrade|", Upgrade::None),
    ] {
        assert_eq!(of(version, lines).upgrade(), wanted, "{version} {lines}");
    }
}

#[test]
fn one_head_is_used_for_all_messages_of_a_connection() {
    let mut buffer = BytesMut::from(&*wire("GET /1 HTTP/1.1|Host: a|Via: x||GET /2 HTTP/1.1|Host: b||GET"));
    let (mut reader, mut head) = (Reader::default(), Request::default());
    assert_eq!(reader.request(&mut buffer, &mut head), Ok(Some(Framing::None)));
    head.fields.append("added", b"1").unwrap();
    let kept = head.fields.get_shared(Known::Host);
    assert_eq!(reader.request(&mut buffer, &mut head), Ok(Some(Framing::None)));
    assert_eq!(listed(&head.fields), [("Host".to_owned(), "b".to_owned())]);
    assert!(!head.fields.has(Known::Via));
    assert_eq!(kept.as_deref(), Some(&b"a"[..]), "a shared value outlives its head");
    assert_eq!(reader.request(&mut buffer, &mut head), Ok(None));
    assert_eq!((head.method(), head.target(), head.fields.len()), (&b""[..], &b""[..], 0));
    assert!(Reader::has_begun(&buffer));
    for between in ["", "<0d>", "|", "|<0d>", "||"] {
        assert!(!Reader::has_begun(&wire(between)), "{between}");
    }
}

#[test]
fn a_refused_host_leaves_the_request_legible() {
    let mut buffer = BytesMut::from(&*wire("GET /a HTTP/1.1|Host: a|Host: b|User-Agent: c||"));
    let mut head = Request::default();
    assert!(Reader::default().request(&mut buffer, &mut head).is_err());
    assert_eq!((head.target(), head.fields.get(Known::UserAgent)), (&b"/a"[..], Some(&b"c"[..])));
    let mut buffer = BytesMut::from(&*wire("GET /a HTTP/1.1|Host: a|X y: b||"));
    assert!(Reader::default().request(&mut buffer, &mut head).is_err());
    assert_eq!((head.target(), head.fields.len()), (&b""[..], 0));
    assert_eq!(weir_http1::legible(&buffer).host, Some(&b"a"[..]));
}
