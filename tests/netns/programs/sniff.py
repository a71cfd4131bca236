"""Counts IPv4 packets that reach this host from an address: sniff.py INTERFACE ADDRESS. Prints the count at SIGTERM."""

import signal
import socket
import sys
import threading

ETH_P_ALL = 3
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
wanted = socket.inet_aton(sys.argv[2])
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
tap.bind((sys.argv[1], 0))
tap.settimeout(0.1)
count = 0
print("listening", flush=True)
while not stopping.is_set():
    try:
        frame = tap.recv(2048)
    except TimeoutError:
        continue
    count += frame[12:14] == b"\x08\x00" and frame[26:30] == wanted
print(f"count {count}", flush=True)
