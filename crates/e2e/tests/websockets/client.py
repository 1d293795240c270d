"""Cases of WebSockets through the gateway whose address is the first argument. Fails with the case that is not as it must be."""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode

URL = f"ws://{sys.argv[1]}"


async def texts_and_bytes():
    async with connect(URL + "/texts", compression=None) as client:
        for message in ["", "a", "äöü€😀", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, b"", bytes(range(256))]:
            await client.send(message)
            assert await client.recv() == message


async def large():
    async with connect(URL + "/large", compression=None, max_size=32 << 20) as client:
        message = os.urandom(8 << 20)
        await client.send(message)
        assert await client.recv() == message


async def fragments():
    async with connect(URL + "/fragments", compression=None) as client:
        await client.send(["frag", "men", "", "ted"])
        assert await client.recv() == "fragmented"
        # A control frame between the fragments of a message (RFC 6455 5.4).
        client.protocol.send_text(b"one ", fin=False)
        client.protocol.send_ping(b"between")
        client.protocol.send_continuation(b"message", fin=True)
        client.send_data()
        assert await client.recv() == "one message"


async def pings():
    async with connect(URL + "/pings") as client:
        for payload in [b"", b"x" * 125]:
            await asyncio.wait_for(await client.ping(payload), 20)


async def compressed():
    async with connect(URL + "/compressed", compression="deflate") as client:
        names = [extension.name for extension in client.protocol.extensions]
        assert names == ["permessage-deflate"], names
        message = "again and " * 10_000
        await client.send(message)
        assert await client.recv() == message


async def subprotocols():
    async with connect(URL + "/subprotocols", subprotocols=["chat.v1", "chat.v2", "other"]) as client:
        assert client.subprotocol == "chat.v2", client.subprotocol


async def many():
    async def one(number):
        async with connect(URL + f"/many?{number}") as client:
            for turn in range(20):
                await client.send(f"{number} {turn}")
                assert await client.recv() == f"{number} {turn}"

    await asyncio.gather(*(one(number) for number in range(50)))


async def closes():
    client = await connect(URL + "/closes")
    await client.close(4000, "done")
    assert (client.close_code, client.close_reason) == (4000, "done")
    client = await connect(URL + "/leave")
    try:
        await client.recv()
        raise AssertionError("the service has left")
    except ConnectionClosedError as closed:
        assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "enough"), closed
    client = await connect(URL + "/break")
    try:
        await client.recv()
        raise AssertionError("the service has broken off")
    except ConnectionClosedError as closed:
        assert closed.rcvd is None, closed


async def violations():
    # What breaks the protocol is for the service to judge: it is passed on, and so is the answer (RFC 6455 7.4.1).
    client = await connect(URL + "/violations", compression=None)
    client.protocol.send_frame(Frame(Opcode.TEXT, b"\xff\xfe"))
    client.send_data()
    try:
        await client.recv()
        raise AssertionError("it is no text")
    except ConnectionClosedError as closed:
        assert closed.rcvd.code == 1007, closed


async def refused():
    try:
        await connect(URL + "/nowhere/else", origin="https://example.com", additional_headers={"X-Refuse": "1"})
        raise AssertionError("a policy refuses it")
    except InvalidStatus as answer:
        assert answer.response.status_code == 403, answer


async def main():
    for case in [
        texts_and_bytes,
        large,
        fragments,
        pings,
        compressed,
        subprotocols,
        many,
        closes,
        violations,
        refused,
    ]:
        try:
            await asyncio.wait_for(case(), 60)
        except BaseException as error:
            print(f"{case.__name__}: {error!r}", file=sys.stderr)
            raise


asyncio.run(main())
