"""The projection in Redis: its keys, and the scripts that write it and switch to a new one.

| key | type | what |
|---|---|---|
| ``{prefix}members`` | hash | member id -> the last ``member_update``, JSON as in its topic |
| ``{prefix}anonymous`` | hash | the same of anonymous ids, linked or not |
| ``{prefix}index:stage:{stage}`` | sorted set | member ids by when they entered it (epoch ms) |
| ``{prefix}index:risk`` | sorted set | ids of members awake by their smoothed churn probability |
| ``{prefix}projected`` | hash | partition (``topic/7``) -> the offset that is to be written next |
| ``{prefix}rebuilt`` | string | when the rebuild began that all this is from; missing if none was |

A member that is gone or erased is in none of them. All but the last is a generation;
the one that is being made beside the live one has ``next:`` behind the prefix.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from agents.members import ANONYMOUS_UPDATE
from agents.serving_ports import Documents, Places
from models.lifecycle import ASLEEP
from models.stages import STAGES

INDEX_BOUND = 100_000
"""How many members an index lists: of a stage those who came last, of risk the riskiest. A page
shows fifty, a campaign takes some thousands; more than this is read from the topic. An entry takes
about 100 bytes, so that all indexes together stay below 100 MB however many members there are."""

Argument: TypeAlias = bytes | str | int | float

# Runs as one and is logged as one: no document is ever there without the places that go with it,
# and whether something was lost is decided in the instant of the writing.
# KEYS: projected, members, anonymous, risk, then a stage each. ARGV: places expected and reached,
# as JSON objects; the bound of an index; milliseconds to live, 0 for ever; then sections, each led
# by its length: fields and values of members, members that go, the same of anonymous ids, scores
# and ids of risk, ids without risk, ids without a stage, then scores and ids of each stage.
# Returns the hash of places as it was.
WRITE = """
local before, has = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #before, 2 do has[before[i]] = tonumber(before[i + 1]) end
for name, expected in pairs(cjson.decode(ARGV[1])) do
    if (has[name] or -1) ~= expected then return before end
end

local function each(command, key, list, first, last)
    for from = first, last, 4000 do  -- unpack takes below 8,000
        redis.call(command, key, unpack(list, from, math.min(from + 3999, last)))
    end
end

local at = 5
local function section()
    local first, last = at + 1, at + tonumber(ARGV[at])
    at = last + 1
    return first, last
end

local function listed(key, first, last)
    each('ZADD', key, ARGV, first, last)
    if first <= last then redis.call('ZREMRANGEBYRANK', key, 0, -1 - tonumber(ARGV[3])) end
end

for _, key in ipairs({KEYS[2], KEYS[3]}) do
    each('HSET', key, ARGV, section())
    each('HDEL', key, ARGV, section())
