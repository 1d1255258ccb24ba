"""What a Redis store does inside Redis: one short Lua script an operation, so that each is atomic and one round trip.

`ARGV[1]` is the moment, empty for Redis's own clock; every answer begins with the moment that counted. Numbers travel as
text: Lua's doubles hold our milliseconds exactly, but an answer would cut their fractions, and print long ones as 1e+12.
The logic goes by `ends_at`, as in every store; PEXPIRE only sweeps what nobody reads any more.
`ARGV[2]` is 1 where the connection broke and the script may have run already: it answers then as it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

from wxsign.stores.base import (
    CENTURY_SECONDS,
    FIRST_UNREADABLE_SCHEMA,
    HIGHEST_SCHEMA,
    LONGEST_NOTE_SECONDS,
    MAX_BYTES,
    MAX_USED,
    NUMBERS_AHEAD,
)

_PRELUDE: Final = f"""
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local again = ARGV[2] == '1'
local function text(number) return string.format('%.17g', number) end
local function whole(number) return string.format('%.0f', number) end
local highest_number = math.floor(now * 1000) + {NUMBERS_AHEAD}
local function is_number(value, low, high) return type(value) == 'number' and value >= low and value <= high end
local function is_whole(value, low, high) return is_number(value, low, high) and value % 1 == 0 end
-- The number that a text says, or 0.
local function number(value, high)
  local read = tonumber(value)
  return is_whole(read, 0, high) and read or 0
