"""Ledgers judged from outside: hashed anew from what is stored, by RFC 9162 and C2SP alone."""

import base64
import hashlib
import subprocess

HASH_SIZE = 32
STORED_STEP = 8
MARK = "\N{EM DASH} "


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Log:
    """A Merkle tree that grows by leaves; `nodes` holds the complete subtrees by (level, index)."""

    def __init__(self):
        self.size = 0
        self.edge = []  # (level, root) of complete subtrees, the largest first
        self.nodes = {}

    def append(self, leaf):
        level, root = 0, leaf
        self.size += 1
        while self.edge and self.edge[-1][0] == level:
            root = node_hash(self.edge.pop()[1], root)
            level += 1
            if level % STORED_STEP == 0:
                self.nodes[level, (self.size >> level) - 1] = root
        self.edge.append((level, root))

    def root(self):
        root = self.edge[-1][1]
        for _, left in reversed(self.edge[:-1]):
            root = node_hash(left, root)
        return root


def root_of_proof(leaf, index, size, path):
    """RFC 9162, 2.1.3.2: the root that the path leads to."""
    path = list(path)
    first, last = index, size - 1
    root = leaf
    while path:
        if last == 0:
            raise ValueError("the path is too long")
        step = path.pop(0)
        if first & 1 or first == last:
            root = node_hash(step, root)
            while first & 1 == 0 and first:
                first, last = first >> 1, last >> 1
        else:
            root = node_hash(root, step)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise ValueError("the path is too short")
    return root


# ---- checkpoints ----


class Note:
    """A checkpoint as C2SP writes it."""

    def __init__(self, text):
        self.body, _, signatures = text.partition("\n\n")
        self.body += "\n"
        self.origin, size, root = self.body.splitlines()
        self.size, self.root = int(size), base64.b64decode(root, validate=True)
        self.signatures = [self._signature(line) for line in signatures.splitlines()]

    @staticmethod
    def _signature(line):
        if not line.startswith(MARK):
            raise ValueError(f"no signature: {line}")
        name, text = line.removeprefix(MARK).split(" ")
        data = base64.b64decode(text, validate=True)
        return name, data[:4], data[4:]


def raw_public_key(pem):
    """The 32 bytes at the end of an Ed25519 key in DER."""
    return base64.b64decode("".join(pem.strip().splitlines()[1:-1]))[-32:]


def verify_note(case, note, public_pem, folder):
    """The note has one signature, under the key of its origin, and OpenSSL finds it right."""
    ((name, key_id, signature),) = note.signatures
    case.assertEqual(note.origin, name)
    raw = raw_public_key(public_pem)
    case.assertEqual(hashlib.sha256(name.encode() + b"\n\x01" + raw).digest()[:4], key_id)
    for file, data in (("note.pem", public_pem.encode()), ("note", note.body.encode()),
                       ("note.sig", signature)):
        (folder / file).write_bytes(data)
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", folder / "note.pem",
         "-in", folder / "note", "-sigfile", folder / "note.sig"],
        capture_output=True, text=True, check=False)
    case.assertEqual(0, done.returncode, done.stdout + done.stderr)


# ---- what is stored ----


def check(case, postgres, may_be_suspect=False):
    """Each ledger's sequences are 0..size-1, its batches cover them, and every root is right. With
    may_be_suspect some may have been given up; of these the batches must fit together."""
    rows = postgres.sql(
        "SELECT l.ledger_id, l.tree_size, encode(l.edge, 'hex'), count(e.sequence),"
        " coalesce(min(e.sequence), 0), coalesce(max(e.sequence) + 1, 0),"
        " count(DISTINCT e.sequence), coalesce(l.suspect_since::text, '')"
        " FROM ledgers l LEFT JOIN audit_events e USING (ledger_id) GROUP BY 1 ORDER BY 1")
    case.assertTrue(rows)
    for ledger, size, edge, count, first, end, distinct, suspect in rows:
        with case.subTest(ledger=ledger):
            log = check_batches(case, postgres, ledger)
            if suspect and may_be_suspect:
                continue
            case.assertEqual((size, size, size), (count, end, distinct))
            case.assertEqual("0", first)
            case.assertEqual("", suspect)
            case.assertEqual(int(size), log.size)
            case.assertEqual(edge, b"".join(root for _, root in reversed(log.edge)).hex())


def check_batches(case, postgres, ledger):
    log = Log()
    for first, count, leaves, root, note in postgres.sql(
            "SELECT first_sequence, event_count, encode(leaf_hashes, 'hex'), encode(root, 'hex'),"
            f" coalesce(checkpoint, '') FROM ledger_batches WHERE ledger_id = {ledger} ORDER BY 1"):
        case.assertEqual(log.size, int(first))
        leaves = bytes.fromhex(leaves)
        case.assertEqual(int(count), len(leaves) / HASH_SIZE)
        for i in range(0, len(leaves), HASH_SIZE):
            log.append(leaves[i:i + HASH_SIZE])
        case.assertEqual(root, log.root().hex())
        if note:
            note = Note(note)
            case.assertEqual((log.size, log.root()), (note.size, note.root))
    stored = {(int(level), int(index)): bytes.fromhex(hash_) for level, index, hash_ in postgres.sql(
        f"SELECT level, node_index, encode(hash, 'hex') FROM ledger_nodes WHERE ledger_id = {ledger}")}
    case.assertEqual(log.nodes, stored)
    return log


def leaves(postgres):
    """{(ledger, sequence): leaf hash} as the batches have them."""
    found = {}
    for ledger, first, hashes in postgres.sql(
            "SELECT ledger_id, first_sequence, encode(leaf_hashes, 'hex') FROM ledger_batches"):
        hashes = bytes.fromhex(hashes)
        for i in range(len(hashes) // HASH_SIZE):
            found[int(ledger), int(first) + i] = hashes[i * HASH_SIZE:(i + 1) * HASH_SIZE]
    return found


def stored_events(stub, stubs):
    """Every event, as anyone reads it."""
    token = ""
    while True:
        page = stub.ListEvents(stubs.store.ListEventsRequest(page_size=1000, page_token=token),
                               timeout=60)
        yield from page.events
        token = page.next_page_token
        if not token:
            return


def check_leaves(case, postgres, stub, stubs):
    """What is read back of each event is what its leaf was made from."""
    expected = leaves(postgres)
    found = {(event.ledger_id, event.sequence): leaf_hash(event.SerializeToString(deterministic=True))
             for event in stored_events(stub, stubs)}
    case.assertEqual(len(expected), len(found))
    case.assertEqual([], [place for place, leaf in expected.items() if found.get(place) != leaf])
