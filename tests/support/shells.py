"""Completion of auditstore as shells do it: what they offer for words that are typed."""

import os
import pathlib
import subprocess

from support import harness

SCRIPTS = harness.ROOT / "clients/c/tool/completion"


class Shells:
    """A home folder with profiles and files, in which the shells run with auditstore in PATH."""

    def __init__(self, folder):
        self.folder = folder
        config = folder / ".config/auditstore/config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text("profiles: {prod: {server: 'p:1'}, preview: , dev: }\n")
        (folder / "other.yaml").write_text("profiles: {elsewhere: }\n")
        (folder / "events one.jsonl").touch()
        (folder / "eggs").mkdir()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "auditstore").symlink_to(harness.TOOL)
        clean = {key: value for key, value in os.environ.items()
                 if not key.startswith(("AUDITSTORE_", "XDG_"))}
        self.env = {**clean, "HOME": str(folder), "TERM": "dumb",
                    "PATH": f"{programs}:{clean['PATH']}"}

    def run(self, *args):
        done = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=60, env=self.env, cwd=self.folder)
        if done.returncode != 0 or done.stderr:
            raise AssertionError(f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def bash(self, *words):
        """The words as bash splits them, '=' as one of its own; the last one is completed."""
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _auditstore; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        out = self.run("bash", "--norc", "-c", script, "bash", SCRIPTS / "auditstore.bash",
                       "auditstore", *words)
        return [line for line in out.splitlines() if line]

    def fish(self, line):
        script = f"source {SCRIPTS / 'auditstore.fish'}; complete -C 'auditstore {line}'"
        return [offer.split("\t")[0] for offer in
                self.run("fish", "--no-config", "-c", script).splitlines()]

    def zsh(self, *words):
        """What the function gives to _describe, or "files" when it asks for those."""
        script = ('compdef() { : }; compset() { print -r -- compset }; _files() { print -r -- files };'
                  ' _describe() { print -rl -- "${(@P)2}" };'
                  ' source $1; shift; words=("$@"); CURRENT=$#; PREFIX=${words[CURRENT]}; _auditstore')
        out = self.run("zsh", "-f", "-c", script, "zsh", SCRIPTS / "_auditstore", "auditstore", *words)
        return [line.replace("\\:", "\0").split(":")[0].replace("\0", ":")
                for line in out.splitlines() if line]


def find_manuals():
    """Manual pages that the build made."""
    return sorted(pathlib.Path(harness.BUILD).rglob("auditstore*.[158]"))
