"""均等割 and 森林環境税: the flat part of the tax, all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from app.claims.tables import PerCapitaRates


@dataclass(frozen=True, slots=True)
class PerCapita:
    """Yen a year. `forest` is None in years before the national tax existed (fiscal 2024)."""

    municipal: int
    prefectural: int
    forest: int | None

    @property
    def total(self) -> int:
        return self.municipal + self.prefectural + (self.forest or 0)


def per_capita(rates: PerCapitaRates, exempt: bool) -> PerCapita:
    """The year's flat amounts, or zeros for an exempt person."""
    if exempt:
        return PerCapita(0, 0, None if rates.forest is None else 0)
    return PerCapita(rates.municipal, rates.prefectural, rates.forest)
