"""Attacks that give the daemon, or PostgreSQL, much to do for little."""

import itertools
import time
import uuid

from support import raw_h2
from support.attack import CHECK, GET, LIST, MAX_MESSAGE_BYTES, OPEN_WINDOW, WRITE, Attack, batch, call, \
    calls, event, field, varint, zipped_call

EVENT_DATA_BYTES = 256 * 1024
SECONDS_OF_A_MONTH = 2_678_400
CANCELS_PER_S = 50


def deep_json():
    """An object of the most levels, full of the deepest there may be."""
    deepest = b'{"":' * 61 + b"0" + b"}" * 61
    return b'{"":[' + b",".join([deepest] * (EVENT_DATA_BYTES // (len(deepest) + 1) - 1)) + b"]}"


def json_bomb(make):
    """Events of it, as many as a message has room for; they lack all else, so that none is stored."""
    def message():
        one = field(1, field(19, make()))
        return one * (MAX_MESSAGE_BYTES // len(one))
    return zipped_call(WRITE, message)


def wide_json():
    return b"{" + b'"":0,' * (EVENT_DATA_BYTES // 5 - 2) + b'"":0}'


def page_token(stream):
    token = f"{stream:08x}" * 50
    return call(LIST, field(3, token))(stream)


def no_index(stream):
    """A filter that every event has to be looked at for."""
    return call(LIST, field(1, field(13, f"namespace{stream}") + field(15, "nobody")))(stream)


def cancelled_lists(_):
    """Each is given up while PostgreSQL is at it."""
    for stream in itertools.count(1, 2):
        yield no_index(stream)
        yield 1 / CANCELS_PER_S
        yield raw_h2.frame(raw_h2.RST_STREAM, stream=stream, payload=raw_h2.CANCEL.to_bytes(4, "big"))


def reset_writes(_):
    for stream in itertools.count(1, 2):
        yield (call(WRITE, batch([event(time.time(), str(uuid.uuid4()))]))(stream) +
               raw_h2.frame(raw_h2.RST_STREAM, stream=stream, payload=raw_h2.CANCEL.to_bytes(4, "big")))


def duplicates(peer):
    """Events that are stored already, again and again."""
    now = time.time()
    same = call(WRITE, batch([event(now, str(uuid.uuid4())) for _ in range(1000)]))
    return calls(same, at_once=4)(peer)


def chained_twins(peer):
    """Calls of two events, each of which has one in common with the call before."""
    now = int(time.time())
    ids = [str(uuid.uuid4())]

    def one(stream):
        ids.append(str(uuid.uuid4()))
        return call(WRITE, batch([event(now, one_id) for one_id in ids[-2:]]))(stream)
    return calls(one)(peer)


def full_queue(peer):
    """As many large batches as may be under way, of events that are stored already."""
    now = time.time()
    same = call(WRITE, batch([event(now, str(uuid.uuid4())) for _ in range(1000)]))
    return calls(same, at_once=60)(peer)


def months(stream):
    """A batch of events that lie in as many months."""
    first = stream * 100 * SECONDS_OF_A_MONTH
    return call(WRITE, batch([event(first + i * SECONDS_OF_A_MONTH) for i in range(100)]))(stream)


def no_time(method, message):
    """Calls whose deadline, a millisecond, has passed when they are looked at."""
    return call(method, message, headers=(("grpc-timeout", "1m"),))


def varied(make):
    """A call with a message of its own each time."""
    return lambda stream: make(stream)(stream)


def working(one, **more):
    return Attack(calls(one, **more), window=OPEN_WINDOW, keeps_rules=True)


ATTACKS = {
    "zipped_checks": working(zipped_call(CHECK, lambda: field(1, b"\0" * (MAX_MESSAGE_BYTES - 64)))),
    "deep_json": working(json_bomb(deep_json)),
    "wide_json": working(json_bomb(wide_json)),
    "page_tokens": working(page_token),
    "unindexed_lists": working(no_index),
    "cancelled_lists": Attack(cancelled_lists, window=OPEN_WINDOW, connections=4, keeps_rules=True),
    "reset_writes": Attack(reset_writes, window=OPEN_WINDOW),
    "duplicates": Attack(duplicates, window=OPEN_WINDOW, keeps_rules=True),
    "chained_twins": Attack(chained_twins, window=OPEN_WINDOW, keeps_rules=True),
    "full_queue": Attack(full_queue, window=OPEN_WINDOW, keeps_rules=True),
    "late_lists": working(no_time(LIST, b"")),
    "late_writes": working(varied(lambda _: no_time(WRITE, batch([event(time.time(), str(uuid.uuid4()))])))),
    "missing_events": working(varied(lambda _: call(GET, field(1, str(uuid.uuid4()))))),
    "long_numbers": working(zipped_call(WRITE, lambda: field(1, (varint(7 << 3) + b"\x81" * 9 + b"\x01") * 300_000))),
    # The last, as it leaves months behind.
    "months": working(months, at_once=2),
}
