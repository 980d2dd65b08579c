# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which text of an entry Ansible fills in: what is made here alone, whatever a project or a host has in theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import yaml

from .draft import Draft, Proposal, Question

_MARKS: Final = re.compile(r"\{\{|\{%|\{#|#jinja2:")
"""What begins a template of Jinja; Ansible takes a text for one without braces where it begins with the last."""
_LONGEST: Final = 255
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Template(str):
    """A template of Jinja that Headcount made itself. Text from anywhere else is never one."""

    __slots__ = ()


def variable(name: str) -> Template:
    """The value of a variable of Ansible."""
    return Template(f"{{{{ {_named(name)} }}}}")


def password(app: str, name: str) -> Template:
    """A value that is made once, at random, and kept in a file of the controller."""
    if not re.fullmatch(r"[a-z0-9-]+", app):
        raise ValueError(f"{app!r} is no name of an app")
    return Template(
        f"{{{{ lookup('ansible.builtin.password', '~/.config/headcount/secrets/{app}/{_named(name)}', "
        "length=48, chars=['ascii_letters', 'digits']) }}"
    )


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a variable")
    return name


def is_foreign(value: object) -> bool:
    """Whether a text that Headcount did not make would be filled in as a template."""
    return isinstance(value, str) and not isinstance(value, Template) and bool(_MARKS.search(value))


def is_key(name: object) -> bool:
    """Whether a text can be a key of an entry: nothing marks a key as no template, and YAML reads no long ones."""
    return not is_foreign(name) and str(name).isprintable() and len(str(name)) <= _LONGEST


def plain(value: Any) -> Any:
    """A value of an entry in builtin types."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def without_odd_keys(proposal: Proposal) -> Proposal:
    """A proposal without the keys that cannot be any, and a question that names them."""
    odd: list[str] = []
    kept = _kept(proposal.entry, "", odd)
    if not odd:
        return proposal
    asked = Question(f"the entry leaves out {', '.join(odd)}: no key of an entry is called so; what is it?", must=True)
    return replace(proposal, entry=kept, questions=(*proposal.questions, asked))


def _kept(value: Any, path: str, odd: list[str]) -> Any:
    if isinstance(value, Mapping):
        odd += [f"{path} {str(key)[:_LONGEST]!r}".strip() for key in value if not is_key(key)]
        return {key: _kept(item, f"{path}.{key}".strip("."), odd) for key, item in value.items() if is_key(key)}
    return [_kept(item, path, odd) for item in value] if isinstance(value, (list, tuple)) else value


def without_odd_variables(draft: Draft) -> None:
    """Leave out the variables of a project that are called as no variable of an environment is, and name them."""
    app = draft.app
    given = draft.hints.given
    odd = sorted({name for name in _variables(draft) if not _NAME.fullmatch(name)})
    if not odd:
        return
    draft.app = replace(
        app,
        variables=tuple(item for item in app.variables if item.name not in odd),
        required={name: value for name, value in app.required.items() if name not in odd},
        weak={name: found for name, found in app.weak.items() if found[1] not in odd},
    )
    draft.hints = replace(draft.hints, given={name: value for name, value in given.items() if name not in odd})
    draft.ask(
        f"the entry leaves out {', '.join(map(repr, odd))}: no variable of an environment is called so", must=True
    )


def _variables(draft: Draft) -> Iterator[str]:
    yield from (item.name for item in draft.app.variables)
    yield from draft.app.required
    yield from (name for _, name in draft.app.weak.values() if name)
    yield from draft.hints.given


class _Loader(yaml.SafeLoader):
    """Reads an entry as its text says it."""


def _as_it_is(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("!unsafe", _as_it_is)


def read(text: str) -> Any:
    """The text of an entry as data, none of it filled in."""
    return yaml.load(text, Loader=_Loader)  # a loader of builtin types alone
