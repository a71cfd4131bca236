"""Connections that come and go until SIGTERM: churn.py ADDRESS MYSQL_PORT STREAM_PORT PAUSE_S. Prints how many."""

import signal
import socket
import sys
import threading

stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
address, mysql, stream, pause_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
opened = failed = 0
while not stopping.wait(pause_s):
    try:
        with socket.create_connection((address, mysql), 5) as connection:
            connection.recv(200)
            opened += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.sendto(b"0", (address, stream))
    except OSError:
        failed += 1
print(f"opened {opened} failed {failed}", flush=True)
