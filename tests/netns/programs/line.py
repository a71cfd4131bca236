"""A bad line between two interfaces: line.py ONE OTHER LOSS_PERCENT REORDER_PERCENT

What comes in by one goes out by the other, except what is lost; some frames are overtaken by others.
For kernels without netem.
"""

import random
import selectors
import socket
import sys

ETH_P_ALL = 0x0003
FRAME_BYTES = 65536
BURST = 64
# A frame that is held back is overtaken by so many, and by no more than this waits.
OVERTAKEN_BY, WAIT_S = 3, 0.005

loss, reorder = (float(word) / 100 for word in sys.argv[3:5])
# Every run is the same.
chance = random.Random(1)


def open_end(interface):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    end.bind((interface, ETH_P_ALL))
    end.setblocking(False)
    return end


class Way:
    """One direction."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.held = []

    def carry(self):
        for _ in range(BURST):
            try:
                frame, address = self.source.recvfrom(FRAME_BYTES)
            except BlockingIOError:
                return
            if address[2] == socket.PACKET_OUTGOING or chance.random() < loss:
                continue
            if chance.random() < reorder:
                self.held.append([OVERTAKEN_BY, frame])
                continue
            self.send(frame)
            for waiting in self.held:
                waiting[0] -= 1
            self.release(lambda waiting: waiting[0] <= 0)

    def release(self, due):
        for waiting in [waiting for waiting in self.held if due(waiting)]:
            self.held.remove(waiting)
            self.send(waiting[1])

    def send(self, frame):
        try:
            self.sink.send(frame)
        except BlockingIOError:
            pass  # lost, as on any line


ends = [open_end(interface) for interface in sys.argv[1:3]]
selector = selectors.DefaultSelector()
for source, sink in (ends, ends[::-1]):
    selector.register(source, selectors.EVENT_READ, Way(source, sink))
print("carries", flush=True)
while True:
    ready = selector.select(WAIT_S)
    for key, _ in ready:
        key.data.carry()
    if not ready:
        for key in selector.get_map().values():
            key.data.release(lambda waiting: True)
