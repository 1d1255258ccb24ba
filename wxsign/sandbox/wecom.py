"""What WeCom's server answers (企业微信, qyapi.weixin.qq.com): an app's token, its corporation's ticket and its own.

Rules: developer.work.weixin.qq.com, path/91039 (the same token inside its life) and path/96909 (tickets). A token of an
Official Account opens nothing here, nor the reverse.
"""

from wxsign.sandbox.checks import (
    Answer,
    ApiCall,
    RefusedError,
    World,
    by_token,
    check_address_and_quota,
    need_method,
    same,
)
from wxsign.sandbox.credentials import Account


def gettoken(world: World, call: ApiCall) -> Answer:
    """The token of the app with this Secret: the same one until its end."""
    need_method(call, "GET", 43001)
    for name, errcode in (("corpid", 41002), ("corpsecret", 41004)):
        if not call.query.get(name):
            raise RefusedError(errcode)
    if not agents_of(world, call.query["corpid"]):
        raise RefusedError(40013)
    account = next(iter(agents_with_secret(world, call)), None)
    if account is None:
        raise RefusedError(40001)
    check_address_and_quota(world, call, account)
    settings, line = world.settings, account.classic
    token = line.current
    # An answer of less than a second would be `expires_in: 0`.
    rotated = token is None or not token.alive(world.now) or token.expires_at - world.now < 1
    if token is None or rotated:
        token = line.issue(world.now, settings.token_life_seconds, settings.overlap_seconds)
    told = {"access_token": token.value, "expires_in": int(token.expires_at - world.now)}
    return Answer({"errcode": 0, "errmsg": "ok", **told}, rotated=rotated)


def get_jsapi_ticket(world: World, call: ApiCall) -> Answer:
    """The corporation's ticket, for wx.config."""
    return _ticket(world, by_token(world, call, of_wecom=True), "jsapi")


def agent_ticket(world: World, call: ApiCall) -> Answer:
    """The app's own ticket, for wx.agentConfig."""
    account = by_token(world, call, of_wecom=True)
    if call.query.get("type") != "agent_config":
        raise RefusedError(40097)
    return _ticket(world, account, "agent_config")


def agents_of(world: World, corp_id: str) -> list[Account]:
    """The apps of a corporation."""
    return [
        account for account in world.accounts.values() if account.of_wecom and account.shown_appid == corp_id
    ]


def agents_with_secret(world: World, call: ApiCall) -> list[Account]:
    """The app of the corporation that a call names by corpid and Secret."""
    given = call.query.get("corpsecret", "")
    return [agent for agent in agents_of(world, call.query.get("corpid", "")) if same(given, agent.secret)]


def _ticket(world: World, account: Account, kind: str) -> Answer:
    ticket, rotated = account.tickets[kind].fetch(world.now, world.settings)
    body = {"errcode": 0, "errmsg": "ok", "ticket": ticket.value, "expires_in": int(ticket.life_seconds)}
    return Answer(body, rotated=rotated)
