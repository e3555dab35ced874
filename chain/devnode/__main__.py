"""`python -m chain.devnode --data DIR --port P`: the embedded chain as a process of its own. 模擬/MOCK, demo
only.

    --data DIR      chain.sqlite, and accounts.json (mode 0600) unless --accounts names another file
    --port P        loopback port; 0 takes a free one (the line on stdout says which)
    --chain-id N    default 992011; fixed by the first start of a directory

Prints one JSON line {"rpc", "chain_id", "accounts"} on stdout when it answers, and runs until SIGTERM or
SIGINT.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

from chain.errors import ChainError, SettingsError
from verifier.fault import quiet_uncaught


def main(arguments: list[str] | None = None) -> int:
    """Run the node; 0 after SIGTERM, 2 for settings that cannot be used."""
    quiet_uncaught("devnode")
    parser = argparse.ArgumentParser(
        prog="chain.devnode", description="模擬/MOCK: embedded Ethereum chain, demo only"
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except ChainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, shared with `akashi chain devnode`."""
    parser.add_argument("--data", type=Path, required=True, help="directory of the chain")
    parser.add_argument("--port", type=int, default=8545, help="loopback port, 0 = any")
    parser.add_argument("--chain-id", type=int, default=992011)
    parser.add_argument("--accounts", type=Path, help="file of demo accounts (default: DATA/accounts.json)")


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if os.environ.get("AKASHI_PROFILE") != "demo":
        raise SettingsError("demo-only", "模擬/MOCK: the embedded chain runs with AKASHI_PROFILE=demo only")
    # the EVM library takes 0.7 s to import: only for those who run it
    from chain.devnode.accounts import FUNDS, load_or_create_accounts
    from chain.devnode.blockchain import Blockchain
    from chain.devnode.rpc import Methods
    from chain.devnode.server import LOOPBACK, RpcServer

    options.data.mkdir(parents=True, exist_ok=True)
    accounts_file = options.accounts or options.data / "accounts.json"
    accounts = load_or_create_accounts(accounts_file)
    try:
        blockchain = Blockchain(
            options.data / "chain.sqlite",
            lambda: int(time.time()),
            chain_id=options.chain_id,
            funded={account.address: FUNDS for account in accounts.values()},
        )
    except sqlite3.Error as error:
        raise SettingsError(
            "chain-in-use", "another process owns this chain, or its file cannot be read"
        ) from error
    try:
        server = RpcServer(Methods(blockchain), options.port)
    except OSError as error:
        raise SettingsError("port-in-use", f"port {options.port} cannot be had: {error.strerror}") from error

    def stop(_signal: int, _frame: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    line = {
        "mock": True,
        "rpc": f"http://{LOOPBACK}:{server.server_port}",
        "chain_id": options.chain_id,
        "accounts": str(accounts_file),
    }
    print(json.dumps(line), flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    blockchain.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
