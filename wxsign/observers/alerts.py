"""Alerts: a message to a group's robot when a fault begins and when it is over, and a ping while refreshes succeed.

Nothing waits for them: messages go out in a thread of their own, and one that cannot be sent is logged without its address,
which is a secret.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wxsign.broker import Outcome, RefreshEvent
from wxsign.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.broker import Adopted
    from wxsign.observers.faults import Fault, Told
    from wxsign.settings import AlertSettings

logger = logging.getLogger("wxsign.alerts")

POST_SECONDS: Final = 5.0
# Robots take twenty messages a minute (WeCom, DingTalk): what waits is sent together.
GAP_SECONDS: Final = 3.0
TRIES: Final = 4
PING_SECONDS: Final = 30.0
WAITING: Final = 200
FAULTS_A_MESSAGE: Final = 8
# WeCom's robot takes 2048 bytes of text, the others more.
MESSAGE_BYTES: Final = 1900
ANSWER_BYTES: Final = 4096

Post = Callable[[str, bytes | None], bytes]
"""Sends a body to an address, or just asks for it where there is no body. Raises `OSError`, `ValueError`."""


def post(url: str, body: bytes | None) -> bytes:
    """Send `body` as JSON and return the beginning of the answer; see `Post`."""
    headers = {"Content-Type": "application/json", "User-Agent": "wxsign"}
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=POST_SECONDS) as answer:
        return bytes(answer.read(ANSWER_BYTES))


def _message(word: str) -> Callable[[str, Told], dict[str, Any]]:
    return lambda text, _told: {word: "text", "text" if word == "msgtype" else "content": {_KEYS[word]: text}}


_KEYS: Final = {"msgtype": "content", "msg_type": "text"}
# WeCom: developer.work.weixin.qq.com/document/path/91770; DingTalk: open.dingtalk.com, custom robots; Feishu: open.feishu.cn,
# custom bots; Slack: api.slack.com/messaging/webhooks.
FORMATS: Final[dict[str, Callable[[str, Told], dict[str, Any]]]] = {
    "wecom": _message("msgtype"),
    "dingtalk": _message("msgtype"),
    "feishu": _message("msg_type"),
    "slack": lambda text, _told: {"text": text},
    "json": lambda text, told: {
        "text": text,
        "begun": [_record(fault) for fault in told[0]],
        "over": [_record(fault) for fault in told[1]],
    },
}


class AlertRefusedError(Exception):
    """The robot answered, and did not take the message; the text is its own."""


def send(settings: AlertSettings, text: str, told: Told, post: Post = post) -> None:
    """Send one message. Raises `AlertRefusedError`, `OSError`, `ValueError`."""
    body = FORMATS[settings.kind](text, told)
    answer = post(settings.webhook, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    if settings.kind in {"wecom", "dingtalk", "feishu"}:
        # They answer 200 whatever they think of a message.
        read = json.loads(answer)
        code = read.get("errcode", read.get("code", 0)) if isinstance(read, dict) else -1
        if code != 0:
            raise AlertRefusedError(
                str(read.get("errmsg", read.get("msg", "")) if code != -1 else read)[:200]
            )


def text_of(told: Told, language: str) -> str:
    """The message for people; it begins with `wxsign`, for DingTalk's robots ask for a word that they know."""
    begun, over = told
    lines = [line for fault in begun[:FAULTS_A_MESSAGE] for line in _begun_lines(fault, language)]
    lines += [_over_line(fault, language) for fault in over[:FAULTS_A_MESSAGE]]
    more = sum(max(0, len(faults) - FAULTS_A_MESSAGE) for faults in told)
    if more:
        lines.append(
            Text(f"… and {more} more: `wxsign status`", f"…… 另有 {more} 条：`wxsign status`").in_language(
                language
            )
        )
    # A cut inside a character leaves none of it.
    return "\n".join(lines).encode()[:MESSAGE_BYTES].decode(errors="ignore")