end
-- A key that holds something of another type counts as missing; every other trouble is raised.
local function ask(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if not string.find(answer.err, 'WRONGTYPE', 1, true) then error(answer.err, 0) end
end
local function ask_to_write(key, command, ...)
  local answer = ask(command, key, ...)
  if answer == nil then redis.call('DEL', key) end
  return answer or {{}}
end
"""

# The version that a record must exceed: -1 where there is none, infinity where it may not. What the asker has found to be
# no record is none, by its SHA-1: cjson reads other texts than Python, and what it alone takes for one would stand for ever.
# MGET, not GET: a key that holds something else counts as empty instead of failing.
_TO_BEAT: Final = f"""
local function to_beat(stored, unreadable)
  if not stored or #stored > {MAX_BYTES} or redis.sha1hex(stored) == unreadable then return -1 end
  local read, record = pcall(cjson.decode, stored)
  if not read or type(record) ~= 'table' then return -1 end
  if is_whole(record.schema, {FIRST_UNREADABLE_SCHEMA}, {HIGHEST_SCHEMA}) then return math.huge end
  return is_whole(record.version, 0, highest_number) and record.version or -1
end
"""


_RELEASE: Final = """
local function release(key, number, holder)
  local lease = ask('HMGET', key, 'number', 'holder')
  if lease and lease[1] == number and lease[2] == holder then redis.call('HSET', key, 'ends_at', '0') end
end
"""

_RECORD_EVENT: Final = """
local function record_event(key, event, kept)
  local last = ask_to_write(key, 'LRANGE', -8, -1)
  for _, standing in ipairs(again and last or {}) do
    local at, written = string.match(standing, '^(%S+) (.*)$')
    if written == event and (tonumber(at) or 0) > now - 10 then return end
  end
  redis.call('RPUSH', key, text(now) .. ' ' .. event)
  redis.call('LTRIM', key, -kept, -1)
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
GENERATION: Final = _script("return {text(now), whole(number(ask('GET', KEYS[1]), highest_number))}")

# KEYS: generation, and any number of records and notes → the generation, and their texts
VIEW: Final = _script(f"""
local generation = whole(number(ask('GET', KEYS[1]), highest_number))
table.remove(KEYS, 1)
local texts = #KEYS > 0 and redis.call('MGET', unpack(KEYS)) or {{}}
for index = 1, #KEYS do texts[index] = texts[index] and string.sub(texts[index], 1, {MAX_BYTES + 64}) end
return {{text(now), generation, texts}}
""")

# KEYS: record, generation, lease. ARGV: version, record, kept ms, SHA-1 of what is no record; number and holder of the lease
# to give back → 1 or 0
REPLACE: Final = _script(
    """
release(KEYS[3], ARGV[7], ARGV[8])
local stored = redis.call('MGET', KEYS[1])[1]
if tonumber(ARGV[3]) <= to_beat(stored, ARGV[6]) then
  return {text(now), again and stored == ARGV[4] and 1 or 0}
end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
local generation = number(ask('GET', KEYS[2]), highest_number)
redis.call('SET', KEYS[2], whole(math.max(generation + 1, math.floor(now * 1000))))
return {text(now), 1}
""",
    _TO_BEAT,
    _RELEASE,
)

# KEYS: lease, record. ARGV: holder, lease seconds, highest the asker knows, kept ms, request
# → number, 1 where the last holder never gave it back, when it was granted; nothing while it is held, unless by this very
# request, whose answer was lost. A released lease ends at 0.
ACQUIRE: Final = _script(
    """
local lease = ask_to_write(KEYS[1], 'HMGET', 'number', 'ends_at', 'request', 'lapsed')
local ends_at, length = tonumber(lease[2]) or 0, tonumber(ARGV[4])
if now < ends_at and ends_at <= now + length then
  if lease[3] ~= ARGV[7] then return {text(now)} end
  return {text(now), lease[1], tonumber(lease[4]), text(ends_at - length)}
end
local version = to_beat(redis.call('MGET', KEYS[2])[1])
if version > highest_number then version = -1 end
local granted = math.max(number(lease[1], highest_number), version, tonumber(ARGV[5])) + 1
granted = whole(math.max(granted, math.floor(now * 1000)))
local lapsed = ends_at > 0 and ends_at <= now + CENTURY and 1 or 0
redis.call('HSET', KEYS[1], 'number', granted, 'holder', ARGV[3], 'ends_at', text(now + length), 'request', ARGV[7],
  'lapsed', lapsed)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {text(now), granted, lapsed, text(now)}
""".replace("CENTURY", str(CENTURY_SECONDS)),
    _TO_BEAT,
)

# KEYS: lease. ARGV: number, holder
RELEASE: Final = _script("release(KEYS[1], ARGV[3], ARGV[4])\nreturn {text(now)}", _RELEASE)

# KEYS: note, events. ARGV: text, how many events are kept (0: it is none), lasts seconds, kept ms. Stored as "ends_at text".
NOTE: Final = _script(
    """
redis.call('SET', KEYS[1], text(now + tonumber(ARGV[5])) .. ' ' .. ARGV[3], 'PX', ARGV[6])
if tonumber(ARGV[4]) > 0 then record_event(KEYS[2], ARGV[3], ARGV[4]) end
return {text(now)}
""",
    _RECORD_EVENT,
)

# KEYS: a key of another system's, and the version of what stands there. ARGV: text, version, seconds
MIRROR: Final = _script("""
local standing = tonumber(redis.call('GET', KEYS[2]))
if redis.call('EXISTS', KEYS[1]) == 0 or not standing or standing <= tonumber(ARGV[4]) then
  redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[5])
  redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
end
return {text(now)}
""")

# KEYS: a key of another system's → its text, and the milliseconds until it ends, -1 where it does not; nothing where there is none
FOREIGN: Final = _script("""
local standing = redis.call('GET', KEYS[1])
if not standing then return {text(now)} end
return {text(now), standing, redis.call('PTTL', KEYS[1])}
""")

# KEYS: any number of notes and counters
ERASE: Final = _script("""
redis.call('DEL', unpack(KEYS))
return {text(now)}
""")

# KEYS: any number of counters. ARGV: request; for each counter limit, window seconds, kept ms → seconds until the last of
# the spent windows ends, 0 where all were granted. A request whose answer was lost is granted once: so it is where no
# other came between the two, always where the limit is 1.
TAKE: Final = _script(f"""
local wait, taken = 0, {{}}
for index, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[3 * index + 1]), tonumber(ARGV[3 * index + 2])
  local counter = ask_to_write(key, 'HMGET', 'used', 'ends_at', 'request')
  local used, ends_at = tonumber(counter[1]), tonumber(counter[2]) or 0
  -- A window ending further ahead than its length was opened before the clock stepped back.
  local open = is_whole(used, 0, {MAX_USED}) and now < ends_at and ends_at <= now + window
  if not open then used, ends_at = 0, now + window end
  if open and counter[3] == ARGV[3] then return {{text(now), '0'}} end
  if used >= limit then wait = math.max(wait, ends_at - now) end
  taken[index] = {{used + 1, ends_at}}
end
if wait > 0 then return {{text(now), text(wait)}} end
for index, key in ipairs(KEYS) do
  redis.call('HSET', key, 'used', whole(taken[index][1]), 'ends_at', text(taken[index][2]), 'request', ARGV[3])
  redis.call('PEXPIRE', key, ARGV[3 * index + 3])
end
return {{text(now), '0'}}
""")

# KEYS: any number of counters → how often each was used in its current window
USED: Final = _script(f"""
local counts = {{}}
for index, key in ipairs(KEYS) do
  local counter = ask('HMGET', key, 'used', 'ends_at') or {{}}
  local used = tonumber(counter[1])
  local lives = is_number(tonumber(counter[2]), now, now + {LONGEST_NOTE_SECONDS}) and now < tonumber(counter[2])
  counts[index] = lives and is_whole(used, 0, {MAX_USED}) and whole(used)
end
return {{text(now), counts}}
""")

# KEYS: events. ARGV: text, how many are kept. Stored as "time text".
RECORD_EVENT: Final = _script("record_event(KEYS[1], ARGV[3], ARGV[4])\nreturn {text(now)}", _RECORD_EVENT)

# KEYS: events. ARGV: how many → the last of them, oldest first
EVENTS: Final = _script("return {text(now), ask('LRANGE', KEYS[1], -ARGV[3], -1) or {}}")
