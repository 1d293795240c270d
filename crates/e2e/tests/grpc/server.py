"""A server of gRPC's own library. Prints its port, and a line for each call that was cancelled or ran out of time."""

import sys
import threading
from concurrent import futures

import grpc


def say(line):
    print(line, file=sys.stderr, flush=True)


def unary(request, context):
    said = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-from", "server"), ("x-seen", said.get("x-ask", "")), ("x-seen-bin", said.get("x-ask-bin", b""))
                                   if "x-ask-bin" in said else ("x-from-2", "server")))
    context.set_trailing_metadata((("x-trailing", "1"),))
    if request.startswith(b"fail:"):
        code = next(code for code in grpc.StatusCode if code.value[0] == int(request[5:]))
        context.abort(code, "said so: \u00e4 % \n end")
    return request


def down(request, context):
    for number in range(int(request)):
        yield number.to_bytes(4, "big") * 2500


def up(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def both(requests, context):
    for request in requests:
        yield b"echo " + request


def slow(request, context):
    left, ended = context.time_remaining(), threading.Event()
    context.add_callback(ended.set)
    yield b"first"
    ended.wait(30)
    say(f"ended {request.decode()} {'with' if left is not None and left < 100 else 'without'} a deadline")


CALLS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Slow": grpc.unary_stream_rpc_method_handler(slow),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", CALLS),))
if len(sys.argv) > 2:
    with open(sys.argv[1], "rb") as key, open(sys.argv[2], "rb") as chain:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key.read(), chain.read())]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
say(f"port {port}")
server.wait_for_termination()
