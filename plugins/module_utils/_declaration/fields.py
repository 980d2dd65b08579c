# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The engine of the declaration: fields that describe a value, and the parser that checks a value against them.

A `Field` says everything about one key once: its type, default, what is allowed, unit, help and an example.
Validation, the roles' argument_specs and docs/variables.md are all made from it. Nothing here knows which variables
Headcount has.

Every problem is collected; nothing raises for a wrong value. A problem never shows the value of a field that may hold
a secret.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Union

from . import urls

Part = Union[str, int]


class _Sentinel:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


REQUIRED: Final = _Sentinel("REQUIRED")
"""Default of a field that must be declared."""
ABSENT: Final = _Sentinel("ABSENT")
"""Default of a field whose key is left out of the normalised form unless it is declared."""

_UNIT_WORDS: Final = {
    "ms": "milliseconds",
    "seconds": "seconds",
    "MiB": "MiB",
    "per second": "requests per second",
    "percent": "percent",
    "cores": "cores",
}
_TYPES: Final = ("str", "scalar", "int", "number", "bool", "section", "list", "map", "plain")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]*@")
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_PLAIN_YAML: Final = re.compile(r"[A-Za-z/_][A-Za-z0-9/_.+-]*")
_YAML_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_YAML_SWITCH: Final = {True: "on", False: "off"}
"""What YAML reads as a boolean, where the word is a choice."""
_SHOWN_CHARACTERS: Final = 60
_LISTED_KEYS: Final = 20
_SANITY_BOUND: Final = 100_000


class Invalid(ValueError):
    """A value is refused. `str()` is the reason ("no port"), `fix` a better value where one is known.

    `advice` says what to do where that is not to write another value.
    """

    def __init__(self, reason: str = "", fix: object = None, advice: str = "") -> None:
        super().__init__(reason)
        self.fix = fix
        self.advice = advice


class Refusal(NamedTuple):
    """Why a key is not taken, and the key that does it, if there is one."""

    why: str
    instead: str = ""


Parsed = dict[str, Any]
"""A section as it was read from the inventory: checked key by key, but with None where something was refused."""


@dataclass(frozen=True)
class Problem:
    """One refusal: where it is, what stands there, what is allowed, and what to write instead.

    `parts` is the place, beginning with the variable's name: `("headcount_apps", 0, "limits", "p95_ms")`. `what`
    is the second half of the sentence ("is 'fast'"); `allowed` and `fix` may be empty.
    """

    host: str
    parts: tuple[Part, ...]
    what: str
    allowed: str = ""
    fix: str = ""

    @property
    def variable(self) -> str:
        """The place as a person writes it: `headcount_apps[0].limits.p95_ms`."""
        return place(self.parts)

    @property
    def text(self) -> str:
        """The sentence without the host."""
        sentence = f"{self.variable} {self.what}"
        if self.allowed:
            sentence += f": allowed is {self.allowed}"
        if self.fix:
            sentence += f"; fix: {self.fix}"
        return sentence

    def __str__(self) -> str:
        return f"host {self.host}: {self.text}"


