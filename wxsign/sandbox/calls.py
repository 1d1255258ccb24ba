"""WeChat's paths: the calls of its API, with the faults that wait for them, and the log-in of a page's visitor."""

from http import HTTPStatus

from flask import Blueprint, Response, render_template, request

from wxsign.sandbox.checks import Answer, ApiCall
from wxsign.sandbox.faults import WIRE, Reply, play, reply_with, wait
from wxsign.sandbox.logins import PROBLEMS, LoginError
from wxsign.sandbox.state import Sandbox, Stay
from wxsign.sandbox.web import no_store, sandbox

wechat = Blueprint("wechat", __name__, url_prefix="/cgi-bin")
sns = Blueprint("sns", __name__, url_prefix="/sns")
visitors = Blueprint("visitors", __name__, url_prefix="/connect")


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
@sns.route("/oauth2/access_token", methods=["GET", "POST"], endpoint="sns_access_token")
@sns.route("/oauth2/refresh_token", methods=["GET", "POST"], endpoint="sns_refresh_token")
@sns.route("/userinfo", methods=["GET", "POST"], endpoint="sns_userinfo")
@sns.route("/auth", methods=["GET", "POST"], endpoint="sns_auth")
def api_call() -> Response:
    """One call of WeChat's API, with whatever fault waits for it."""
    state, call = sandbox(), _call()
    stay = state.arrive(call)
    try:
        return _serve(state, call, stay)
    finally:
        state.leave(stay)


@wechat.route("/<path:_>", methods=["GET", "POST"])
def unknown_api(_: str) -> Response:
    """A path that this sandbox does not have."""
    return _sent(reply_with(None, sandbox().unknown_path(request.remote_addr or "")))


def _call() -> ApiCall:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    remote_addr = request.remote_addr or "127.0.0.1"
    agent = request.headers.get("User-Agent", "")
    return ApiCall(endpoint, request.method, request.args.to_dict(), request.get_data(), remote_addr, agent)


def _serve(state: Sandbox, call: ApiCall, stay: Stay) -> Response:
    connection, fault = request.environ.get("werkzeug.socket"), stay.fault
    wait(stay.latency_seconds, connection, stay.released)
    if stay.released.is_set():
        raise ConnectionAbortedError("a call of the time before a reset must not touch the new state")
    answer = _answer(state, call, stay)
    reply = reply_with(fault, answer)
    stay.visit.rotated = answer.rotated
    if fault is not None and fault.kind in WIRE:
        play(fault, reply, connection, stay.released)
    stay.visit.status, stay.visit.errcode = reply.status, answer.errcode
    return _sent(reply)


def _answer(state: Sandbox, call: ApiCall, stay: Stay) -> Answer:
    fault = stay.fault
    answer = state.answer(call) if fault is None or fault.lets_wechat_work() else Answer({})
    if fault is not None and fault.kind == "errcode":
        return state.refuse(fault, call)
    return answer


def _sent(reply: Reply) -> Response:
    return Response(reply.body, status=reply.status, content_type=reply.content_type)


@visitors.get("/oauth2/authorize")
def authorize() -> Response:
    """Sends the visitor back with a code, without asking: WeChat asks for snsapi_userinfo only."""
    try:
        target = sandbox().authorize(request.args)
    except LoginError as refused:
        english, chinese = PROBLEMS[refused.number]
        html = render_template("login.html", number=refused.number, english=english, chinese=chinese)
        return no_store(Response(html, headers={"Content-Security-Policy": "default-src 'none'"}))
    response = no_store(Response(status=HTTPStatus.FOUND))
    response.headers["Location"] = target
    return response
