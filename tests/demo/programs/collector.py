"""The intruder's server in the internet: takes what is posted by HTTPS. collector.py CERTIFICATE KEY"""

import http.server
import socket
import ssl
import sys


class Collector(http.server.BaseHTTPRequestHandler):
    """Says how many bytes it got."""

    def do_POST(self):
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        print(f"got {size} bytes from {self.client_address[0]}", flush=True)
        answer = f"thank you for {size} bytes\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Server(http.server.ThreadingHTTPServer):
    """Both families on one socket."""

    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server = Server(("::", 443), Collector)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
