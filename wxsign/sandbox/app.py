"""The sandbox as a Flask application: WeChat's API, the controls, the bridge of the in-app browser."""

import json
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, jsonify, redirect, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from wxsign.sandbox import page
from wxsign.sandbox.checks import Answer, ApiCall, json_object
from wxsign.sandbox.faults import WIRE, Reply, parse_fault, play, reply_with, wait
from wxsign.sandbox.hosts import control_host_allowed
from wxsign.sandbox.settings import BILLION, SandboxSettings, SettingsError, bounded
from wxsign.sandbox.state import Sandbox, Stay, UnknownNameError
from wxsign.sandbox.verification import signed_from

HERE = Path(__file__).parent
EXTENSION = "wxsign.sandbox"
JAVASCRIPT = "text/javascript; charset=utf-8"
# The files that make the bridge, in their order.
BRIDGE = ("modes.js", "cards.js", "tags.js", "bridge.js")
SIGNED_BY_PAGE = ("verifyTimestamp", "verifyNonceStr", "verifySignature")
SIGNED_AS_GIVEN = ("timestamp", "nonceStr", "signature")

wechat = Blueprint("wechat", __name__, url_prefix="/cgi-bin")
bridge = Blueprint("bridge", __name__, url_prefix="/sandbox")
controls = Blueprint("controls", __name__, url_prefix="/sandbox")


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
    for blueprint in (wechat, bridge, controls):
        app.register_blueprint(blueprint)
    app.add_url_rule("/", view_func=lambda: redirect("/sandbox/", code=HTTPStatus.FOUND))
    app.register_error_handler(HTTPException, _http_error)
    return app


def sandbox_of(app: Flask) -> Sandbox:
    """The state of a sandbox application, for tests that hold it in the same process."""
    sandbox: Sandbox = app.extensions[EXTENSION]
    return sandbox


def _sandbox() -> Sandbox:
    return sandbox_of(current_app)


def _problem(status: int, code: str, message: str, **more: object) -> Response:
    response = jsonify({"error": {"code": code, "message": message, **more}})
    response.status_code = status
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    return _problem(status, error.name.lower().replace(" ", "_"), error.description or error.name)


# WeChat's API


@wechat.route("/token", methods=["GET", "POST"], endpoint="token")
@wechat.route("/stable_token", methods=["GET", "POST"], endpoint="stable_token")
@wechat.route("/ticket/getticket", methods=["GET", "POST"], endpoint="getticket")
@wechat.route("/get_api_domain_ip", methods=["GET", "POST"], endpoint="get_api_domain_ip")
@wechat.route("/getcallbackip", methods=["GET", "POST"], endpoint="getcallbackip")
@wechat.route("/message/custom/send", methods=["GET", "POST"], endpoint="custom_send")
@wechat.route("/user/info", methods=["GET", "POST"], endpoint="user_info")
@wechat.route("/openapi/quota/get", methods=["GET", "POST"], endpoint="quota_get")
@wechat.route("/clear_quota", methods=["GET", "POST"], endpoint="clear_quota")
@wechat.route("/clear_quota/v2", methods=["GET", "POST"], endpoint="clear_quota_v2")
@wechat.route("/gettoken", methods=["GET", "POST"], endpoint="gettoken")
@wechat.route("/get_jsapi_ticket", methods=["GET", "POST"], endpoint="get_jsapi_ticket")
@wechat.route("/ticket/get", methods=["GET", "POST"], endpoint="agent_ticket")
def api_call() -> Response:
    """One call of WeChat's API, with whatever fault waits for it."""
    sandbox, call = _sandbox(), _call()
    stay = sandbox.arrive(call)
    try:
        return _serve(sandbox, call, stay)
    finally:
        sandbox.leave(stay)


@wechat.route("/<path:_>", methods=["GET", "POST"])
def unknown_api(_: str) -> Response:
    """A path that this sandbox does not have."""
    return _sent(reply_with(None, _sandbox().unknown_path(request.remote_addr or "")))


def _call() -> ApiCall:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    remote_addr = request.remote_addr or "127.0.0.1"
    return ApiCall(endpoint, request.method, request.args.to_dict(), request.get_data(), remote_addr)


