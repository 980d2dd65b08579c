# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who goes when: the order of the hosts and the sizes of the batches, canaries first. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...module_utils._facts.hardware import exact
from .probed import Facts


def hardware_class(facts: Facts) -> str:
    """Hosts with the same words are alike for a rollout: the first of each class is a canary.

    Memory is rounded up to an eighth of its power of two, so that what the kernel keeps for itself makes no class.
    """
    memory = float(facts["memory"]["effective_mib"])
    grain = 2 ** max(0, math.floor(math.log2(memory)) - 3) if memory >= 1 else 1
    rounded = math.ceil(memory / grain) * grain
    size = f"{exact(rounded / 1024)} GiB" if rounded >= 1024 else f"{exact(rounded)} MiB"
    cores = exact(round(float(facts["cores"]["effective"]), 1))
    word = "core" if cores == "1" else "cores"
    return f"{cores} {word}, {size}, {facts['platform']['machine']}, Python {facts['python']['version']}"


@dataclass(frozen=True)
class Order:
    """The order of the hosts and the sizes of the batches; the sum of the sizes is the number of hosts."""

    order: list[str]
    sizes: list[int]


def order_hosts(
    hosts: Sequence[str], classes: Mapping[str, str], canary: str | None, batches: Sequence[str | int]
) -> Order:
    """Who goes when. `batches`: counts or shares ("10%") of `hosts`, the last one repeated until all had their turn.

    The first batch begins with the canary: `canary`, or the first host of all. The first hosts of the other hardware
    classes come right after it, before any class has its second host.
    """
    total = len(hosts)
    first = [canary] if canary is not None and canary in hosts else list(hosts[:1])
    seen = {classes.get(host) for host in first}
    for host in hosts:
        if host not in first and classes.get(host) not in seen:
            first.append(host)
            seen.add(classes.get(host))
    order = first + [host for host in hosts if host not in first]
    sizes: list[int] = []
    left, index = total, 0
    while left > 0:
        wanted = batch_size(batches[min(index, len(batches) - 1)], total)
        if index == 1 and sizes == [1] and len(first) > 1:
            # One canary went alone; the other classes' canaries are a batch of their own.
            sizes.append(len(first) - 1)
            left -= sizes[-1]
            first = first[:1]
            continue
        sizes.append(min(wanted, left))
        left -= sizes[-1]
        index += 1
    return Order(order, sizes)


def after_one(alone: str | None, hosts: Sequence[str], batches: Sequence[str | int]) -> list[str | int]:
    """`batches`, after one of a single host where `alone` is one of `hosts`."""
    return [*([1] if alone in hosts else []), *batches]


def batch_size(batch: str | int, total: int) -> int:
    """Hosts in a batch: a count, or a share of `total` rounded up to at least one."""
    text = str(batch)
    if text.endswith("%"):
        return max(1, math.ceil(total * int(text[:-1]) / 100))
    return max(1, int(text))


def host_facts_line(facts: Facts) -> str:
    """A host in one line: cores and memory with the limit that set them, distribution and Python."""
    cores, memory, system = facts["cores"], facts["memory"], facts.get("os") or {}
    word = "core" if float(cores["effective"]) == 1 else "cores"
    return (
        f"{exact(cores['effective'])} {word} ({cores.get('limited_by', 'host')}), "
        f"{exact(memory['effective_mib'])} MiB ({memory.get('limited_by', 'host')}), "
        f"{str(system.get('id', 'linux')).capitalize()} {system.get('version_id', '')}".rstrip()
        + f", Python {facts['python']['version']}"
    )
