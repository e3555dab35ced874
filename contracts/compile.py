"""Compile AnchorRegistry.vy and compare with, or write, the committed artefacts. Run by hand and by a test.

    python contracts/compile.py            compare; exit status 1 if they differ
    python contracts/compile.py --write    write contracts/build/ and the copy in chain/abi/

Programs never compile at run time: they use the committed artefact, and this says that it is what the source
gives.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import vyper
from vyper.compiler import compile_code
from vyper.compiler.settings import Settings

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "AnchorRegistry.vy"
ARTEFACTS = (HERE / "build" / "AnchorRegistry.json", HERE.parent / "chain" / "abi" / "AnchorRegistry.json")
EVM_VERSION = "prague"


def compile_artefact() -> bytes:
    """The artefact as JSON: ABI, creation and runtime bytecode, compiler, hash of the source."""
    source = SOURCE.read_text(encoding="utf-8")
    output = compile_code(
        source,
        contract_path=SOURCE.name,
        output_formats=["abi", "bytecode", "bytecode_runtime"],
        settings=Settings(evm_version=EVM_VERSION),
    )
    artefact = {
        "contract": "AnchorRegistry",
        "compiler": f"vyper {vyper.__version__}",
        "evm_version": EVM_VERSION,
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "bytecode_runtime": output["bytecode_runtime"],
    }
    return (json.dumps(artefact, indent=1) + "\n").encode()


def main(arguments: list[str]) -> int:
    """Compare, or write with --write."""
    artefact = compile_artefact()
    different = [path for path in ARTEFACTS if not path.is_file() or path.read_bytes() != artefact]
    if "--write" in arguments:
        for path in different:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(artefact)
        return 0
    for path in different:
        print(f"{path.parent.name}/{path.name} is not what the source gives", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
