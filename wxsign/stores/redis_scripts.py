"""What a Redis store does inside Redis: one short Lua script an operation, so that each is atomic and one round trip.

`ARGV[1]` is the moment, empty for Redis's own clock; every answer begins with the moment that counted. Numbers travel as
text: Lua's doubles hold our milliseconds exactly, but an answer would cut their fractions, and print long ones as 1e+12.
The logic goes by `ends_at`, as in every store; PEXPIRE only sweeps what nobody reads any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

_PRELUDE: Final = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local function text(number) return string.format('%.17g', number) end
local function whole(number) return string.format('%.0f', number) end
"""

# MGET, not GET: a key that holds something else counts as empty instead of failing.
_STANDING: Final = """
local function standing(key)
  local read, record = pcall(cjson.decode, redis.call('MGET', key)[1] or '')
  if not read or type(record) ~= 'table' then return 0, 0 end
  return tonumber(record.version) or 0, tonumber(record.schema) or 0
end
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the SHA-1 under which Redis remembers it."""

    lua: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.lua.encode(), usedforsecurity=False).hexdigest())


def _script(body: str, *before: str) -> Script:
    return Script("".join((_PRELUDE, *before, body)).strip())


# KEYS: generation → its number
GENERATION: Final = _script("return {text(now), redis.call('GET', KEYS[1]) or '0'}")

# KEYS: any number of records or notes → their texts
LOAD: Final = _script("return {text(now), redis.call('MGET', unpack(KEYS))}")

# KEYS: record, generation. ARGV: version, record, first unreadable schema, kept ms → 1 or 0
REPLACE: Final = _script(
    """
local version, schema = standing(KEYS[1])
if version >= tonumber(ARGV[2]) or schema >= tonumber(ARGV[4]) then return {text(now), 0} end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])
local generation = tonumber(redis.call('GET', KEYS[2]) or 0)
redis.call('SET', KEYS[2], whole(math.max(generation + 1, math.floor(now * 1000))))
return {text(now), 1}
""",
    _STANDING,
)

# KEYS: lease, record. ARGV: holder, lease seconds, highest the asker knows, kept ms
# → number, and 1 where the last holder never gave it back; nothing while it is held. A released lease ends at 0.
ACQUIRE: Final = _script(
    """
local lease = redis.call('HMGET', KEYS[1], 'number', 'ends_at')
local ends_at, length = tonumber(lease[2] or 0), tonumber(ARGV[3])
if now < ends_at and ends_at <= now + length then return {text(now)} end
local version = standing(KEYS[2])
local number = math.max(tonumber(lease[1] or 0), version, tonumber(ARGV[4])) + 1
number = whole(math.max(number, math.floor(now * 1000)))
redis.call('HSET', KEYS[1], 'number', number, 'holder', ARGV[2], 'ends_at', text(now + length))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {text(now), number, ends_at > 0 and 1 or 0}
""",
    _STANDING,
)

# KEYS: lease. ARGV: number, holder
RELEASE: Final = _script("""
local lease = redis.call('HMGET', KEYS[1], 'number', 'holder')
if lease[1] == ARGV[2] and lease[2] == ARGV[3] then redis.call('HSET', KEYS[1], 'ends_at', '0') end
return {text(now)}
""")

# KEYS: note. ARGV: text, lasts seconds, kept ms. Stored as "ends_at text".
NOTE: Final = _script("""
redis.call('SET', KEYS[1], text(now + tonumber(ARGV[3])) .. ' ' .. ARGV[2], 'PX', ARGV[4])
return {text(now)}
""")

# KEYS: any number of notes
ERASE: Final = _script("""
redis.call('DEL', unpack(KEYS))
return {text(now)}
""")

# KEYS: counter. ARGV: limit, window seconds, kept ms → seconds until the window ends, 0 where granted
TAKE: Final = _script("""
local counter = redis.call('HMGET', KEYS[1], 'used', 'ends_at')
local used, ends_at, window = tonumber(counter[1] or 0), tonumber(counter[2] or 0), tonumber(ARGV[3])
-- A window ending further ahead than its length was opened before the clock stepped back.
if now >= ends_at or ends_at > now + window then used, ends_at = 0, now + window end
if used >= tonumber(ARGV[2]) then return {text(now), text(ends_at - now)} end
redis.call('HSET', KEYS[1], 'used', used + 1, 'ends_at', text(ends_at))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {text(now), '0'}
""")

# KEYS: any number of counters → how often each was used in its current window
USED: Final = _script("""
local used = {}
for index, key in ipairs(KEYS) do
  local counter = redis.call('HMGET', key, 'used', 'ends_at')
  used[index] = now < tonumber(counter[2] or 0) and counter[1]
end
return {text(now), used}
""")

# KEYS: events. ARGV: text, how many are kept. Stored as "time text".
RECORD_EVENT: Final = _script("""
redis.call('RPUSH', KEYS[1], text(now) .. ' ' .. ARGV[2])
redis.call('LTRIM', KEYS[1], -ARGV[3], -1)
return {text(now)}
""")

# KEYS: events → all of them, oldest first
EVENTS: Final = _script("return {text(now), redis.call('LRANGE', KEYS[1], 0, -1)}")