def _begun_lines(fault: Fault, language: str) -> Iterator[str]:
    yield f"[wxsign] {_whom(fault, language)}{fault.message.in_language(language)}"
    yield fault.hint.in_language(language)
    since = _clock(fault.since)
    yield Text(f"since {since} ({fault.code})", f"始于 {since}（{fault.code}）").in_language(language)


def _over_line(fault: Fault, language: str) -> str:
    since, until = _clock(fault.since), _clock(fault.until or 0)
    over = Text(f"Over ({since} to {until}): ", f"已恢复（{since} 至 {until}）：").in_language(language)
    return f"[wxsign] {over}{_whom(fault, language)}{fault.message.in_language(language)}"


def _whom(fault: Fault, language: str) -> str:
    more = len(fault.accounts) - len(fault.named)
    names = [*fault.named, *([f"+{more}"] if more else []), *([fault.machine] if fault.machine else [])]
    return f"{', '.join(names)}{'：' if language == 'zh' else ': '}" if names else ""


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _record(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "accounts": list(fault.named),
        "account_count": len(fault.accounts),
        "machine": fault.machine,
        "message": {"en": fault.message.en, "zh": fault.message.zh},
        "hint": {"en": fault.hint.en, "zh": fault.hint.zh},
        "since": int(fault.since),
        "until": None if fault.until is None else int(fault.until),
    }


class Alerts:
    """Sends what it is told, in order, in one thread at a time; `sleep` and the boot clock count in seconds."""

    def __init__(
        self,
        settings: AlertSettings,
        *,
        post: Post = post,
        sleep: Callable[[float], object] = time.sleep,
        boot_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._post = post
        self._sleep = sleep
        self._boot = boot_clock
        self._lock = threading.Lock()
        self._waiting: deque[Told] = deque(maxlen=WAITING)
        self._running = False
        self._ping_due = False
        self._next_ping = float("-inf")

    def tell(self, told: Told) -> None:
        """Send a message about faults that began or ended."""
        if self._settings.webhook:
            self._waiting.append(told)
            self._start()

    def ping(self, event: RefreshEvent | Adopted) -> None:
        """Ask for `ping_url` after a good refresh, at most twice a minute: a service that misses it raises the alarm."""
        if not self._settings.ping_url or not isinstance(event, RefreshEvent):
            return
        if event.outcome in {Outcome.REFRESHED, Outcome.UNCHANGED} and self._boot() >= self._next_ping:
            self._next_ping = self._boot() + PING_SECONDS
            self._ping_due = True
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._running:
                return
            self._running = True
        try:
            threading.Thread(target=self._run, name="wxsign-alerts", daemon=True).start()
        except RuntimeError:
            # No thread to be had: the next one sends what waits.
            self._running = False
            logger.exception("wxsign.no_thread")

    def _run(self) -> None:
        while True:
            if self._ping_due:
                self._ping_due = False
                self._try("ping", lambda: self._post(self._settings.ping_url, None))
            if self._waiting:
                told = self._all_that_waits()
                text = text_of(told, self._settings.language)
                self._patiently(lambda: send(self._settings, text, told, self._post))  # noqa: B023 - called at once
                self._sleep(GAP_SECONDS)
            with self._lock:
                if not self._waiting and not self._ping_due:
                    self._running = False
                    return

    def _all_that_waits(self) -> Told:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        begun = tuple(fault for some, _ in taken for fault in some)
        return begun, tuple(fault for _, some in taken for fault in some)

    def _patiently(self, work: Callable[[], object]) -> None:
        for number in range(TRIES):
            if self._try("webhook", work):
                return
            self._sleep(GAP_SECONDS * 2**number)

    def _try(self, what: str, work: Callable[[], object]) -> bool:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the address is in some of them, and whatever it is must end here
            reason = str(error) if isinstance(error, AlertRefusedError) else type(error).__name__
            logger.warning("wxsign.alert_failed", extra={"fields": {"what": what, "reason": reason}})
            return False
        return True
