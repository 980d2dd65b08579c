# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Compact evidence of latencies: a histogram in HdrHistogram's V2 compressed format, and a digest of the samples.

The format is that of the HdrHistogram project (github.com/HdrHistogram/HdrHistogram, "V2 encoding"), so its plotters
and libraries read the evidence. Values are whole microseconds, kept to three significant digits; failures are not in
it.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .types import Samples

LOWEST = 1
HIGHEST = 3_600_000_000  # an hour in microseconds
DIGITS = 3
_SUB_BUCKETS = 2048  # the power of two that holds 2 x 10**DIGITS
_HALF = _SUB_BUCKETS // 2
_COOKIE = 0x1C849303 | 0x10
_COMPRESSED = 0x1C849304 | 0x10


@dataclass
class Histogram:
    """Counts by slot of HdrHistogram's layout for 1..3,600,000,000 microseconds and three digits."""

    counts: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of_milliseconds(cls, latencies: Iterable[float]) -> Histogram:
        """From latencies in milliseconds; infinite ones are left out."""
        histogram = cls()
        for latency in latencies:
            if math.isfinite(latency):
                slot = slot_of(round(latency * 1000.0))
                histogram.counts[slot] = histogram.counts.get(slot, 0) + 1
        return histogram

    @property
    def total(self) -> int:
        """How many values are in it."""
        return sum(self.counts.values())

    def value_at(self, q: float) -> float | None:
        """The q-quantile in microseconds: the highest value equal to it at three digits; None when empty."""
        wanted = max(1, math.ceil(round(q * self.total, 9)))
        seen = 0
        for slot in sorted(self.counts):
            seen += self.counts[slot]
            if seen >= wanted:
                low, width = value_of(slot)
                return float(low + width - 1)
        return None

    def encode(self) -> str:
        """Base64 of the V2 compressed encoding."""
        payload = bytearray()
        empty = 0
        for slot in range(max(self.counts) + 1 if self.counts else 0):
            count = self.counts.get(slot, 0)
            if count == 0:
                empty += 1
                continue
            if empty:
                payload += _zigzag(-empty)
                empty = 0
            payload += _zigzag(count)
        head = struct.pack(">iiiiqqd", _COOKIE, len(payload), 0, DIGITS, LOWEST, HIGHEST, 1.0)
        packed = zlib.compress(head + bytes(payload), 9)
        return base64.b64encode(struct.pack(">ii", _COMPRESSED, len(packed)) + packed).decode()

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """The inverse of `encode`; ValueError for anything else."""
        raw = base64.b64decode(text, validate=True)
        if len(raw) < 8 or struct.unpack(">i", raw[:4])[0] != _COMPRESSED:
            raise ValueError("not a histogram in HdrHistogram's V2 compressed encoding")
        data = zlib.decompress(raw[8:])
        cookie, length, _offset, digits, lowest, highest, _ratio = struct.unpack(">iiiiqqd", data[:40])
        if (cookie, digits, lowest, highest) != (_COOKIE, DIGITS, LOWEST, HIGHEST):
            raise ValueError("a histogram of another range or precision")
        histogram = cls()
        slot = place = 0
        payload = data[40 : 40 + length]
        while place < len(payload):
            count, place = _unzigzag(payload, place)
            if count < 0:
                slot -= count
                continue
            histogram.counts[slot] = count
            slot += 1
        return histogram


def slot_of(value: int) -> int:
    """The slot of a value in microseconds; values outside of the range count at its ends."""
    value = min(HIGHEST, max(0, value))
    bucket = max(0, value.bit_length() - 11)
    return ((bucket + 1) * _HALF) + ((value >> bucket) - _HALF)


def value_of(slot: int) -> tuple[int, int]:
    """The lowest value of a slot and the number of values that share it."""
    bucket = slot // _HALF - 1
    sub = slot % _HALF + _HALF
    if bucket < 0:
        bucket, sub = 0, sub - _HALF
    return sub << bucket, 1 << bucket


def _zigzag(value: int) -> bytes:
    """ZigZag LEB128 of a 64-bit integer, as HdrHistogram writes it (the ninth byte holds eight bits)."""
    number = (value << 1) ^ (value >> 63)
    out = bytearray()
    while number >= 0x80 and len(out) < 8:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number & 0xFF)
    return bytes(out)


def _unzigzag(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    for count in range(9):
        byte = data[place]
        place += 1
        if count == 8:
            number |= byte << shift
            break
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return (number >> 1) ^ -(number & 1), place


def digest(samples: Samples) -> str:
    """SHA-256 of every request's due time (microseconds), latency (microseconds, -1: failed), status and path."""
    sha = hashlib.sha256()
    paths = samples.path or [0] * len(samples.status)
    for start, latency, status, path in zip(samples.start_s, samples.latency_ms, samples.status, paths):
        microseconds = round(latency * 1000.0) if math.isfinite(latency) else -1
        sha.update(struct.pack(">qqii", round(start * 1e6), microseconds, status, path))
    return f"sha256:{sha.hexdigest()}"
