"""A robot of a group, on this machine."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HIDDEN = "key-that-nobody-may-see"


class Robot(ThreadingHTTPServer):
    """A robot of a group on this machine: it keeps what it is sent, and answers as it is told."""

    answers = ()

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got = []
        self.url = f"http://127.0.0.1:{self.server_port}/send?key={HIDDEN}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        self.answer(b"null")

    def answer(self, body):
        robot = self.server
        status, words = (
            robot.answers[min(len(robot.got), len(robot.answers) - 1)]
            if robot.answers
            else (200, b'{"errcode":0}')
        )
        robot.got.append(json.loads(body))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, *_arguments):
        pass


@contextmanager
def serving():
    """Run one for the block."""
    robot = Robot()
    threading.Thread(target=robot.serve_forever, daemon=True).start()
    yield robot
    robot.shutdown()
    robot.server_close()