@dataclass(frozen=True)
class Field:
    """One key that can be declared.

    type: str, scalar (a string, or a whole number that becomes one; may be empty), int, number, bool, section (a
    mapping with the keys in `fields`), list (of `items`), map (any keys, values as `items`) or plain (a mapping of
    whatever JSON can hold).
    default: a value, REQUIRED, or ABSENT; None makes the field optional without a value. A declared null counts as not
    declared.
    allowed: what is allowed in words; made from type, unit, choices and bounds when empty.
    above, minimum, below, maximum: bounds of a number; of the length of a list.
    check: gets the parsed value, returns it (or its canonical form), raises Invalid.
    key_check: the same for the keys of a map.
    shorthand: the key of the section that a bare string stands for; of a list, what parts the elements of a
    bare string.
    from_text: the list that a string is told to be written as, where that is not the string alone.
    quiet: the value may be secret: never shown in a problem.
    replace: an override of this section replaces it as a whole instead of being merged.
    same_for_all: every host of the play must have the same value, because it steers the rollout as a whole.
    default_help: what an absent value means, in words.
    """

    name: str
    type: str
    help: str
    default: object = None
    example: object = None
    unit: str = ""
    allowed: str = ""
    choices: tuple[str, ...] = ()
    above: float | None = None
    minimum: float | None = None
    below: float | None = None
    maximum: float | None = None
    check: Callable[[Any], Any] | None = None
    key_check: Callable[[str], str] | None = None
    fields: tuple[Field, ...] = ()
    items: Field | None = None
    shorthand: str = ""
    from_text: Callable[[str], list[str]] | None = None
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    quiet: bool = False
    replace: bool = False
    same_for_all: bool = False
    default_help: str = ""

    def __post_init__(self) -> None:
        if self.type not in _TYPES:
            raise AssertionError(f"field {self.name}: type {self.type!r} is none of {_TYPES}")
        if (self.type == "section") != bool(self.fields):
            raise AssertionError(f"field {self.name}: a section, and only a section, has fields")
        if (self.type in ("list", "map")) != (self.items is not None):
            raise AssertionError(f"field {self.name}: lists and maps, and only they, have items")

    @property
    def required(self) -> bool:
        """Whether the field must be declared."""
        return self.default is REQUIRED

    @property
    def allowed_text(self) -> str:
        """What is allowed, in words, for messages and the documentation."""
        return self.allowed or _allowed(self)


@dataclass
class Context:
    """Where the parser stands and what it has found so far."""

    host: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, parts: tuple[Part, ...], what: str, allowed: str = "", fix: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(self.host, parts, what, allowed, fix))


def place(parts: Iterable[Part]) -> str:
    """The path of a value as a person writes it: `("a", 0, "b")` is `a[0].b`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif text:
            text += f".{part}"
        else:
            text = part
    return text


def inline(value: object) -> str:
    """A value as one line of YAML, for the fix in a message and for examples."""
    if isinstance(value, str):
        plain = _PLAIN_YAML.fullmatch(value) and value.lower() not in _YAML_WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{inline(str(key))}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value)


def kind_of(value: object) -> str:
    """The kind of a value, in words and without the value."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return "a list"
    return f"of type {type(value).__name__}"


