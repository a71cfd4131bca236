"""Many requests on one connection: keep_alive.py ADDRESS PORT COUNT PATH [PAUSE_S]. Prints how many were answered."""

import http.client
import sys
import time

address, port, count, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
pause_s = float(sys.argv[5]) if len(sys.argv) > 5 else 0
connection = http.client.HTTPConnection(address, port, timeout=30)
connection.connect()
first, answered = connection.sock, 0
try:
    for _ in range(count):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        answered += answer.status == 200 and connection.sock is first
        time.sleep(pause_s)
except OSError as error:
    print(repr(error), file=sys.stderr)
print("answered", answered)
