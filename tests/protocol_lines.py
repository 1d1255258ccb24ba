"""How one worker reaches the shared store and WeChat: line by line, with a stop at every step."""

from functools import partial

from broker_desk import PROBE_PATH, TICKET_PATH, TOKEN, TOKEN_PATH, refused
from protocol_wechat import ACTED_ON, FAULTS, Call, LeaseSeen

from wxsign.credentials import sort_of
from wxsign.errors import FailureScope, StoreUnavailable, WeChatError

# No two steps are made in the same millisecond.
STEP_SECONDS = 0.0011


class StoreLine:
    """The shared store as one worker reaches it."""

    def __init__(self, worker):
        self._worker, self._world = worker, worker.world

    def __repr__(self):
        return "StoreLine()"

    @property
    def schema_ahead(self):
        return None

    def now(self):
        if self._world.cut:
            raise StoreUnavailable("cut at now")
        return self._world.store.now()

    def __getattr__(self, name):
        return lambda *arguments, **named: self._step(name, arguments, named)

    def _step(self, name, arguments, named):
        world = self._world
        task = world.running
        asked_at = world.true
        world.stop(f"store.{name}")
        world.let_pass(STEP_SECONDS)
        if name == "release" and task:
            task.lease = None
        if world.cut:
            raise StoreUnavailable(f"cut at {name}")
        before = world.store.view(arguments[:1]).records if name == "replace" else {}
        result = getattr(world.store, name)(*arguments, **named)
        if name == "acquire" and result and task:
            task.lease = LeaseSeen(result.name, result.number, result.granted_at, world.epoch)
            world.longest_grant = max(world.longest_grant, world.true - asked_at)
        if name == "replace":
            world.judge_replaced(before.get(arguments[0]), *arguments[:2], done=result)
            if task and arguments[2:]:
                task.lease = None
        if world.losing_answers and name in {"replace", "acquire", "note", "take", "release"}:
            world.losing_answers -= 1
            world.epoch += 1
            raise StoreUnavailable(f"no answer to {name}")
        return result


class UpstreamLine:
    """WeChat as one worker reaches it."""

    def __init__(self, worker):
        self._worker, self._world = worker, worker.world

    def secret_fingerprint(self, key):
        return f"fingerprint-of-{key.app_id}"

    def fetch(self, key, *, access_token, force, attempt):
        wechat = self._world.wechat
        if sort_of(key).needs is not None:
            take = partial(self._with, access_token, TICKET_PATH, wechat.take_ticket)
            return self._call(key, "ticket", TICKET_PATH, take, used=access_token)
        stable = key.endpoint == TOKEN.endpoint
        take = partial(wechat.take_stable, force=force) if stable else wechat.take_classic
        return self._call(key, "force" if force else "token", TOKEN_PATH, take)

    def probe(self, key, access_token, *, attempt):
        take = partial(self._with, access_token, PROBE_PATH, lambda: None)
        self._call(key, "probe", PROBE_PATH, take, used=access_token)

    def _with(self, token, path, take):
        if not self._world.wechat.alive(token):
            raise refused(40001, path)
        return take()

    def _call(self, key, what, path, take, *, used=""):
        world, wechat = self._world, self._world.wechat
        lease = world.running.lease
        lease = lease if lease and lease.name == key.name else None
        call = Call(key, what, self._worker, world.true, lease, used=used)
        world.judge_call(call)
        wechat.calls.append(call)
        wechat.in_flight.append(call)
        try:
            world.stop("wechat, question")
            granted = self._answer(call, path, take)
            call.outcome = "answered"
        except WeChatError as error:
            call.outcome = error.code
            if error.scope is FailureScope.STALE_TOKEN:
                wechat.refused.add(used)
            raise
        finally:
            wechat.in_flight.remove(call)
            call.ended_at = world.true
        if granted is not None:
            wechat.believed(granted, world.true)
        return granted

    def _answer(self, call, path, take):
        faults = self._world.wechat.faults
        fits = [fault for fault in faults if fault != "stale" or call.used]
        fault = fits[0] if fits else None
        if fault:
            faults.remove(fault)
        granted = take() if fault is None or fault in ACTED_ON else None
        self._world.stop("wechat, answer")
        if fault:
            raise FAULTS[fault](path)
        return granted
