"""Amounts as users write them: rates (`0.05`, `5%`) and sizes (`20k`, `1.5MB`, `64KiB`)."""

from __future__ import annotations

import re
from decimal import Decimal

from pruneaudit.core.errors import UserError

_RATE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?\s*(%?)", re.IGNORECASE)
_SIZE = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?)\s*(?:([kmg])(i?))?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


def parse_rate(text: str, where: str) -> float:
    """Parses `0.05` or `5%` into a number in 0..1, exactly (0.7% is 0.007).

    Raises:
        UserError: the text is not a rate; `where` names it.
    """
    found = _RATE.fullmatch(text.strip())
    rate = Decimal(found[1] + (found[2] or "")) if found else Decimal(-1)
    rate = rate.scaleb(-2) if found and found[3] else rate
    if not 0 <= rate <= 1:
        raise UserError(f"{where}: got '{text}', expected a rate from 0 to 1, such as 0.05 or 5%")
    return float(rate)


def parse_size(text: str, where: str) -> int:
    """Parses `20000`, `20k`, `1.5MB` (powers of 1,000) or `64KiB` (powers of 1,024) into a whole number.

    Raises:
        UserError: the text is not a size of at least 1; `where` names it.
    """
    found = _SIZE.fullmatch(text.strip())
    size = Decimal(0)
    if found:
        base = 1024 if found[3] else 1000
        size = Decimal(re.sub("[_,]", "", found[1])) * base ** _POWERS[(found[2] or "").lower()]
    if not 1 <= size < 10**18:
        raise UserError(f"{where}: got '{text}', expected a size, such as 20000, 20k or 1.5MB")
    return int(size)
