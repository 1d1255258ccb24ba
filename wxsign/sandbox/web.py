"""What the sandbox's pages, bridge and controls share of HTTP."""

from pathlib import Path

from flask import Flask, Response, current_app, jsonify, request

from wxsign.sandbox.checks import json_object
from wxsign.sandbox.state import Sandbox

HERE = Path(__file__).parent
EXTENSION = "wxsign.sandbox"
JAVASCRIPT = "text/javascript; charset=utf-8"


def sandbox_of(app: Flask) -> Sandbox:
    """The state of a sandbox application, for tests that hold it in the same process."""
    sandbox: Sandbox = app.extensions[EXTENSION]
    return sandbox


def sandbox() -> Sandbox:
    """The state of the application that serves the present request."""
    return sandbox_of(current_app)


def fields() -> dict[str, object]:
    """The JSON object in the body of the present request; empty when it is anything else."""
    return json_object(request.get_data()) or {}


def problem(status: int, code: str, message: str, **more: object) -> Response:
    """An error answer."""
    response = jsonify({"error": {"code": code, "message": message, **more}})
    response.status_code = status
    return response


def open_to_all(response: Response) -> Response:
    """Lets a page of any origin read it."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return no_store(response)


def no_store(response: Response) -> Response:
    """Keeps it out of every cache."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def style() -> bytes:
    """The style sheet of the service's pages, inside the installed package or beside it in a checkout: a file, no code of theirs."""
    package = HERE.parent
    inside = package / "static"
    return ((inside if inside.is_dir() else package.parent / "static") / "pages.css").read_bytes()


def file(name: str, content_type: str) -> Response:
    """A file of this package."""
    return no_store(Response((HERE / name).read_bytes(), content_type=content_type))
