"""How tests are spread over processes: a file is run by one process, so that what it sets up once is set up once, and some
files share one.

pytest-xdist's own groups are not used: pytest 9.2 keeps node ids where xdist 3.8 does not write its group suffix, and
`--dist loadgroup` groups nothing there.
"""

from __future__ import annotations

from typing import Any

import pytest

# beginning of the node id → name: the end-to-end files share one running house
TOGETHER = {"tests/e2e/": "house"}


def find_scope(nodeid: str) -> str:
    """The name of what runs in one process."""
    shared = next((name for beginning, name in TOGETHER.items() if nodeid.startswith(beginning)), None)
    return shared or nodeid.split("::", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In the order of collection, so that the house, which takes longest, begins first."""
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return find_scope(nodeid)

    config.option.loadscopereorder = False
    return FileScheduling(config, log)