def shown(value: object, quiet: bool = False) -> str:
    """A value in a message: short, on one line, without the credentials of a URL; only its kind when it may be
    secret.
    """
    if quiet or value is None or not isinstance(value, (bool, int, float, str)):
        return kind_of(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = repr(value)
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    masked = _CREDENTIALS.sub("...@", urls.masked(value))
    if len(masked) > _SHOWN_CHARACTERS:
        masked = masked[:_SHOWN_CHARACTERS] + "..."
    return repr(masked)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name that is closest to a mistyped one, or an empty string."""
    folded = {item.lower(): item for item in known}
    wanted = name.lower().replace("-", "_")
    close = difflib.get_close_matches(wanted, folded, n=3, cutoff=0.6)
    swapped = [item for item in close if sorted(item) == sorted(wanted)]  # p59_ms is p95_ms, and not p99_ms
    return folded[(swapped or close)[0]] if close else ""


def walk(fields: Iterable[Field], prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Every field with its dotted path, depth first; `[]` marks the elements of a list, `<name>` the values of a
    map.
    """
    for item in fields:
        path = f"{prefix}.{item.name}" if prefix else item.name
        yield path, item
        inner = item
        while inner.items is not None:
            path += "[]" if inner.type == "list" else ".<name>"
            inner = inner.items
        yield from walk(inner.fields, path)


def parse(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    """The value in its normalised form; problems go to the context, and a refused value becomes the field's default
    (or None).
    """
    if value is None and not item.required:
        return _default(item, parts, context)
    try:
        return _PARSERS[item.type](item, value, parts, context)
    except Invalid as problem:
        reason = f" ({problem})" if str(problem) else ""
        fix = problem.advice or _assignment(parts[-1], item.example if problem.fix is None else problem.fix)
        context.add(parts, f"is {shown(value, item.quiet)}{reason}", item.allowed_text, fix)
        return None if item.default in (REQUIRED, ABSENT) else _default(item, parts, Context(context.host))


def _assignment(key: Part, value: object) -> str:
    return inline(value) if isinstance(key, int) else f"{key}: {inline(value)}"


def parse_fields(
    fields: Sequence[Field],
    value: Mapping[object, object],
    parts: tuple[Part, ...],
    context: Context,
    elsewhere: Mapping[str, str],
    refused: Mapping[str, Refusal] | None = None,
) -> Parsed:
    """A section's keys, parsed; every unknown key is a problem. `elsewhere` tells where a key of that name does
    belong, `refused` why it is not taken.
    """
    _check_keys(fields, value, parts, context, elsewhere, refused or {})
    result: Parsed = {}
    for item in fields:
        here = (*parts, item.name)
        if item.name not in value or (value[item.name] is None and not item.required):
            if item.required:
                context.add(here, "is missing", item.allowed_text, f"{item.name}: {inline(item.example)}")
                result[item.name] = None
            elif item.default is not ABSENT:
                result[item.name] = _default(item, here, context)
            continue
        result[item.name] = parse(item, value[item.name], here, context)
    return result


def _check_keys(
    fields: Sequence[Field],
    value: Mapping[object, object],
    parts: tuple[Part, ...],
    context: Context,
    elsewhere: Mapping[str, str],
    refused: Mapping[str, Refusal],
) -> None:
    """A problem for every key that no field has; arguments as parse_fields() has them."""
    names = [item.name for item in fields]
    for key in value:
        if key in names:
            continue
        text = str(key)
        if text in refused:
            why, instead = refused[text]
            context.add((*parts, text), f"is not taken: {why}", "", f"use {instead}" if instead else "remove it")
            continue
        from .meant import key_of

        meant = key_of(text, names)
        if text in elsewhere:
            fix = f"it belongs at {elsewhere[text]}"
        else:
            fix = f"did you mean {meant}?" if meant else "remove it"
        listed = len(names) <= _LISTED_KEYS or fix == "remove it"
        allowed = ", ".join(names) if listed else "a key that docs/variables.md names"
        context.add((*parts, text), "is not known", allowed, fix)


def _default(item: Field, parts: tuple[Part, ...], context: Context) -> object:
    if item.type == "section" and item.default is not None:
        return parse_fields(item.fields, {}, parts, context, {})
    if item.default is None or item.default is ABSENT:
        return None
    return parse(item, item.default, parts, context)


def _string(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if isinstance(value, bool) and _YAML_SWITCH[value] in item.choices:
        return _YAML_SWITCH[value]
    if isinstance(value, bool) or not isinstance(value, str):
        fix = None
        if isinstance(value, (int, float)) and not item.quiet and not item.choices:
            fix = json.dumps(value) if isinstance(value, bool) else str(value)
        raise Invalid(f"{kind_of(value)} and not a string" if isinstance(value, (bool, int, float)) else "", fix)
    text = str(value)
    if item.choices:
        if text not in item.choices:
            meant = did_you_mean(text, item.choices)
            raise Invalid("", meant or None)
        return text
    if not text.strip():
        raise Invalid("empty")
    return item.check(text) if item.check else text


def _scalar(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if isinstance(value, (bool, float)):
        raise Invalid("not a string", advice="put it in quotes")
    if not isinstance(value, (str, int)):
        raise Invalid()
    text = str(value)
    return item.check(text) if item.check else text


def _number(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise Invalid() from None
    else:
        raise Invalid()
    if not math.isfinite(number):
        raise Invalid()
    return _bounded(item, number)


def _integer(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return _bounded(item, int(value))
    if isinstance(value, float) and value.is_integer():
        return _bounded(item, int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return _bounded(item, int(value))
    raise Invalid()


def _bounded(item: Field, number: Any) -> object:
    if item.maximum is not None and number > item.maximum:
        raise Invalid(f"more than {inline(item.maximum)}")
    low = (item.above is not None and number <= item.above) or (item.minimum is not None and number < item.minimum)
    if low or (item.below is not None and number >= item.below):
        raise Invalid()
    return item.check(number) if item.check else number


def _boolean(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise Invalid()


def _section(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if isinstance(value, str) and item.shorthand:
        value = {item.shorthand: value}
    if not isinstance(value, Mapping):
        raise Invalid()
    return parse_fields(item.fields, value, parts, context, {}, item.refused)


def _plain(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if not isinstance(value, Mapping):
        raise Invalid()
    try:
        plain: object = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise Invalid("it holds what JSON cannot") from None
    return plain


def _list(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if isinstance(value, str) and item.shorthand:
        value = [element.strip() for element in value.split(item.shorthand)]
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        from .meant import list_of

        raise Invalid("", list_of(item, value, parts))
    if item.minimum is not None and len(value) < item.minimum:
        raise Invalid("an empty list" if not value else f"a list of {len(value)}")
    assert item.items is not None
    before = len(context.problems)
    result = [parse(item.items, element, (*parts, index), context) for index, element in enumerate(value)]
    return item.check(result) if item.check and len(context.problems) == before else result


def _map(item: Field, value: object, parts: tuple[Part, ...], context: Context) -> object:
    if not isinstance(value, Mapping):
        raise Invalid()
    assert item.items is not None
    result: dict[str, object] = {}
    for key, element in value.items():
        here = (*parts, str(key))
        try:
            if not isinstance(key, str):
                raise Invalid(f"{kind_of(key)} and not a string")
            name = item.key_check(str(key)) if item.key_check else str(key)
        except Invalid as problem:
            fix = problem.advice or "rename or remove it"
            context.add(here, f"has a name that is refused ({problem})", item.allowed_text, fix)
            continue
        if element is None:
            fix = f"{name}: {inline(item.items.example)}"
            context.add(here, "is empty", item.items.allowed_text, fix)
            continue
        result[name] = parse(item.items, element, here, context)
    return result


_PARSERS: Final[dict[str, Callable[[Field, object, tuple[Part, ...], Context], object]]] = {
    "str": _string,
    "scalar": _scalar,
    "int": _integer,
    "number": _number,
    "bool": _boolean,
    "section": _section,
    "list": _list,
    "map": _map,
    "plain": _plain,
}


def _allowed(item: Field) -> str:
    if item.type in ("str", "scalar"):
        return "one of " + ", ".join(item.choices) if item.choices else "a string"
    if item.type == "bool":
        return "true or false"
    if item.type in ("int", "number"):
        return _allowed_number(item)
    if item.type == "section":
        keys = "a mapping with the keys " + ", ".join(inner.name for inner in item.fields)
        return f"a string (its {item.shorthand}) or {keys}" if item.shorthand else keys
    if item.type == "plain":
        return "a mapping"
    assert item.items is not None
    kind = "a list" if item.type == "list" else "a mapping of names"
    return f"{kind}, each {item.items.allowed_text}"


def _allowed_number(item: Field) -> str:
    words = "a whole number" if item.type == "int" else "a number"
    if item.unit:
        words += f" of {_UNIT_WORDS.get(item.unit, item.unit)}"
    low, high = item.minimum, item.maximum
    if high is not None and high >= _SANITY_BOUND:
        high = None  # against slips only; said when it is broken
    if low is not None and high is not None:
        return f"{words} from {inline(low)} to {inline(high)}"
    if item.above is not None:
        words += f" above {inline(item.above)}"
    if low is not None:
        words += f", {inline(low)} or more" if item.unit else f" of {inline(low)} or more"
    if item.below is not None:
        words += f" and below {inline(item.below)}" if item.above is not None else f" below {inline(item.below)}"
    if high is not None:
        words += f" and at most {inline(high)}" if item.above is not None else f" of at most {inline(high)}"
    return words
