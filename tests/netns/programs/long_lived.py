"""Connections that live long: long_lived.py serve PROTOCOL PORT | long_lived.py talk PROTOCOL ADDRESS PORT INTERVAL_S

PROTOCOL is mysql, http2 or tls. The client asks and waits for the answer on one connection until SIGTERM; it
prints how many answers came, and whether the connection held.
"""

import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PATIENCE_S = 25


def packet(number, payload):
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


GREETING = packet(0, b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"saltsalt\0" + b"\xff\xf7\x21\x02\0\xff\xdf\x15" + b"\0" * 10
                  + b"saltsaltsalt\0mysql_native_password\0")
LOGIN = packet(1, struct.pack("<IIB", 0x000FA285 & ~0x820, 1 << 24, 33) + b"\0" * 23 + b"shop\0\x14" + b"x" * 20 + b"mysql_native_password\0")
OK = b"\0\0\0\2\0\0\0"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise ConnectionError("closed")
        data += piece
    return data


class Mysql:
    def greet(self, stream):
        stream.sendall(GREETING)
        self.answer(stream)

    def answer(self, stream):
        head = exactly(stream, 4)
        exactly(stream, int.from_bytes(head[:3], "little"))
        stream.sendall(packet(head[3] + 1, OK))

    def begin(self, stream):
        exactly(stream, int.from_bytes(exactly(stream, 4)[:3], "little"))
        stream.sendall(LOGIN)
        exactly(stream, 4 + len(OK))

    def ask(self, stream, number):
        stream.sendall(packet(0, b"\x03SELECT name FROM products WHERE id = %d" % number))
        exactly(stream, 4 + len(OK))


class Http2:
    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def greet(self, stream):
        exactly(stream, len(self.PREFACE))
        stream.sendall(frame(4, 0, 0))

    def answer(self, stream):
        while True:
            head = exactly(stream, 9)
            payload = exactly(stream, int.from_bytes(head[:3], "big"))
            del payload
            if head[3] == 1:
                stream.sendall(frame(1, 5, int.from_bytes(head[5:], "big"), b"\x88"))
                return

    def begin(self, stream):
        stream.sendall(self.PREFACE + frame(4, 0, 0))
        exactly(stream, 9)

    def ask(self, stream, number):
        name = b"shop"
        stream.sendall(frame(1, 5, 2 * number + 1, b"\x82\x86\x84\x41" + bytes([len(name)]) + name))
        exactly(stream, 10)


class Lines:
    def greet(self, stream):
        pass

    def answer(self, stream):
        stream.sendall(exactly(stream, 32))

    def begin(self, stream):
        pass

    def ask(self, stream, number):
        stream.sendall(b"%032d" % number)
        exactly(stream, 32)


PROTOCOLS = {"mysql": Mysql, "http2": Http2, "tls": Lines}


def serve(name, port):
    wrap = lambda stream: stream  # noqa: E731
    if name == "tls":
        folder = Path(tempfile.mkdtemp())
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop"]
        subprocess.run([*command, "-keyout", folder / "key", "-out", folder / "cert"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert", folder / "key")
        wrap = lambda stream: context.wrap_socket(stream, server_side=True)  # noqa: E731

    def one(stream):
        try:
            stream = wrap(stream)
            protocol = PROTOCOLS[name]()
            protocol.greet(stream)
            while True:
                protocol.answer(stream)
        except OSError:
            stream.close()

    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
    while True:
        stream, _ = server.accept()
        threading.Thread(target=one, args=(stream,), daemon=True).start()


def talk(name, address, port, interval_s):
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    answers, longest_s, held = 0, 0.0, "held"
    protocol = PROTOCOLS[name]()
    try:
        stream = socket.create_connection((address, port), PATIENCE_S)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if name == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            stream = context.wrap_socket(stream, server_hostname="shop")
        protocol.begin(stream)
        print("begun", flush=True)
        while not stopping.wait(interval_s):
            begun = time.monotonic()
            protocol.ask(stream, answers)
            answers += 1
            longest_s = max(longest_s, time.monotonic() - begun)
    except OSError as error:
        held = f"broke: {error!r}"
    print(f"answers {answers} longest_s {longest_s:.3f} {held}", flush=True)


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
else:
    talk(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
