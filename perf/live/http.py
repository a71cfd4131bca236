"""One end of a kept-alive HTTP connection, for perf/client: `http.py answer PORT`, or `http.py ask ADDRESS PORT REQUESTS`.

The client asks for one small document after the other and prints how long each answer took, in microseconds, as a JSON list.
"""

import gc
import json
import socket
import sys
import time

REQUEST = b"GET /api/a HTTP/1.1\r\nHost: shop.example.com\r\nAccept: application/json\r\n\r\n"
BODY = b"x" * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
PATIENCE_S = 10
# Connections and caches warm.
FIRST = 200


def answer(port):
    server = socket.create_server(("", port))
    while True:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while _read(connection, b"\r\n\r\n"):
                connection.sendall(ANSWER)


def _read(connection, end):
    received = b""
    while not received.endswith(end):
        more = connection.recv(4096)
        if not more:
            return b""
        received += more
    return received


def ask(address, port, requests):
    connection = socket.create_connection((address, port), PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    gc.disable()
    times_us = []
    for _ in range(FIRST + requests):
        begun = time.perf_counter_ns()
        connection.sendall(REQUEST)
        received = 0
        while received < len(ANSWER):
            part = connection.recv(4096)
            if not part:
                sys.exit("the connection ended")
            received += len(part)
        times_us.append((time.perf_counter_ns() - begun) / 1e3)
    print(json.dumps(times_us[FIRST:]))


if __name__ == "__main__":
    if sys.argv[1] == "answer":
        answer(int(sys.argv[2]))
    else:
        ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
