"""fake_server.py - a server for tests whose answers are the test's: what it was asked is kept."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeServer:
    """answer(method, path, body) -> (status, JSON or bytes, headers); "cut": the connection ends without an answer."""

    def __init__(self, answer):
        self.asked = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                value = json.loads(body) if body else None
                fake.asked.append((self.command, self.path, value, dict(self.headers)))
                given = answer(self.command, self.path, value)
                if given == "cut":
                    self.close_connection = True
                    return
                status, out, headers = given
                data = out if isinstance(out, bytes) else json.dumps(out).encode()
                self.send_response(status)
                for key, v in headers.items():
                    self.send_header(key, v)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_any

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def by_length(method, path, body):
    """A judge to whom longer is better; "unjudged" has no score."""
    scores = [None if r == "unjudged" else float(len(r)) for r in body["responses"]]
    return 200, {"best": 0, "responses": [{"index": i, "score": s} for i, s in enumerate(scores)]}, {}
