"""Futures contracts and the months they expire in."""

import datetime as dt
import re
from dataclasses import dataclass

MONTH_LETTERS = "FGHJKMNQUVXZ"
_DATE = re.compile(r"^\d{8}$")


@dataclass(frozen=True, slots=True, order=True)
class Contract:
    """One listed future. `date` is YYYYMM00 for a monthly contract, YYYYMMDD where the day matters.

    Raises ValueError for a date that is not eight digits with a month of 01 to 12.
    """

    instrument: str
    date: str

    def __post_init__(self) -> None:
        if not _DATE.match(self.date) or not 1 <= int(self.date[4:6]) <= 12 or int(self.date[6:]) > 31:
            raise ValueError(
                f"{self.instrument}: contract date {self.date!r} is not YYYYMM00 or YYYYMMDD, e.g. 20260300"
            )

    @property
    def year(self) -> int:
        return int(self.date[:4])

    @property
    def month(self) -> int:
        return int(self.date[4:6])

    @property
    def day(self) -> int:
        """Day of the month, 0 for a monthly contract."""
        return int(self.date[6:])

    @property
    def letter(self) -> str:
        return MONTH_LETTERS[self.month - 1]

    def in_month(self, year: int, month: int) -> "Contract":
        """The same kind of contract (day part kept) in another month."""
        return Contract(self.instrument, f"{year:04d}{month:02d}{self.day:02d}")

    def approximate_expiry(self, expiry_offset: int) -> dt.date:
        """First of the contract month (or the contract's own day) plus `expiry_offset` calendar days."""
        return dt.date(self.year, self.month, max(self.day, 1)) + dt.timedelta(days=expiry_offset)

    def __str__(self) -> str:
        return f"{self.instrument}/{self.date}"


def parse_contract(text: str) -> Contract:
    """Contract from "CODE/YYYYMM00", the form `str(contract)` gives."""
    instrument, _, contract_date = text.rpartition("/")
    return Contract(instrument, contract_date)
