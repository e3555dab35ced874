"""Letters of the city with a confirmation code, as files: 模擬/MOCK of a printing and posting service.

It stands in the number-using zone beside the register, because a letter has a name and an address on it; neither leaves
the zone by any other way. Demo profile only.
"""

from __future__ import annotations

import os
from pathlib import Path


class LetterBox:
    """Writes letters into `directory`, one file a mandate, 0600; writing one again replaces it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def post(self, mandate: str, *, name: str, address: str, code: str) -> None:
        """One letter. Raises: OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._directory / f"mandate-{mandate}.txt"
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(
                "【模擬/MOCK】この手紙は見本です。実在の人・市ではありません。/ A mock letter; nobody here exists.\n\n"
                f"{address}\n{name} 様\n\n"
                "あなたのカードで、証明書の請求と受け取りを代わりの方に任せる手続き(委任)がありました。\n"
                "お心当たりがあるときだけ、次の確認番号をご自分のスマートフォンに入れてください。\n"
                "お心当たりがないときは、入れずに市へお電話ください。番号を人に教えないでください。\n\n"
                "Somebody used your card to let another person ask for your certificates. Only if this was you,\n"
                "type this code into your own phone; otherwise telephone the city. Tell the code to nobody.\n\n"
                f"委任 / mandate: {mandate}\n確認番号 / code: {code}\n"
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
