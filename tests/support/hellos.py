"""TLS 1.3 ClientHellos by hand: what OpenSSL's client doesn't say."""

import struct

FFDHE8192, NOBODYS_GROUP = 0x0104, 0x7fff
RECORD_BYTES = 16384
# As much as OpenSSL takes; it makes room for that when it sees the length.
MAX_BYTES = 131396


def _vector(content):
    return struct.pack("!H", len(content)) + content


def _extension(number, content):
    return struct.pack("!H", number) + _vector(content)


def share(group, key):
    return struct.pack("!H", group) + _vector(key)


def message(groups, shares):
    """`groups` are numbers."""
    extensions = (_extension(43, b"\x02\x03\x04") + _extension(13, _vector(b"\x04\x03\x08\x04")) +
                  _extension(10, _vector(struct.pack(f"!{len(groups)}H", *groups))) +
                  _extension(51, _vector(b"".join(shares))) + _extension(16, _vector(b"\x02h2")))
    body = b"\x03\x03" + bytes(32) + b"\0" + _vector(b"\x13\x01") + b"\x01\0" + _vector(extensions)
    return header(len(body)) + body


def header(declared):
    """Of a ClientHello with so many bytes."""
    return b"\x01" + struct.pack("!I", declared)[1:]


def records(content, kind=22):
    return b"".join(bytes([kind]) + b"\x03\x01" + _vector(content[at:at + RECORD_BYTES])
                    for at in range(0, len(content), RECORD_BYTES))


def of_finite_field():
    """With a key that is dear to check: g^x for x = 1000."""
    return records(message([FFDHE8192], [share(FFDHE8192, (1 << 1000).to_bytes(1024, "big"))]))


def long():
    """Each of its 6,500 keys is looked for among 16,000 groups."""
    groups = [NOBODYS_GROUP - 1] * 15999 + [NOBODYS_GROUP]
    return records(message(groups, [share(NOBODYS_GROUP, b"x")] * 6500))
