"""The sandbox as a Flask application: WeChat's API, the controls, the bridge of the in-app browser."""

import json
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

from flask import Blueprint, Flask, Response, jsonify, redirect, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from wxsign.sandbox.calls import sns, visitors, wechat
from wxsign.sandbox.controls import controls
from wxsign.sandbox.settings import SandboxSettings
from wxsign.sandbox.state import Sandbox
from wxsign.sandbox.verification import SIGNED_AS_GIVEN, signed_from
from wxsign.sandbox.web import (
    EXTENSION,
    HERE,
    JAVASCRIPT,
    fields,
    file,
    no_store,
    open_to_all,
    problem,
    sandbox,
)

# The files that make the bridge, in their order.
BRIDGE = ("modes.js", "share.js", "tags.js", "layer.js", "panel.js", "frame.js", "bridge.js")
SIGNED_BY_PAGE = ("verifyTimestamp", "verifyNonceStr", "verifySignature")

bridge = Blueprint("bridge", __name__, url_prefix="/sandbox")


def create_app(
    settings: SandboxSettings | None = None,
    clock: Callable[[], float] = time.time,
    control_hosts: Iterable[str] = (),
) -> Flask:
    """A sandbox with its own state, found again by `sandbox_of(app)`. Raises SettingsError."""
    app = Flask(__name__, static_folder=None, template_folder="pages")
    app.jinja_env.undefined = StrictUndefined
    app.extensions[EXTENSION] = Sandbox(settings, clock)
    app.config["SANDBOX_CONTROL_HOSTS"] = frozenset(host.lower() for host in control_hosts)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    # A fault on the wire ends its request by a ConnectionError, which only the server below may take.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    for blueprint in (wechat, sns, visitors, bridge, controls):
        app.register_blueprint(blueprint)
    app.add_url_rule("/", view_func=lambda: redirect("/sandbox/", code=HTTPStatus.FOUND))
    app.register_error_handler(HTTPException, _http_error)
    return app


def _http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(status, error.name.lower().replace(" ", "_"), error.description or error.name)


# the bridge of the in-app browser


@bridge.get("/bridge.js")
def bridge_script() -> Response:
    """The script that stands in for WeChat's in-app browser: what the sandbox is set to, then its parts."""
    chosen = json.dumps(sandbox().browser() | {"src": request.url})
    parts = (f"window.wxsignSandbox = {chosen};", *((HERE / name).read_text("utf-8") for name in BRIDGE))
    return open_to_all(no_store(Response("\n".join(parts), content_type=JAVASCRIPT)))


@bridge.get("/jweixin.js")
def stand_in_script() -> Response:
    """The script that stands in for WeChat's own where that cannot be loaded."""
    return open_to_all(file("jweixin.js", JAVASCRIPT))


@bridge.route("/bridge/verify", methods=["OPTIONS"])
def bridge_preflight() -> Response:
    """Lets a page of any origin post JSON, one on a public address to a loopback sandbox too."""
    response = open_to_all(Response(status=HTTPStatus.NO_CONTENT))
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = "Content-Type"
    response.headers["Access-Control-Allow-Private-Network"] = "true"
    return response


@bridge.post("/bridge/card")
def bridge_card() -> Response:
    """The verdict on the signature of addCard and chooseCard: the values that are signed come as a list."""
    given = fields()
    values = given.get("values")
    listed = [str(value) for value in values] if isinstance(values, list) else []
    verdict, (english, chinese) = sandbox().verify_card(
        str(given.get("appId", "")), listed, str(given.get("signature", ""))
    )
    return open_to_all(jsonify({"ok": verdict.ok, "detail": {"en": english, "zh": chinese}}))


@bridge.post("/bridge/verify")
def bridge_verify() -> Response:
    """preVerifyJSAPI, and agentConfig in WeCom: the verdict on a page's config, in the words of the client."""
    given = fields()
    name, names = (
        ("agentConfig", SIGNED_AS_GIVEN) if "agentid" in given else ("preVerifyJSAPI", SIGNED_BY_PAGE)
    )
    verdict = sandbox().verify(signed_from(given, names), by_page=True)
    result = {"ok": "ok", "fail": "fail"}.get(verdict.err_msg, f"fail_{verdict.err_msg}")
    told = {"err_msg": f"{name}:{result}", "detail": verdict.detail()}
    if verdict.cause is not None:
        told |= {"cause": verdict.cause.id, "signedUrl": verdict.cause.signed_url}
    return open_to_all(jsonify(told))
