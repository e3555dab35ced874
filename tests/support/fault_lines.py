"""Finding in a process's log what `verifier.fault` wrote there: a defect leaves a type and a place, no traceback."""

from __future__ import annotations

import re

# `Type at file.py:line function`, as of our own code, or `Type at module:line` where none of ours was in it.
_PLACE = r"(?:[\w./-]+\.py:\d+ [\w<>]+|[A-Za-z_?][\w.]*:\d+\b|an unknown place)"
_FAULT = re.compile(rf"\b[A-Z]\w* at {_PLACE}")


def find_faults(text: str) -> list[str]:
    """Lines of a log that tell of a defect: an unexpected or uncaught exception, or a traceback."""
    return [
        line
        for line in text.splitlines()
        if _FAULT.search(line) or line.startswith("Traceback (most recent call last)")
    ]
