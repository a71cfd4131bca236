"""A time server of a few lines, and its client: ntp.py serve PORT… | ntp.py ask ADDRESS PORT"""

import selectors
import socket
import struct
import sys
import time

UNIX_TO_NTP_S = 2208988800
SERVER_V4, CLIENT_V4 = 0x24, 0x23
PACKET = struct.Struct("!BBbbII4sQQQQ")


def now():
    return int((time.time() + UNIX_TO_NTP_S) * 2**32)


def answer(request):
    received, sent = now(), struct.unpack("!Q", request[40:48])[0]
    version = request[0] & 0x38
    first = (SERVER_V4 & ~0x38) | version
    return PACKET.pack(first, 2, request[2] % 17, -20, 64, 64, bytes([127, 127, 1, 0]), received, sent, received, now())


def serve(ports):
    selector = selectors.DefaultSelector()
    for port in ports:
        endpoint = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        endpoint.bind(("::", port))
        selector.register(endpoint, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            request, client = key.fileobj.recvfrom(2048)
            if len(request) >= 48:
                key.fileobj.sendto(answer(request), client)


def ask(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(2)
        endpoint.connect((address, port))
        endpoint.send(PACKET.pack(CLIENT_V4, 0, 6, -20, 0, 0, bytes(4), 0, 0, 0, now()))
        print("stratum", endpoint.recv(2048)[1])


if sys.argv[1] == "serve":
    serve(map(int, sys.argv[2:]))
else:
    ask(sys.argv[2], int(sys.argv[3]))
