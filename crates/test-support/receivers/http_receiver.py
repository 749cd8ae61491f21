"""A receiver of webhooks. Argument: a folder with settings.json.

Writes its port to `port`, and a line of JSON per request to `record`, before it answers.
The signature is verified as the Python library of Standard Webhooks does.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import sys
import time

folder = sys.argv[1]
settings = json.load(open(os.path.join(folder, "settings.json")))
canary = settings["canary"]


def is_signed(headers, body):
    key = base64.b64decode(settings["secret"].removeprefix("whsec_"))
    identifier, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    signed = f"{identifier}.{int(timestamp)}.{body}".encode()
    expected = hmac.new(key, signed, hashlib.sha256).digest()
    for versioned in headers["webhook-signature"].split(" "):
        version, signature = versioned.split(",", 1)
        if version == "v1" and hmac.compare_digest(base64.b64decode(signature), expected):
            return True
    return False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        signed = self.headers["webhook-id"] is not None and is_signed(self.headers, body)
        self.record(signed=signed, body=body)
        answer = settings["answer"]
        if answer == "hang":
            time.sleep(600)
        elif answer == "close":
            self.close_connection = True
        elif answer == "garbage":
            self.wfile.write(f"{canary} is no HTTP\r\n\r\n".encode())
            self.close_connection = True
        elif answer == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(canary.encode() * 1000)
        else:
            self.send_response(answer, canary)
            self.send_header("x-canary", canary)
            if "location" in settings:
                self.send_header("location", settings["location"])
            self.send_header("content-length", str(len(canary)))
            self.end_headers()
            self.wfile.write(canary.encode())

    # As a proxy would be asked.
    def do_GET(self):
        self.record(signed=False, body="")
        self.send_error(502)

    do_CONNECT = do_GET

    def record(self, **more):
        headers = {name.lower(): value for name, value in self.headers.items()}
        line = {"method": self.command, "path": self.path, "headers": headers, **more}
        with open(os.path.join(folder, "record"), "a") as record:
            record.write(json.dumps(line) + "\n")

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    # A refused handshake or a cut connection is the client's.
    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", 0), Handler)
if settings["tls"]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
with open(os.path.join(folder, "port.new"), "w") as port:
    port.write(str(server.server_address[1]))
os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
server.serve_forever()
