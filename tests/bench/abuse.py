#!/usr/bin/python3
"""An honest writer beside each attack (tests/support/attacks.py), in turns with quiet times.

    abuse.py [--attackers N] [ATTACK...] [SETTING=VALUE...]       settings of the daemon

One attacker, by default, with one connection at a time, or with as many as the attack is made of. Each attack
meets a daemon of its own, so that none is the next one's burden. Prints a table: what the attackers sent, the
most memory that the daemon had, the honest writer's rate against its quiet one before and after, its p99 and
failed calls, and how many connections the daemon ended.
"""

import argparse
import os
import pathlib
import platform
import sys

# In the place of this folder, where grpc.py is another thing.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from support import abuse, attacks, attacks_tls, harness  # noqa: E402

QUIET_S = 1
ATTACK_S = 3
ROWS = 400_000
# By those who have shown nothing.
STRANGERS = (*attacks_tls.TLS_ATTACKS, "reflection_bomb", "metadata_held", "zipped_checks", "bad_tokens",
             "open_metadata", "watches")
HEAD = ("| attack | sent | peak memory | writes/s, beside : quiet | p99 | failed | ended |\n"
        "|---|---|---|---|---|---|---|")


class World:
    def __init__(self, folder, attackers, settings):
        self.folder, self.attackers, self.stubs = folder, attackers, harness.load_stubs()
        self.postgres = harness.Postgres(folder / "pg")
        self.open = {"log.level": "error", "ingest.max_event_age": "off", "ingest.max_event_ahead": "off",
                     **settings}
        production, self.credentials, self.ca_file = abuse.production(folder)
        self.closed = {**production, **self.open}
        harness.migrate(self.postgres)

    def measure(self, name, is_production):
        """(rate before, outcome, rate after)"""
        credentials = self.credentials if is_production else None
        daemon = harness.Daemon(self.folder, self.postgres, self.closed if is_production else self.open,
                                credentials=credentials)
        try:
            with abuse.Rig(daemon, self.stubs, self.ca_file if is_production else None,
                           abuse.METADATA if is_production else (), is_strict=False,
                           attackers=self.attackers) as rig:
                abuse.add_rows(self.postgres, ROWS)
                rig.add_large_events()
                rig.begin()
                before = len(rig.calls_for(QUIET_S)) / QUIET_S
                outcome = rig.attack(name, ATTACK_S)
                rig.wait_gone()
                return before, outcome, len(rig.calls_for(QUIET_S)) / QUIET_S
        finally:
            daemon.kill()

    def row(self, name, is_production):
        before, outcome, after = self.measure(name, is_production)
        quiet = (before + after) / 2
        print(f"| {name}{', production' if is_production else ''} | {outcome.bytes / abuse.MIB:.1f} MiB "
              f"| {outcome.peak_mib:.0f} MiB | {outcome.rate:.0f} : {quiet:.0f} = {outcome.rate / quiet:.2f} "
              f"| {abuse.p99_ms(outcome.times):.0f} ms | {outcome.failed} "
              f"| {outcome.ended} of {outcome.connections} |", flush=True)


def parse():
    """(attackers, names of attacks, settings)"""
    parser = argparse.ArgumentParser()
    parser.add_argument("--attackers", type=int, default=1)
    parser.add_argument("words", nargs="*", metavar="ATTACK|SETTING=VALUE")
    args = parser.parse_args()
    names = [word for word in args.words if "=" not in word]
    if unknown := set(names) - set(attacks.ATTACKS):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}; there are {', '.join(attacks.ATTACKS)}")
    return (args.attackers, names or list(attacks.ATTACKS),
            dict(word.split("=", 1) for word in args.words if "=" in word))


def main():
    attackers, names, settings = parse()
    print(f"# {os.cpu_count()} cores, {platform.system()} {platform.release()}; daemon, PostgreSQL, honest writer "
          f"and {attackers} attacking process(es) on the same machine", file=sys.stderr)
    folder = harness.TemporaryFolder()
    world = World(folder.path, attackers, settings)
    try:
        print(HEAD)
        for name in names:
            if name not in attacks_tls.TLS_ATTACKS:
                world.row(name, is_production=False)
            if name in STRANGERS:
                world.row(name, is_production=True)
    finally:
        world.postgres.remove()
        folder.remove()


if __name__ == "__main__":
    main()
