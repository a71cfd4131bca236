"""Numbered datagrams one way: stream.py send ADDRESS PORT INTERVAL_S | stream.py count PORT

The counter prints, at SIGTERM, how many came, how many numbers are missing between the first and the last, and the
longest silence in milliseconds.
"""

import signal
import socket
import sys
import threading
import time

stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
if sys.argv[1] == "send":
    address, port, interval = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    endpoint = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.connect((address, port))
    number, following = 0, time.monotonic()
    while not stopping.is_set():
        try:
            endpoint.send(b"%d" % number)
        except OSError:
            pass
        number += 1
        following += interval
        time.sleep(max(0, following - time.monotonic()))
else:
    endpoint = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    endpoint.bind(("::", int(sys.argv[2])))
    endpoint.settimeout(0.1)
    numbers, heard, silence = set(), None, 0.0
    while not stopping.is_set():
        try:
            numbers.add(int(endpoint.recv(64)))
        except TimeoutError:
            continue
        now = time.monotonic()
        silence = max(silence, now - heard) if heard else 0.0
        heard = now
    missing = max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0
    print(f"came {len(numbers)} missing {missing} silence_ms {silence * 1000:.1f}", flush=True)
