"""Applies each mutation to a copy, builds what its tests need, runs them, undoes it.

    pool.py TREE BUILD [-k WORDS]

A test is "model", a unit test's program, or an integration test's file with what of it to run.
"""

import argparse
import os
import subprocess
import sys
import time

from mutations import MUTATIONS

MODEL_SCHEDULES = "60000"
PATIENCE_S = 300


class Unfit(Exception):
    """The mutation no longer fits the code."""


def path_in(tree, mutation):
    return os.path.join(tree, "src", mutation.file)


def apply(tree, mutation):
    path = path_in(tree, mutation)
    with open(path, encoding="utf-8") as source:
        text = source.read()
    count = text.count(mutation.old)
    if count != 1:
        raise Unfit(f"what it replaces is {count} times in src/{mutation.file}")
    with open(path, "w", encoding="utf-8") as source:
        source.write(text.replace(mutation.old, mutation.new))
    return text


def undo(tree, mutation, text):
    with open(path_in(tree, mutation), "w", encoding="utf-8") as source:
        source.write(text)


def target_of(test):
    if test == "model":
        return "model_pool"
    return "auditstored" if test.endswith(".py") or ".py " in test else test


def build(build_dir, tests):
    targets = sorted({target_of(test) for test in tests})
    if "auditstored" in targets:
        targets += ["auditstore", "fake_resolver"]
    done = subprocess.run(["ninja", "-C", build_dir, *targets], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise Unfit("it doesn't compile:\n" + done.stdout[-2000:])


def command_of(tree, build_dir, test):
    if test == "model":
        return [f"{build_dir}/tests/model/model_pool", "--schedules", MODEL_SCHEDULES, "--jobs", "2"]
    if ".py" in test:
        return ["/usr/bin/python3", "-B", *test.split()]
    return [f"{build_dir}/tests/{test}"]


def is_red(tree, build_dir, test):
    """A test that hangs has noticed as well."""
    environment = dict(os.environ, AUDITSTORE_SOURCE_DIR=tree, AUDITSTORE_BUILD_DIR=build_dir)
    try:
        done = subprocess.run(command_of(tree, build_dir, test), env=environment, check=False,
                              cwd=f"{tree}/tests/integration", timeout=PATIENCE_S,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def red_tests(tree, build_dir, mutation):
    text = apply(tree, mutation)
    try:
        build(build_dir, mutation.tests)
        return [test for test in mutation.tests if is_red(tree, build_dir, test)]
    finally:
        undo(tree, mutation, text)


def check_sound(tree, build_dir, mutations):
    """Unbroken, every test that is used is green: otherwise red would mean nothing."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    build(build_dir, tests)
    return [test for test in tests if is_red(tree, build_dir, test)]


def report(tree, build_dir, mutation):
    began = time.monotonic()
    try:
        red = red_tests(tree, build_dir, mutation)
    except Unfit as problem:
        print(f"UNFIT     {mutation.name}: {problem}", flush=True)
        return False
    verdict = "red" if red else "SURVIVED"
    said = ", ".join(red) if red else "none of " + ", ".join(mutation.tests)
    print(f"{verdict:9} {mutation.name:44} {said}  ({time.monotonic() - began:.0f} s)", flush=True)
    return bool(red)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tree")
    parser.add_argument("build")
    parser.add_argument("-k", dest="words", default="")
    arguments = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if arguments.words in mutation.name]
    failing = check_sound(arguments.tree, arguments.build, chosen)
    if failing:
        print("red without any mutation: " + ", ".join(failing))
        return 1
    results = [report(arguments.tree, arguments.build, mutation) for mutation in chosen]
    print(f"{sum(results)} of {len(results)} mutations were noticed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