def _serve(sandbox: Sandbox, call: ApiCall, stay: Stay) -> Response:
    connection, fault = request.environ.get("werkzeug.socket"), stay.fault
    wait(stay.latency_seconds, connection, stay.released)
    if stay.released.is_set():
        raise ConnectionAbortedError("a call of the time before a reset must not touch the new state")
    answer = _answer(sandbox, call, stay)
    reply = reply_with(fault, answer)
    stay.visit.rotated = answer.rotated
    if fault is not None and fault.kind in WIRE:
        play(fault, reply, connection, stay.released)
    stay.visit.status, stay.visit.errcode = reply.status, answer.errcode
    return _sent(reply)


def _answer(sandbox: Sandbox, call: ApiCall, stay: Stay) -> Answer:
    fault = stay.fault
    answer = sandbox.answer(call) if fault is None or fault.lets_wechat_work() else Answer({})
    if fault is not None and fault.kind == "errcode":
        return sandbox.refuse(fault, call)
    return answer


def _sent(reply: Reply) -> Response:
    return Response(reply.body, status=reply.status, content_type=reply.content_type)


# the bridge of the in-app browser


@bridge.get("/bridge.js")
def bridge_script() -> Response:
    """The script that stands in for WeChat's in-app browser: what the sandbox is set to, then its parts."""
    chosen = json.dumps(_sandbox().browser())
    parts = (f"window.wxsignSandbox = {chosen};", *((HERE / name).read_text("utf-8") for name in BRIDGE))
    return _open(_no_store(Response("\n".join(parts), content_type=JAVASCRIPT)))


@bridge.get("/jweixin.js")
def stand_in_script() -> Response:
    """The script that stands in for WeChat's own where that cannot be loaded."""
    return _open(_file("jweixin.js", JAVASCRIPT))


@bridge.route("/bridge/verify", methods=["OPTIONS"])
def bridge_preflight() -> Response:
    """Lets a page of any origin post JSON, one on a public address to a loopback sandbox too."""
    response = _open(Response(status=HTTPStatus.NO_CONTENT))
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = "Content-Type"
    response.headers["Access-Control-Allow-Private-Network"] = "true"
    return response


@bridge.post("/bridge/card")
def bridge_card() -> Response:
    """The verdict on the signature of addCard and chooseCard: the values that are signed come as a list."""
    fields = _fields()
    values = fields.get("values")
    listed = [str(value) for value in values] if isinstance(values, list) else []
    verdict, (english, chinese) = _sandbox().verify_card(
        str(fields.get("appId", "")), listed, str(fields.get("signature", ""))
    )
    return _open(jsonify({"ok": verdict.ok, "detail": {"en": english, "zh": chinese}}))


@bridge.post("/bridge/verify")
def bridge_verify() -> Response:
    """preVerifyJSAPI, and agentConfig in WeCom: the verdict on a page's config, in the words of the client."""
    fields = _fields()
    name, names = (
        ("agentConfig", SIGNED_AS_GIVEN) if "agentid" in fields else ("preVerifyJSAPI", SIGNED_BY_PAGE)
    )
    verdict = _sandbox().verify(signed_from(fields, names), by_page=True)
    result = {"ok": "ok", "fail": "fail"}.get(verdict.err_msg, f"fail_{verdict.err_msg}")
    told = {"err_msg": f"{name}:{result}", "detail": verdict.detail()}
    if verdict.cause is not None:
        told |= {"cause": verdict.cause.id, "signedUrl": verdict.cause.signed_url}
    return _open(jsonify(told))


def _open(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return _no_store(response)


def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _file(name: str, content_type: str) -> Response:
    path = HERE / name
    return _no_store(Response(path.read_bytes(), content_type=content_type))


# controls


@controls.before_request
def check_controls() -> Response | None:
    """Controls are for people and tests of this machine: Host checked, POST only as JSON (a form cannot send it)."""
    if not control_host_allowed(request.host, current_app.config["SANDBOX_CONTROL_HOSTS"]):
        return _problem(HTTPStatus.FORBIDDEN, "host_not_allowed", "controls answer loopback hosts only")
    if request.method == "POST" and not request.is_json:
        return _problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "json_needed", "send application/json")
    if request.method == "POST" and json_object(request.get_data()) is None:
        return _problem(HTTPStatus.BAD_REQUEST, "bad_json", "the body must be a JSON object")
    return None


