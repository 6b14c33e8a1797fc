"""Reading C well enough for the lints: no preprocessor, no types."""

import os
import re

SKIP_DIRS = {".git", "build", "__pycache__", ".venv", "node_modules", "target"}

TOKENS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL
)


def files(root, tops, suffixes):
    """Paths under root, relative to it, sorted. Tops are folders; what isn't there is left out."""
    found = []
    for top in tops:
        for folder, dirs, names in os.walk(os.path.join(root, top)):
            dirs[:] = [d for d in dirs if d not in SKIP_DIRS]
            for name in names:
                if name.endswith(suffixes):
                    found.append(os.path.relpath(os.path.join(folder, name), root))
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as source:
        return source.read()


def _blank(match):
    text = match.group(0)
    inside = re.sub(r"[^\n]", " ", text)
    if text[0] in "\"'":
        return text[0] + inside[1:-1] + text[0]
    return inside


def code_only(text):
    """The text with comments and the insides of literals blanked; lines and columns stay."""
    return TOKENS.sub(_blank, text)


def without_directives(code):
    """Blanks preprocessor lines with their continuations: braces in macros needn't be balanced."""
    directive = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
    return directive.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), code)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
