"""Run as a program: import one module in a tree where the other rooms do not exist. `docs_start_probe.py
HOME MODULE`

Prints "outside:" and the names of modules of ours that came from elsewhere; there must be none.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(home: str, module: str) -> None:
    """Hide every other copy of our rooms (a checkout on the path, an editable install), then import."""
    kept = [path for path in sys.path[1:] if not Path(path, "mobile_api", "__init__.py").exists()]
    sys.path = [home, *kept]
    sys.meta_path = [
        finder for finder in sys.meta_path if "editable" not in f"{finder!r} {type(finder)!r}".lower()
    ]
    importlib.import_module(module)
    outside = [
        name
        for name, loaded in sys.modules.items()
        if name.split(".")[0] in ("app", "chain", "mobile_api", "verifier")
        and not (getattr(loaded, "__file__", None) or home).startswith(home)
    ]
    print("outside:", *outside)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
