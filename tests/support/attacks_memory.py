"""Attacks that make the daemon keep much for little: what it unpacks, and answers that nobody takes."""

import itertools
import time

from support import raw_h2
from support.attack import CHECK, FRAME_BYTES, LIST, MAX_CALLS, MAX_MESSAGE_BYTES, OPEN_WINDOW, REFLECTION, \
    STREAM, STREAM_WINDOW_BYTES, WATCH, WRITE, Attack, batch, call, data, event, field, held, large_page, \
    stream_batch, zipped, zipped_call

# Below the limit of a message, with the fields around it.
LARGE = MAX_MESSAGE_BYTES - 4096
# Modes of a write: the good events of a batch are stored, the others refused one by one.
PARTIAL = 2


def reflection_question(host):
    """Answered with the host, and with the question, which has it again."""
    return field(1, host) + field(7, b"")


def on_streams(method, make, count=MAX_CALLS, times=1 << 20):
    """So many streams, each with a message of its own so many times, or as often as may be sent ahead."""
    def one(stream):
        message = raw_h2.grpc_message(make())
        repeats = min(times, (STREAM_WINDOW_BYTES - FRAME_BYTES) // len(message))
        return raw_h2.grpc_headers(stream, method) + data(stream, message * repeats, is_end=False)
    return held(one, count)


def refused_batch():
    """Each event is answered with all that it lacks."""
    return stream_batch([b""] * 200, field(3, PARTIAL))


def partly_refused_batch():
    """The same, once another has been written."""
    return stream_batch([event(time.time())] + [b""] * 200, field(3, PARTIAL))


def proven_batches(_):
    """Of new events; with their ids and proofs, the answers are longer than they are. No faster than they can
    be stored: a full queue is another matter."""
    yield b"".join(raw_h2.grpc_headers(2 * i + 1, STREAM) for i in range(16))
    for number in itertools.count():
        yield data(number % 16 * 2 + 1, raw_h2.grpc_message(
            stream_batch([event(time.time())] * 100, field(4, 1))), is_end=False)
        yield 0.02


def small_batch():
    return stream_batch([event(time.time())])


def metadata_held():
    """A field of 3,900 bytes enters HPACK's table once; each call has it four times for four bytes."""
    name = b"\x40\x01x\x7f" + bytes([0xbd, 0x1d]) + b"v" * 3900
    start = raw_h2.header_block(*raw_h2.grpc_fields(REFLECTION))
    return held(lambda stream: raw_h2.frame(
        raw_h2.HEADERS, raw_h2.END_HEADERS, stream,
        start + (name + b"\xbe" * 3 if stream == 1 else b"\xbe" * 4)))


def bad_event():
    """With as many faults as are told, in fields whose names are long."""
    return field(9, field(1, "x" * 200) + field(3, "x" * 200)) + field(10, field(1, "x" * 300))


def half_bomb(peer):
    """All but the last bytes of what is large once it is unpacked."""
    start = zipped(batch([bytes(LARGE)]))[:-8]
    return held(lambda stream: raw_h2.grpc_headers(stream, WRITE, ("grpc-encoding", "gzip")) +
                data(stream, start, is_end=False))(peer)


def dripped(one, count):
    """Answers of so many calls are taken a byte at a time."""
    def pieces(peer):
        yield from held(one, count)(peer)
        while True:
            yield 0.01
            yield raw_h2.window_update(0, count) + b"".join(
                raw_h2.window_update(2 * i + 1, 1) for i in range(count))
    return pieces


def untaken(pieces, **more):
    """Nothing of the answers is taken."""
    return Attack(pieces, window=0, keeps_rules=True, **more)


ATTACKS = {
    "reflection_bomb": untaken(held(
        zipped_call(REFLECTION, lambda: reflection_question(b"h" * LARGE), is_end=False), 64)),
    "reflection_answers": untaken(on_streams(REFLECTION, lambda: field(4, "auditstore.v1.AuditStore"), 64)),
    "metadata_held": Attack(metadata_held(), connections=20, keeps_rules=True),
    "refused_batches": untaken(on_streams(STREAM, refused_batch, 1)),
    "partly_refused_batches": untaken(on_streams(STREAM, partly_refused_batch, 1)),
    "pages_untaken": untaken(held(call(LIST, large_page()), 64)),
    "pages_dripped": Attack(dripped(call(LIST, large_page()), 32), window=0, keeps_rules=True),
    "receipts_untaken": untaken(proven_batches),
    # Batches without events, of five bytes, are refused with a text.
    "empty_batches": Attack(on_streams(STREAM, lambda: b"", 4), window=OPEN_WINDOW, keeps_rules=True),
    "acks_untaken": untaken(on_streams(STREAM, small_batch, times=10), connections=2),
    "refusals_untaken": untaken(held(call(WRITE, batch([bad_event()] * 20))), connections=8),
    "text_bomb": Attack(held(zipped_call(WRITE, lambda: batch([field(19, b'"' + b"x" * LARGE + b'"')])), 100),
                        window=OPEN_WINDOW, keeps_rules=True),
    "empty_events_bomb": Attack(held(zipped_call(WRITE, lambda: field(1, b"") * (LARGE // 2)), 100),
                                window=OPEN_WINDOW, keeps_rules=True),
    "unknown_fields_bomb": Attack(held(zipped_call(WRITE, lambda: field(1000, 1) * (LARGE // 3)), 100),
                                  window=OPEN_WINDOW, keeps_rules=True),
    "half_bomb": Attack(half_bomb, keeps_rules=True),
    "watches": untaken(held(call(WATCH, b"")), connections=50),
    "open_metadata": Attack(held(lambda stream: raw_h2.grpc_headers(
        stream, CHECK, *((f"k{i}", "v" * 3800) for i in range(4))), 1), connections=400, keeps_rules=True),
}
