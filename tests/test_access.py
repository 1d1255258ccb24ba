"""The access log of a server whose own would quote queries."""

from __future__ import annotations

import json

import pytest

from wxsign.serving.access import AccessLog

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/jsconfig",
    "QUERY_STRING": "code=oauth-code",
    "REMOTE_ADDR": "",
}


class Pieces:
    """A body that comes in pieces, and must be closed."""

    closed = False

    def __iter__(self):
        return iter((b"ab", b"cde"))

    def close(self):
        self.closed = True


def logged(capsys, body=(b"abc",), status="200 OK", environ=None, error=None):
    """What one request leaves in the log."""

    def application(_environ, start_response):
        if error:
            raise error
        start_response(status, [("X-Request-Id", "an-id-0123456789")])
        return body

    answer = AccessLog(application, "granian.access")({**ENVIRON, **(environ or {})}, lambda *_: None)
    sent = b"".join(answer)
    if close := getattr(answer, "close", None):
        close()
    out = capsys.readouterr().out
    assert "oauth-code" not in out
    return sent, [json.loads(line) for line in out.splitlines()]


def test_a_line_says_what_was_answered_and_never_the_query(capsys):
    sent, (line,) = logged(capsys)
    assert sent == b"abc"
    assert line["milliseconds"] >= 0
    assert {
        "logger": "granian.access",
        "event": "access",
        "method": "GET",
        "path": "/jsconfig",
        "status": 200,
        "bytes": 3,
        "remote_addr": "unix",
        "request_id": "an-id-0123456789",
    }.items() <= line.items()


def test_a_body_in_pieces_is_counted_and_closed(capsys):
    body = Pieces()
    sent, (line,) = logged(capsys, body)
    assert (sent, line["bytes"], body.closed) == (b"abcde", 5, True)


def test_probes_fill_the_log_only_while_they_tell_of_something(capsys):
    probe = {"PATH_INFO": "/readyz"}
    assert logged(capsys, environ=probe)[1] == []
    assert logged(capsys, environ=probe, status="503 Service Unavailable")[1][0]["status"] == 503


def test_an_application_that_fails_leaves_a_line_and_its_error(capsys):
    with pytest.raises(RuntimeError):
        logged(capsys, error=RuntimeError())
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["status"], line["bytes"]) == (500, 0)