end
listed(KEYS[4], section())
each('ZREM', KEYS[4], ARGV, section())
local first, last = section()
for stage = 5, #KEYS do each('ZREM', KEYS[stage], ARGV, first, last) end
for stage = 5, #KEYS do
    first, last = section()
    local ids = {}
    for i = first + 1, last, 2 do ids[#ids + 1] = ARGV[i] end
    for other = 5, #KEYS do
        if other ~= stage then each('ZREM', KEYS[other], ids, 1, #ids) end
    end
    listed(KEYS[stage], first, last)
end

for name, reached in pairs(cjson.decode(ARGV[2])) do
    redis.call('HSET', KEYS[1], name, string.format('%.0f', reached))
end
if ARGV[4] ~= '0' then
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
end
return before
"""

# KEYS: where it is told which generation is live; then those of the live one and those of the next,
# in the same order, the hash of places first. ARGV: what the next one is called; the partitions in
# which it must not stand below the live one. Returns 1 when it is live, now or since an earlier
# call, 0 when there is no next one; else partitions and the live places.
SWITCH = """
local half = (#KEYS - 1) / 2
if redis.call('EXISTS', KEYS[half + 2]) == 0 then
    return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
end
local ahead = {}
for i = 2, #ARGV do
    local name = ARGV[i]
    local live = redis.call('HGET', KEYS[2], name)
    local made = redis.call('HGET', KEYS[half + 2], name)
    if live and tonumber(live) > tonumber(made or -1) then
        ahead[#ahead + 1] = name
        ahead[#ahead + 1] = live
    end
end
if #ahead > 0 then return ahead end
redis.call('SET', KEYS[1], ARGV[1])
for i = 2, half + 1 do
    redis.call('UNLINK', KEYS[i])
    if redis.call('EXISTS', KEYS[half + i]) == 1 then
        redis.call('PERSIST', KEYS[half + i])
        redis.call('RENAME', KEYS[half + i], KEYS[i])
    end
end
return 1
"""


def key_prefix(app_id: str) -> str:
    """Return what the keys of an application begin with."""
    return f"{app_id}:"


@dataclass(frozen=True, slots=True)
class Generation:
    """The keys of one whole projection."""

    prefix: str

    @property
    def next(self) -> "Generation":
        """Return the one that is made beside this one."""
        return Generation(f"{self.prefix}next:")

    @property
    def projected(self) -> str:
        """Return the key of the places."""
        return f"{self.prefix}projected"

    @property
    def rebuilt(self) -> str:
        """Return the key of what the generation is called."""
        return f"{self.prefix}rebuilt"

    @property
    def risk(self) -> str:
        """Return the key of the members by risk."""
        return f"{self.prefix}index:risk"

    def documents(self, anonymous: bool) -> str:
        """Return the key of the documents."""
        return self.prefix + ("anonymous" if anonymous else "members")

    def stage(self, stage: str) -> str:
        """Return the key of the members in a stage."""
        return f"{self.prefix}index:stage:{stage}"

    def all(self) -> list[str]:
        """Return all, in the order of the scripts."""
        documents = self.documents(anonymous=False), self.documents(anonymous=True)
        return [self.projected, *documents, self.risk, *map(self.stage, STAGES)]


def write_arguments(
    documents: Documents | None, expected: Places, reached: Places, bound: int, live_ms: int = 0
) -> list[Argument]:
    """Return the arguments of ``WRITE``."""
    arguments: list[Argument] = [
        msgspec.json.encode(expected),
        msgspec.json.encode(reached),
        bound,
        live_ms,
    ]
    for section in _sections(documents or {}):
        arguments.append(len(section))
        arguments += section
    return arguments


def _sections(documents: Documents) -> Iterable[list[Argument]]:
    members: list[Argument] = []
    gone: list[Argument] = []
    anonymous: list[Argument] = []
    anonymous_gone: list[Argument] = []
    risk: list[Argument] = []
    riskless: list[Argument] = []
    stageless: list[Argument] = []
    stages: dict[str, list[Argument]] = {stage: [] for stage in STAGES}
    for key, document in documents.items():
        if key.startswith(ANONYMOUS_UPDATE):
            identity = key.removeprefix(ANONYMOUS_UPDATE)
            if document is None:
                anonymous_gone.append(identity)
            else:
                anonymous += identity, document.value
        elif document is None:
            gone.append(key)
            riskless.append(key)
            stageless.append(key)
        else:
            value, stage, since, churn = document
            members += key, value
            # Who sleeps has left already: at the head of the list they would hide all others.
            if churn is None or stage in ASLEEP:
                riskless.append(key)
            else:
                risk += churn, key
            # A stage that only a newer program knows is listed nowhere.
            if stage in stages:
                stages[stage] += since, key
            else:
                stageless.append(key)
    return members, gone, anonymous, anonymous_gone, risk, riskless, stageless, *stages.values()


def places_of(fields: Iterable[tuple[Any, Any]]) -> Places:
    """Return places as Redis keeps them."""
    return {str(name, "utf-8"): int(place) for name, place in fields}


def pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    """Return names and values of a flat answer."""
    return zip(flat[::2], flat[1::2], strict=True)
