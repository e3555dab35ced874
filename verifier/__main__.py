"""`python -m verifier` is `akashi-verify`."""

from __future__ import annotations

import sys

from verifier.cli import main

if __name__ == "__main__":
    sys.exit(main())
