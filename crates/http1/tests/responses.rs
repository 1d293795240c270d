//! What a server may send, and what a gateway makes of it: where a response ends, and which ones are refused (the gateway
//! answers 502 then).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Fault, Message, response, responses_to, written};
use weir_http1::{Asked, BodyError, Framing, HeadError, Known};

/// What is wrong, or the framing and how many bytes of content the first response has.
type Wanted = Result<(Framing, usize), Fault>;

fn got((messages, fault): (Vec<Message>, Option<Fault>)) -> Wanted {
    match (fault, messages.first()) {
        (Some(fault), _) => Err(fault),
        (None, Some(message)) => Ok((message.framing, message.body.len())),
        (None, None) => Err(Fault::Incomplete),
    }
}

fn check(rows: &[(&str, Asked, &str, Wanted)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(shape, asked, text, wanted)| (shape, got(responses_to(*asked, text)), wanted))
        .filter(|(_, got, wanted)| got != *wanted)
        .map(|(shape, got, wanted)| format!("{shape}: {got:?}, not {wanted:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn where_a_response_ends() {
    let (get, none, tunnel) = (Asked::Other, Ok((Framing::None, 0)), Framing::Tunnel);
    check(&[
        ("a length", get, "HTTP/1.1 200 OK|Content-Length: 2||ok", Ok((Framing::Length(2), 2))),
        ("no content", get, "HTTP/1.1 200 OK|Content-Length: 0||", Ok((Framing::Length(0), 0))),
        ("chunks", get, "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|0||", Ok((Framing::Chunked, 2))),
        ("nothing said", get, "HTTP/1.1 200 OK||ok||", Ok((Framing::UntilClose, 6))),
        ("nothing said in HTTP/1.0", get, "HTTP/1.0 200 OK||ok", Ok((Framing::UntilClose, 2))),
        ("HEAD with a length", Asked::Head, "HTTP/1.1 200 OK|Content-Length: 5||", none.clone()),
        ("HEAD with chunks", Asked::Head, "HTTP/1.1 200 OK|Transfer-Encoding: chunked||", none.clone()),
        ("HEAD", Asked::Head, "HTTP/1.1 200 OK||", none.clone()),
        ("204", get, "HTTP/1.1 204 No Content||", none.clone()),
        ("204 with a length", get, "HTTP/1.1 204 No Content|Content-Length: 5||", none.clone()),
        ("100 with a length", get, "HTTP/1.1 100 Continue|Content-Length: 5||", none.clone()),
        ("103 with a coding", get, "HTTP/1.1 103 Early Hints|Transfer-Encoding: x||", none.clone()),
        ("304 with a length", get, "HTTP/1.1 304 Not Modified|Content-Length: 5||", none),
        ("101", get, "HTTP/1.1 101 Switching Protocols|Upgrade: x||any", Ok((tunnel, 3))),
        ("2xx to CONNECT", Asked::Connect, "HTTP/1.1 200 OK|Content-Length: 5||any", Ok((tunnel, 3))),
        ("not 2xx to CONNECT", Asked::Connect, "HTTP/1.1 407 No|Content-Length: 2||ok", Ok((Framing::Length(2), 2))),
        ("an unknown status", get, "HTTP/1.1 799 Odd|Content-Length: 2||ok", Ok((Framing::Length(2), 2))),
        ("a length twice", get, "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 2||ok", Ok((Framing::Length(2), 2))),
        ("a list of lengths", get, "HTTP/1.1 200 OK|Content-Length: 2 ,02||ok", Ok((Framing::Length(2), 2))),
        ("a blank before a colon", get, "HTTP/1.1 200 OK|Content-Length <09>: 2||ok", Ok((Framing::Length(2), 2))),
        ("HTTP/1.7", get, "HTTP/1.7 200 OK|Content-Length: 2||ok", Ok((Framing::Length(2), 2))),
        ("no reason and no blank", get, "HTTP/1.1 200|Content-Length: 2||ok", Ok((Framing::Length(2), 2))),
        ("LF alone behind the head is content", get, "HTTP/1.1 200 OK||<0a>", Ok((Framing::UntilClose, 1))),
    ]);
}

#[test]
fn what_is_refused() {
    let head = |error| Err(Fault::Head(error));
    let of = |shape, text, error| (shape, Asked::Other, text, head(error));
    check(&[
        of("two lengths", "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 3||ok", HeadError::Length),
        of("a list of two lengths", "HTTP/1.1 200 OK|Content-Length: 2, 3||ok", HeadError::Length),
        of("an empty member", "HTTP/1.1 200 OK|Content-Length: 2,||ok", HeadError::Length),
        of("an empty length", "HTTP/1.1 200 OK|Content-Length:||ok", HeadError::Length),
        of("a sign", "HTTP/1.1 200 OK|Content-Length: +2||ok", HeadError::Length),
        of("both", "HTTP/1.1 200 OK|Content-Length: 2|Transfer-Encoding: chunked||0||", HeadError::LengthAndCoding),
        of("gzip, chunked", "HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||0||", HeadError::CodingNotImplemented),
        of("gzip alone", "HTTP/1.1 200 OK|Transfer-Encoding: gzip||any", HeadError::Coding),
        of("identity", "HTTP/1.1 200 OK|Transfer-Encoding: identity||any", HeadError::Coding),
        of("chunks in HTTP/1.0", "HTTP/1.0 200 OK|Transfer-Encoding: chunked||0||", HeadError::CodingInHttp10),
        of("a folded line", "HTTP/1.1 200 OK|X: a| b||", HeadError::FieldName),
        of("a folded coding", "HTTP/1.1 200 OK|Transfer-Encoding:| chunked||0||", HeadError::FieldName),
        of("a blank before a colon, and a fold", "HTTP/1.1 200 OK|X : a| b||", HeadError::FieldName),
        of("a blank in a name", "HTTP/1.1 200 OK|X Y: a||", HeadError::FieldName),
        of("LF alone", "HTTP/1.1 200 OK<0a>Content-Length: 2<0a><0a>ok", HeadError::LineEnd),
        of("an empty line first", "|HTTP/1.1 200 OK||", HeadError::Line),
        of("HTTP/0.9", "hello", HeadError::Line),
        of("HTTP/2", "HTTP/2.0 200 OK||", HeadError::Version),
        of("NUL in the reason", "HTTP/1.1 200 O<00>K||", HeadError::Line),
        of("NUL in a value", "HTTP/1.1 200 OK|X: <00>||", HeadError::FieldValue),
        (
            "lengths of HEAD that differ",
            Asked::Head,
            "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 3||",
            head(HeadError::Length),
        ),
        ("a body that ends too soon", Asked::Other, "HTTP/1.1 200 OK|Content-Length: 5||ok", Err(Fault::Incomplete)),
        (
            "a chunk that is longer",
            Asked::Other,
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||1|ok|0||",
            Err(Fault::Body(BodyError::ChunkEnd)),
        ),
    ]);
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let (messages, fault) = responses_to(
        Asked::Other,
        "HTTP/1.1 100 Continue||HTTP/1.1 103 Early Hints|Link: a||HTTP/1.1 200 OK|Content-Length: 2||ok",
    );
    assert_eq!(fault, None);
    let lines: Vec<_> = messages.iter().map(|message| &*message.line).collect();
    assert_eq!(lines, ["100 Continue", "103 Early Hints", "200 OK"]);
    assert!(response("HTTP/1.1 103 Early Hints||").is_interim());
    assert!(!response("HTTP/1.1 101 Switching Protocols||").is_interim());
    assert!(!response("HTTP/1.1 200 OK||").is_interim());
}

#[test]
fn a_blank_before_a_colon_is_gone_when_the_head_is_written() {
    let head = response("HTTP/1.1 200 OK|Server <09> : a b|X-Odd  :c|Date: now||");
    assert_eq!(head.fields.get(Known::Server), Some(&b"a b"[..]));
    assert_eq!(written(|out| head.write(out)), "HTTP/1.1 200 OK|Server: a b|X-Odd: c|Date: now||");
}

#[test]
fn what_a_204_must_not_say_is_removed_by_its_framing() {
    let mut head = response("HTTP/1.1 204 No Content|Content-Length: 5|Date: now||");
    head.fields.set_framing(Framing::None).unwrap();
    assert_eq!(written(|out| head.write(out)), "HTTP/1.1 204 No Content|Date: now||");
}

#[test]
fn a_426_keeps_its_upgrade_only_where_the_gateway_says_so() {
    let mut head = response("HTTP/1.1 426 Upgrade Required|Upgrade: TLS/1.2|Connection: upgrade|Content-Length: 0||");
    let upgrade = head.fields.get(Known::Upgrade).map(<[u8]>::to_vec);
    head.fields.end_hop().unwrap();
    assert_eq!(written(|out| head.write(out)), "HTTP/1.1 426 Upgrade Required|Content-Length: 0||");
    head.fields.append(Known::Upgrade, &upgrade.unwrap()).unwrap();
    head.fields.append(Known::Connection, b"upgrade").unwrap();
    let wanted = "HTTP/1.1 426 Upgrade Required|Content-Length: 0|upgrade: TLS/1.2|connection: upgrade||";
    assert_eq!(written(|out| head.write(out)), wanted);
}
