"""Sends messages back. Says on its standard error `port N`, then how each connection ended."""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(connection):
    path = connection.request.path
    if path == "/leave":
        await connection.close(4001, "enough")
        return
    if path == "/break":
        connection.transport.abort()
        return
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass
    print("ended", path, connection.close_code, file=sys.stderr, flush=True)


def choose(_connection, offered):
    return next((name for name in ["chat.v2", "chat.v1"] if name in offered), None)


async def main():
    async with serve(
        echo, "127.0.0.1", 0, select_subprotocol=choose, max_size=32 << 20, ping_interval=None
    ) as server:
        print("port", server.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
        await server.serve_forever()


asyncio.run(main())
