"""The controls of a sandbox, below /sandbox/: for people and tests of this machine."""

from dataclasses import asdict
from http import HTTPStatus

from flask import Blueprint, Response, current_app, jsonify, request

from wxsign.sandbox import page
from wxsign.sandbox.checks import json_object
from wxsign.sandbox.faults import parse_fault
from wxsign.sandbox.happenings import happening_named, happenings, play
from wxsign.sandbox.hosts import control_host_allowed
from wxsign.sandbox.judging import remarks_on
from wxsign.sandbox.settings import BILLION, SettingsError, bounded
from wxsign.sandbox.state import UnknownNameError
from wxsign.sandbox.verification import SIGNED_AS_GIVEN, signed_from
from wxsign.sandbox.web import JAVASCRIPT, fields, file, no_store, problem, sandbox, style

controls = Blueprint("controls", __name__, url_prefix="/sandbox")


@controls.before_request
def check_controls() -> Response | None:
    """Controls are for people and tests of this machine: Host checked, POST only as JSON (a form cannot send it)."""
    if not control_host_allowed(request.host, current_app.config["SANDBOX_CONTROL_HOSTS"]):
        return problem(HTTPStatus.FORBIDDEN, "host_not_allowed", "controls answer loopback hosts only")
    if request.method == "POST" and not request.is_json:
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "json_needed", "send application/json")
    if request.method == "POST" and json_object(request.get_data()) is None:
        return problem(HTTPStatus.BAD_REQUEST, "bad_json", "the body must be a JSON object")
    return None


controls.after_request(no_store)


@controls.errorhandler(SettingsError)
def bad_settings(error: SettingsError) -> Response:
    """400 with the names there are."""
    return problem(HTTPStatus.BAD_REQUEST, "bad_setting", str(error), known=error.known)


@controls.errorhandler(ValueError)
@controls.errorhandler(UnknownNameError)
def bad_request(error: Exception) -> Response:
    """400 with what was wrong."""
    return problem(HTTPStatus.BAD_REQUEST, "bad_request", str(error))


@controls.get("/")
def people_page() -> Response:
    """What this is, for people."""
    return page.render(sandbox().state(), request)


@controls.get("/phone")
def phone_page() -> Response:
    """A phone around a page of one's own."""
    return page.phone(request)


@controls.get("/phone.js")
def phone_script() -> Response:
    """The phone's script."""
    return file("pages/phone.js", JAVASCRIPT)


@controls.get("/page.css")
def page_style() -> Response:
    """The style of all pages, the service's too."""
    return no_store(Response(style(), content_type="text/css; charset=utf-8"))


@controls.get("/page.js")
def page_script() -> Response:
    """The page's script."""
    return file("pages/page.js", JAVASCRIPT)


@controls.get("/state")
def state() -> Response:
    """Settings, accounts, counters."""
    return jsonify(sandbox().state())


@controls.get("/requests")
def requests() -> Response:
    """The calls seen, and what is to be said of them."""
    visits = sandbox().visits()
    told = [asdict(remark) for remark in remarks_on(visits)]
    return jsonify({"requests": [asdict(visit) for visit in visits], "remarks": told})


@controls.post("/reset")
def reset() -> Response:
    """Back to the start."""
    sandbox().reset()
    return jsonify({"ok": True})


@controls.post("/settings")
def change_settings() -> Response:
    """Changes some settings."""
    return jsonify({"settings": sandbox().change(fields())})


@controls.post("/faults")
def add_fault() -> Response:
    """Queues a fault."""
    return jsonify({"faults": sandbox().add_fault(parse_fault(fields()))})


@controls.post("/faults/clear")
def clear_faults() -> Response:
    """Empties the queue."""
    sandbox().clear_faults()
    return jsonify({"faults": []})


@controls.get("/happenings")
def known_happenings() -> Response:
    """What `trigger` knows."""
    return jsonify({"happenings": [asdict(each) for each in happenings().values()]})


@controls.post("/trigger")
def trigger() -> Response:
    """Lets a happening happen: by the name of a `happening`, or by `steps` of the caller's own; to `appid` or to the first account."""
    given = fields()
    steps = given["steps"] if "steps" in given else happening_named(given.get("happening")).steps
    return jsonify({"appid": play(sandbox(), steps, str(given.get("appid", "")))})


@controls.post("/verdicts/take")
def take_verdicts() -> Response:
    """The verdicts on pages since the last time, for tests that wait for the next one."""
    return jsonify({"verdicts": sandbox().take_verdicts()})


@controls.post("/rotate")
def rotate() -> Response:
    """Another system fetched."""
    sandbox().rotate(*_named())
    return jsonify({"ok": True})


@controls.post("/kill")
def kill() -> Response:
    """The current value dies."""
    sandbox().kill(*_named())
    return jsonify({"ok": True})


@controls.post("/clock")
def move_clock() -> Response:
    """Moves the clock."""
    seconds = bounded(fields().get("advance_seconds"), -BILLION, BILLION)
    return jsonify({"now": sandbox().advance(seconds)})


@controls.post("/verify")
def verify_signature() -> Response:
    """Would WeChat accept this signature now?"""
    verdict = sandbox().verify(signed_from(fields(), SIGNED_AS_GIVEN))
    answer = {"ok": verdict.ok, "err_msg": verdict.err_msg, "matched": verdict.matched}
    return jsonify(answer | {"detail": verdict.detail()})


@controls.post("/verify_many")
def verify_signatures() -> Response:
    """Would WeChat have accepted each of these `signatures`, at its moment `at`?"""
    entries = fields().get("signatures")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("signatures must be a list of objects")
    return jsonify({"verdicts": [_verdict_then(entry) for entry in entries]})


def _verdict_then(entry: dict[str, object]) -> dict[str, object]:
    at = bounded(entry.get("at"), 0, 10 * BILLION)
    verdict = sandbox().verify(signed_from(entry, SIGNED_AS_GIVEN), at=at)
    return {"ok": verdict.ok, "err_msg": verdict.err_msg, "matched": verdict.matched}


@controls.post("/check_token")
def check_token() -> Response:
    """Is this token alive?"""
    return jsonify(sandbox().check_token(str(fields().get("access_token", ""))))


def _named() -> tuple[str, str]:
    given = fields()
    return str(given.get("appid", "")), str(given.get("credential", ""))
