"""Calls of gRPC's own library through the gateway. Fails at the first that is not as it would be without a gateway."""

import queue
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])


def call(kind, name):
    return getattr(channel, kind)(f"/test.Echo/{name}")


def is_equal(got, wanted):
    assert got == wanted, f"{got!r}, not {wanted!r}"


def failure(ask):
    try:
        ask()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it succeeds")


# One message each way, with metadata; a large one.
answer, done = call("unary_unary", "Unary").with_call(
    b"hello", metadata=(("x-ask", "a, b"), ("x-ask-bin", b"\x00\xff\n")), timeout=20
)
is_equal(answer, b"hello")
initial, trailing = dict(done.initial_metadata()), dict(done.trailing_metadata())
is_equal((initial["x-from"], initial["x-seen"], initial["x-seen-bin"]), ("server", "a, b", b"\x00\xff\n"))
is_equal(trailing["x-trailing"], "1")
large = bytes(range(256)) * 12_000
is_equal(call("unary_unary", "Unary")(large, timeout=20), large)

# Streams.
messages = list(call("unary_stream", "Down")(b"200", timeout=20))
is_equal(messages, [number.to_bytes(4, "big") * 2500 for number in range(200)])
is_equal(call("stream_unary", "Up")(iter([b"x" * 10_000] * 200), timeout=20), b"2000000")
asked = queue.SimpleQueue()
replies = call("stream_stream", "Both")(iter(asked.get, None), timeout=20)
for number in range(50):
    # Each message is sent only when the reply to the one before is here.
    asked.put(b"%d" % number)
    is_equal(next(replies), b"echo %d" % number)
asked.put(None)
is_equal(list(replies), [])
is_equal(replies.code(), grpc.StatusCode.OK)

# Statuses.
for code in grpc.StatusCode:
    if code is not grpc.StatusCode.OK:
        error = failure(lambda: call("unary_unary", "Unary")(b"fail:%d" % code.value[0], timeout=20))
        is_equal((error.code(), error.details()), (code, "said so: \u00e4 % \n end"))
        is_equal(dict(error.trailing_metadata())["x-trailing"], "1")
is_equal(failure(lambda: channel.unary_unary("/test.Echo/Nothing")(b"", timeout=20)).code(), grpc.StatusCode.UNIMPLEMENTED)

# Time that runs out, and a call that is taken back.
late = call("unary_stream", "Slow")(b"late", timeout=1)
is_equal(next(late), b"first")
is_equal(failure(lambda: next(late)).code(), grpc.StatusCode.DEADLINE_EXCEEDED)
gone = call("unary_stream", "Slow")(b"gone")
is_equal(next(gone), b"first")
gone.cancel()
is_equal(failure(lambda: next(gone)).code(), grpc.StatusCode.CANCELLED)
print("done")
