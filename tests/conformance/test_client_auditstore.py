"""Our client against our server: the interoperability cases, those about compression included."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import interop_client  # noqa: E402
import interop_server  # noqa: E402


class AuditstoreTest(interop_client.ClientCase):
    compression_cases = interop_server.COMPRESSION_CASES
    more_cases = ("pick_first_unary",)


if __name__ == "__main__":
    unittest.main(verbosity=2)
