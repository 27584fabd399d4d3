"""A service in a few lines of the standard library: what a user's own service might be.

    server.py PORT VERSION [slow|broken|never-ready|crash|crash-later|leaky]

The last word makes it misbehave, so that a rollout can be seen to come back.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, VERSION = int(sys.argv[1]), sys.argv[2]
MANNER = sys.argv[3] if len(sys.argv) > 3 else ""
started = time.monotonic()
greetings = 0


class Greeter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            return self.answer(503 if MANNER == "never-ready" else 200, {"version": VERSION})
        if self.path == "/metrics":
            return self.metrics()
        if MANNER == "broken":
            return self.answer(500, {"error": "this version is broken"})
        if MANNER == "slow":
            time.sleep(0.5)
        global greetings
        greetings += 1
        self.answer(200, {"greeting": f"hello from version {VERSION}", "version": VERSION})

    def metrics(self):
        """What Prometheus would scrape: a version that leaks holds ten more of something every second."""
        held = 10 * (time.monotonic() - started) if MANNER == "leaky" else 1
        text = f'greeter_greetings_total{{version="{VERSION}"}} {greetings}\ngreeter_held {held}\n'
        self.send(200, "text/plain; version=0.0.4", text.encode())

    def answer(self, status, value):
        self.send(status, "application/json", json.dumps(value).encode())

    def send(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", PORT), Greeter)
# Requests that are under way are answered before it ends.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
if MANNER.startswith("crash"):
    threading.Timer(1.0 if MANNER == "crash" else 60.0, lambda: os._exit(7)).start()
print(f"version {VERSION} on port {PORT}", flush=True)
server.serve_forever()
