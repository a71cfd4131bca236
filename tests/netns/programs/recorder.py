"""A server that writes down what reaches it: recorder.py PORT FILE

Each connection becomes a line of FILE once it was silent for a while or ended: its peer's address and port,
and the bytes as its socket gave them. Whole requests are answered.
"""

import json
import socket
import sys
import threading

SILENCE_S = 20
# One that fits every method: HEAD has no body to wait for.
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
writing = threading.Lock()


def record(connection, peer, path):
    connection.settimeout(SILENCE_S)
    received, answered = b"", 0
    try:
        while data := connection.recv(1 << 16):
            received += data
            while answered < received.count(b"\r\n\r\n"):
                connection.sendall(ANSWER)
                answered += 1
            write(path, peer, received)
    except OSError:
        pass
    finally:
        connection.close()


def write(path, peer, received):
    address = peer[0].removeprefix("::ffff:")
    with writing, open(path, "a") as file:
        print(json.dumps({"peer": [address, peer[1]], "received": received.hex()}), file=file)


server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
while True:
    connection, peer = server.accept()
    threading.Thread(target=record, args=(connection, peer, sys.argv[2]), daemon=True).start()
