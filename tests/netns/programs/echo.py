"""UDP datagrams come back as they were sent: echo.py serve PORT | echo.py ask ADDRESS PORT BYTES"""

import os
import socket
import sys

PATIENCE_S = 3


def serve(port):
    endpoint = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    endpoint.bind(("::", port))
    while True:
        data, client = endpoint.recvfrom(65536)
        endpoint.sendto(data, client)


def ask(address, port, size):
    data = os.urandom(size)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(PATIENCE_S)
        endpoint.connect((address, port))
        endpoint.send(data)
        print("identical" if endpoint.recv(65536) == data else "different")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
