"""Joins two unix sockets: relay.py LISTEN CONNECT. While it is stopped (SIGSTOP) its two sides are cut off from each
other without either being told.
"""

import asyncio
import sys

PIECE_BYTES = 1 << 16


async def pump(source, sink):
    try:
        while data := await source.read(PIECE_BYTES):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    sink.close()


async def join(reader, writer):
    try:
        there_reader, there_writer = await asyncio.open_unix_connection(sys.argv[2])
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))


async def main():
    server = await asyncio.start_unix_server(join, sys.argv[1])
    print("listening", flush=True)
    await server.serve_forever()


asyncio.run(main())
