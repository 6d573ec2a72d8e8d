"""Where the observer keeps what it has seen, in Redis.

| key | value |
|---|---|
| ``{prefix}observed`` | hash: by ``topic/partition``, the offset that is to be read next |
| ``{prefix}life:{hash}`` | a member's ``Life`` (MessagePack); the hash tells no id |
| ``{prefix}timeline:{member_id}`` | sorted set by instant: the newest 100 entries |
| ``{prefix}order:{order_id}`` | an ``Order`` (MessagePack): whose it is, when, how much |
| ``{prefix}orders:{member_id}`` | sorted set by instant: the member's orders that are indexed |
| ``{prefix}contact:{sha256}`` | the member whose hashed phone number or e-mail address it is |
| ``{prefix}contacts:{member_id}`` | sorted set: the member's hashed contacts |
| ``{prefix}feed`` | stream: about the newest 1000 triggers, cancellations, stage changes |
| ``{prefix}lc:now`` | hash: counters of how things stand, and since ever |
| ``{prefix}lc:day:{day}`` | hash: counters of a UTC day, counted from 1970 |
| ``{prefix}lc:cohort:{stage}:{week}`` | hash: who entered in a week, and who was active later |
| ``{prefix}lc:active:{day}`` | HyperLogLog of members active on a day |
| ``{prefix}lc:active:{day}:{source}`` | the same by source of acquisition |
| ``{prefix}lc:labels:{kind}`` | set: sources and reasons that have counters of their own |
"""

from hashlib import blake2b

from models.times import HOUR

TIMELINE_KEPT = 100
FEED_KEPT = 1000
NEWS_MS = HOUR
"""How old, in members' time, news may be; older is the past, which is read to catch up with it."""
ORDERS_KEPT = 1000
"""Orders of one member that are indexed at a time: shops that buy have many."""
KEPT_SECONDS = 400 * 86_400
"""How long timelines, orders and counters of days last after they were last written."""
BY_SOURCE_SECONDS = 40 * 86_400
GONE_SECONDS = 30 * 86_400
"""How long it is remembered, by a hash, that somebody was erased, or was a lead that was lost: what
is read late of them is passed over."""
MOST_LABELS = 50

# Runs as one and is logged as one: nothing is counted without the places that go with it. They come
# first: a Redis that is full refuses the first write, and lets pass what follows one.
# KEYS: the hash of places. ARGV: places expected and reached (JSON objects), what to do
# (MessagePack, of which Redis reads no binary strings), how much is kept, and bytes to be put.
# Returns the hash as it was.
WRITE = """
local before, has = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #before, 2 do has[before[i]] = tonumber(before[i + 1]) end
for name, expected in pairs(cjson.decode(ARGV[1])) do
    if (has[name] or -1) ~= expected then return before end
end
local todo = cmsgpack.unpack(ARGV[3])
local call, kept, most = redis.call, ARGV[4], tonumber(ARGV[5])
for name, reached in pairs(cjson.decode(ARGV[2])) do
    call('HSET', KEYS[1], name, string.format('%.0f', reached))
end
for _, one in ipairs(todo.erase) do
    local id, timeline, orders, contacts, order, contact = unpack(one)
    for _, name in ipairs(call('ZRANGE', orders, 0, -1)) do
        local raw = call('GET', order .. name)
        if raw and cmsgpack.unpack(raw)[1] == id then call('DEL', order .. name) end
    end
    for _, name in ipairs(call('ZRANGE', contacts, 0, -1)) do
        if call('GET', contact .. name) == id then call('DEL', contact .. name) end
    end
    call('DEL', timeline, orders, contacts)
end
if next(todo.erase) then
    local erased, left, found = {}, {}, call('XRANGE', todo.stream, '-', '+')
    for _, one in ipairs(todo.erase) do erased[one[1]] = true end
    for _, entry in ipairs(found) do
        if not erased[cjson.decode(entry[2][2]).member_id] then left[#left + 1] = entry end
    end
    if #left < #found then
        -- Made anew: what XDEL takes out of a stream stays in its memory, marked as deleted.
        call('DEL', todo.stream)
        for _, entry in ipairs(left) do call('XADD', todo.stream, entry[1], 'e', entry[2][2]) end
    end
end
for _, one in ipairs(todo.put) do
    local value = ARGV[7 + one[2]]
    if value == '' then call('DEL', one[1])
    elseif one[3] > 0 then call('SET', one[1], value, 'EX', one[3])
    else call('SET', one[1], value) end
end
for _, one in ipairs(todo.count) do
    -- A sum that outgrows 64 bits stays as it is: it must not stop everything else.
    for i = 3, #one, 2 do redis.pcall('HINCRBY', one[1], one[i], one[i + 1]) end
    if one[2] > 0 then call('EXPIRE', one[1], one[2]) end
end
for _, one in ipairs(todo.distinct) do
    for i = 3, #one do call('PFADD', one[1], one[i]) end
    call('EXPIRE', one[1], one[2])
end
for _, one in ipairs(todo.timeline) do
    for i = 2, #one, 2 do call('ZADD', one[1], one[i], one[i + 1]) end
    call('ZREMRANGEBYRANK', one[1], 0, -1 - most)
    call('EXPIRE', one[1], kept)
end
for _, one in ipairs(todo.index) do
    local set, name, at, target = unpack(one)
    call('ZADD', set, at, name)
    if target ~= '' then
        local over = call('ZCARD', set) - tonumber(ARGV[7])
        if over > 0 then
            for i, old in ipairs(call('ZPOPMIN', set, over)) do
                if i % 2 == 1 then call('DEL', target .. old) end
            end
        end
        call('EXPIRE', set, kept)
    end
end
for _, one in ipairs(todo.labels) do call('SADD', one[1], one[2]) end
for _, one in ipairs(todo.feed) do
    call('XADD', todo.stream, 'MAXLEN', '~', ARGV[6], '*', 'e', one)
end
if todo.newest > tonumber(call('HGET', todo.now, 'newest') or '0') then
    call('HSET', todo.now, 'newest', string.format('%.0f', todo.newest))
end
return before
"""


class Keys:
    """The names of an application's keys."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.observed = f"{prefix}observed"
        self.feed = f"{prefix}feed"
        self.now = f"{prefix}lc:now"

    def life(self, identity: str, anonymous: bool) -> str:
        """Return the key of a life."""
        named = (b"a" if anonymous else b"m") + identity.encode()
        return f"{self.prefix}life:{blake2b(named, digest_size=10).hexdigest()}"

    def timeline(self, member_id: str) -> str:
        """Return the key of a timeline."""
        return f"{self.prefix}timeline:{member_id}"

    def order(self, order_id: str) -> str:
        """Return the key of an order."""
        return f"{self.prefix}order:{order_id}"

    def orders(self, member_id: str) -> str:
        """Return the key of a member's orders."""
        return f"{self.prefix}orders:{member_id}"

    def contact(self, digest: str) -> str:
        """Return the key of a hashed contact."""
        return f"{self.prefix}contact:{digest}"

    def contacts(self, member_id: str) -> str:
        """Return the key of a member's hashed contacts."""
        return f"{self.prefix}contacts:{member_id}"

    def counters(self, name: str) -> str:
        """Return the key of a hash of counters."""
        return f"{self.prefix}lc:{name}"

    def active(self, day: int, source: str | None = None) -> str:
        """Return the key of a day's active members, all or those of a source."""
        return f"{self.prefix}lc:active:{day}" + ("" if source is None else f":{source}")

    def labels(self, kind: str) -> str:
        """Return the key of the names that have counters of their own."""
        return f"{self.prefix}lc:labels:{kind}"