controls.after_request(_no_store)


@controls.errorhandler(SettingsError)
def bad_settings(error: SettingsError) -> Response:
    """400 with the names there are."""
    return _problem(HTTPStatus.BAD_REQUEST, "bad_setting", str(error), known=error.known)


@controls.errorhandler(ValueError)
@controls.errorhandler(UnknownNameError)
def bad_request(error: Exception) -> Response:
    """400 with what was wrong."""
    return _problem(HTTPStatus.BAD_REQUEST, "bad_request", str(error))


@controls.get("/")
def people_page() -> Response:
    """What this is, for people."""
    return page.render(_sandbox().state(), request)


@controls.get("/page.css")
def page_style() -> Response:
    """The page's style."""
    return _file("pages/page.css", "text/css; charset=utf-8")


@controls.get("/page.js")
def page_script() -> Response:
    """The page's script."""
    return _file("pages/page.js", JAVASCRIPT)


@controls.get("/state")
def state() -> Response:
    """Settings, accounts, counters."""
    return jsonify(_sandbox().state())


@controls.get("/requests")
def requests() -> Response:
    """The calls seen."""
    return jsonify({"requests": _sandbox().requests()})


@controls.post("/reset")
def reset() -> Response:
    """Back to the start."""
    _sandbox().reset()
    return jsonify({"ok": True})


@controls.post("/settings")
def change_settings() -> Response:
    """Changes some settings."""
    return jsonify({"settings": _sandbox().change(_fields())})


@controls.post("/faults")
def add_fault() -> Response:
    """Queues a fault."""
    return jsonify({"faults": _sandbox().add_fault(parse_fault(_fields()))})


@controls.post("/faults/clear")
def clear_faults() -> Response:
    """Empties the queue."""
    _sandbox().clear_faults()
    return jsonify({"faults": []})


@controls.post("/rotate")
def rotate() -> Response:
    """Another system fetched."""
    _sandbox().rotate(*_named())
    return jsonify({"ok": True})


@controls.post("/kill")
def kill() -> Response:
    """The current value dies."""
    _sandbox().kill(*_named())
    return jsonify({"ok": True})


@controls.post("/clock")
def move_clock() -> Response:
    """Moves the clock."""
    seconds = bounded(_fields().get("advance_seconds"), -BILLION, BILLION)
    return jsonify({"now": _sandbox().advance(seconds)})


@controls.post("/verify")
def verify_signature() -> Response:
    """Would WeChat accept this signature now?"""
    verdict = _sandbox().verify(signed_from(_fields(), SIGNED_AS_GIVEN))
    answer = {"ok": verdict.ok, "err_msg": verdict.err_msg, "matched": verdict.matched}
    return jsonify(answer | {"detail": verdict.detail()})


@controls.post("/verify_many")
def verify_signatures() -> Response:
    """Would WeChat have accepted each of these `signatures`, at its moment `at`?"""
    entries = _fields().get("signatures")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("signatures must be a list of objects")
    return jsonify({"verdicts": [_verdict_then(entry) for entry in entries]})


def _verdict_then(entry: dict[str, object]) -> dict[str, object]:
    at = bounded(entry.get("at"), 0, 10 * BILLION)
    verdict = _sandbox().verify(signed_from(entry, SIGNED_AS_GIVEN), at=at)
    return {"ok": verdict.ok, "err_msg": verdict.err_msg, "matched": verdict.matched}


@controls.post("/check_token")
def check_token() -> Response:
    """Is this token alive?"""
    return jsonify(_sandbox().check_token(str(_fields().get("access_token", ""))))


def _fields() -> dict[str, object]:
    return json_object(request.get_data()) or {}


def _named() -> tuple[str, str]:
    fields = _fields()
    return str(fields.get("appid", "")), str(fields.get("credential", ""))
