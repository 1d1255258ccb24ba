"""The yardstick: the view that a Flask developer writes, with the ticket at hand and none of the service's duties."""

from __future__ import annotations

import hashlib
import secrets
import time
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, request

from wxsign.signing import JS_API_LIST, OPEN_TAG_LIST

_TICKET = "bench-ticket-" + "0" * 73
_ALLOWED_HOSTS = {"m.example.com"}

app = Flask(__name__)


@app.get("/jsconfig")
def jsconfig() -> Response:
    """Sign the page's address."""
    url = request.args.get("url", "").partition("#")[0]
    if urlsplit(url).hostname not in _ALLOWED_HOSTS:
        abort(403)
    noncestr, timestamp = secrets.token_hex(8), int(time.time())
    string1 = f"jsapi_ticket={_TICKET}&noncestr={noncestr}&timestamp={timestamp}&url={url}"
    response = jsonify(
        appId="wx0123456789abcdef",
        timestamp=timestamp,
        nonceStr=noncestr,
        signature=hashlib.sha1(string1.encode(), usedforsecurity=False).hexdigest(),
        url=url,
        jsApiList=JS_API_LIST,
        openTagList=OPEN_TAG_LIST,
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
    response.vary.add("Origin")
    return response
