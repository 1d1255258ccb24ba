"""What one answer of /jsconfig costs inside the process, without any server around it."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from wxsign.accounts import HostRule, OfficialAccount
from wxsign.http.jsconfig import JsConfigLayer
from wxsign.service import WxSign
from wxsign.settings import Settings
from wxsign.stores import MemoryStore
from wxsign.wechat import Granted, WeChatClient

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

_BATCH, _BATCHES = 2000, 15


class _Constant(WeChatClient):
    """A WeChat that is asked once and answers at once."""

    def stable_token(
        self, app_id: str, secret: str, *, force_refresh: bool = False, attempt: int = 0
    ) -> Granted:
        del app_id, secret, force_refresh, attempt
        return Granted("t" * 128, 7200)

    def ticket(self, access_token: str, ticket_type: str = "jsapi", *, attempt: int = 0) -> Granted:
        del access_token, ticket_type, attempt
        return Granted("k" * 86, 7200)


def microseconds(page: str, query: str) -> float:
    """The CPU time of one answer to a page, in microseconds: the least of some batches, which others disturbed least."""
    account = OfficialAccount("default", "wx0123456789abcdef", "0" * 32, (HostRule.parse(_host_of(page)),))
    service = WxSign(
        Settings((account,), store="memory:"),
        client=_Constant(),
        open_store=lambda _url: MemoryStore(time.time),
    )
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/jsconfig",
        "QUERY_STRING": query,
        "HTTP_ORIGIN": page[: page.index("/", 8)],
        "HTTP_ACCEPT_LANGUAGE": "zh-CN,zh;q=0.9",
        "REMOTE_ADDR": "127.0.0.1",
    }
    with closing(_Stopping(service)):
        layer = JsConfigLayer(_nothing, service)
        b"".join(layer(dict(environ), _start_response))
        return min(_batch(layer, environ) for _ in range(_BATCHES)) * 1e6


class _Stopping:
    def __init__(self, service: WxSign) -> None:
        self.close = service.stop


def _host_of(page: str) -> str:
    return page[8 : page.index("/", 8)]


def _batch(layer: JsConfigLayer, environ: WSGIEnvironment) -> float:
    began = time.process_time()
    for _ in range(_BATCH):
        layer(dict(environ), _start_response)
    return (time.process_time() - began) / _BATCH


def _nothing(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    return ()


def _start_response(_status: str, _headers: Any, _error: Any = None) -> Any:  # noqa: ANN401 - WSGI's signature
    return None
