"""Settings written once: a dataclass whose fields say what is known of each setting. From them come
the checks, the flags of a command, and the keywords and documentation of a function.

    @dataclass(frozen=True, kw_only=True)
    class Options:
        batch_size: int = option(50, "images that go through the network at once", least=1)
        game: str = option("hinge", "what is played: {choices}", choices=("hinge", "minimax"))
        lr: float | None = option(None, "learning rate", above=0, unset="the game's own")

        def __post_init__(self) -> None:
            check(self)

    add_flags(parser, Options)                      # --batch-size N, --game GAME, --lr X
    options = Options(**given(arguments, Options))  # what the command line did not give: defaults

A field's annotation is what decides: ``int``, ``float``, ``bool``, ``str``, ``str | Path`` (where
``~`` is the home folder; a URL stays as it is), each also with ``| None``; ``str | Sequence[str]``
(its flag may be given more than once; the value becomes a tuple); of other unions starting with
``str`` only the flag is checked, and the class checks the rest. Nothing heavy is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError

A = TypeVar("A")
B = TypeVar("B")
O = TypeVar("O")  # noqa: E741
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def option(
    default: T,
    help: str,
    *,
    choices: Iterable[str | int] = (),
    form: str = "",
    pattern: str = "",
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    unset: str = "",
    metavar: str = "",
    flag: bool = True,
) -> T:
    """A field of a dataclass of settings.

    Args:
        default: its default.
        help: one phrase, for ``--help`` and for the docstring; "{choices}" in it lists them.
        choices: the words, or of an int the numbers, that it may be.
        form, pattern: what else it may be: as a person is shown it ("module:factory"), and the
            regular expression that all of it matches.
        least, above: the lower bound, included or not.
        most, below: the upper bound, included or not.
        unset: what the default means, if that is None or empty.
        metavar: the flag's placeholder, if not that of the type.
        flag: whether a command has a flag for it.
    """
    bounds = {"least": least, "above": above, "most": most, "below": below}
    known = _Option(
        help,
        tuple(choices),
        form,
        pattern,
        {name: bound for name, bound in bounds.items() if bound is not None},
        unset,
        metavar,
        flag,
    )
    made: T = field(default=default, metadata={"option": known})
    return made


@dataclass(frozen=True)
class _Option:
    help: str
    choices: tuple[Any, ...]
    form: str
    pattern: str
    bounds: Mapping[str, Any]
    unset: str
    metavar: str
    flag: bool


def check(settings: Any) -> None:
    """Raise InputError for a field of ``settings`` that can't be; the others become plain Python
    (an int, not NumPy's; a str, not a Path)."""
    for one in dataclasses.fields(settings):
        if "option" in one.metadata:
            value = _checked(one, one.name, getattr(settings, one.name))
            object.__setattr__(settings, one.name, value)


def _checked(one: dataclasses.Field[Any], name: str, value: Any) -> Any:
    known: _Option = one.metadata["option"]
    kind = _kind(one)
    if value is None and str(one.type).endswith("| None"):
        return None
    if kind == "int" and known.choices:
        return _checks.integer_of(name, value, known.choices)
    if kind == "int":
        return _checks.integer(name, value, **known.bounds)
    if kind == "float":
        return _checks.number(name, value, **known.bounds)
    if kind == "bool":
        return _checks.flag(name, value)
    if kind == "str | Path":
        return _checks.place(name, value)
    if kind == "str | Sequence[str]":
        texts = (value,) if isinstance(value, str) else value
        if isinstance(texts, Sequence) and all(isinstance(text, str) for text in texts):
            return tuple(texts)
        raise InputTypeError(f"{name}: got {value!r}; give a text, or a list of texts")
    if kind == "str" and known.choices:
        return _checks.one_of(name, value, known.choices, form=known.form, pattern=known.pattern)
    if kind == "str" and not isinstance(value, str):
        raise InputTypeError(f"{name}: got {value!r}; give a text")
    return value


def _kind(one: dataclasses.Field[Any]) -> str:
    return str(one.type).removesuffix(" | None")


def add_flags(parser: argparse.ArgumentParser, cls: type) -> None:
    """A flag for each option of ``cls``, but those with ``flag=False``. One that the command line
    leaves out is not in the namespace. A bool that is not False by default gets a --no-... too."""
    for one in dataclasses.fields(cls):
        known: _Option | None = one.metadata.get("option")
        if known is None or not known.flag:
            continue
        flag = f"--{one.name.replace('_', '-')}"
        facts: dict[str, Any] = {"dest": one.name, "default": argparse.SUPPRESS}
        facts["help"] = _text(one).replace("%", "%%")
        if _kind(one) == "bool":
            on = "store_true" if one.default is False else argparse.BooleanOptionalAction
            parser.add_argument(flag, action=on, **facts)
            continue
        placeholder = {"int": "N", "float": "X"}.get(_kind(one), one.name.upper())
        facts["metavar"] = known.metavar or placeholder
        if _kind(one) == "str | Sequence[str]":
            parser.add_argument(flag, action="append", **facts)
            continue
        parser.add_argument(flag, type=functools.partial(_from_text, one, flag), **facts)


def _from_text(one: dataclasses.Field[Any], flag: str, text: str) -> Any:
    """The value of a flag; a mistake is reported in the words of the checks, not argparse's."""
    number = {"int": int, "float": float}.get(_kind(one))
    value: Any = text
    if number is not None:
        with contextlib.suppress(ValueError):  # for which the check below has the words
            value = number(text)
    known: _Option = one.metadata["option"]
    try:
        if known.choices and number is None:  # of a union too: all of it is text here
            return _checks.one_of(flag, text, known.choices, form=known.form, pattern=known.pattern)
        return _checked(one, flag, value)
    except InputError as error:
        raise argparse.ArgumentError(None, str(error)) from None


def given(arguments: argparse.Namespace, cls: type) -> dict[str, Any]:
    """What the command line gave of the options of ``cls``."""
    names = {one.name for one in dataclasses.fields(cls) if "option" in one.metadata}
    return {name: value for name, value in vars(arguments).items() if name in names}


def _text(one: dataclasses.Field[Any]) -> str:
    """What an option is, and its default."""
    known: _Option = one.metadata["option"]
    words = [*map(str, known.choices), *filter(None, [known.form])]
    listed = " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
    text = known.help.replace("{choices}", listed)
    default = known.unset if one.default in (None, (), "") else str(one.default)
    if isinstance(one.default, bool):
        default = "on" if one.default else ""
    return f"{text} (default: {default})" if default else text


class with_options(Generic[P, O]):
    """Decorates ``function(source, options)`` or ``function(one, two, options)``: its callers give
    the fields of the dataclass ``cls`` as keywords, which help(), inspect and type checkers see. A
    line "{options}" in the docstring becomes their documentation."""

    def __init__(self, cls: Callable[P, O]) -> None:
        self._cls: Any = cls

    @overload
    def __call__(self, function: Callable[[A, O], R]) -> Callable[Concatenate[A, P], R]: ...

    @overload
    def __call__(self, function: Callable[[A, B, O], R]) -> Callable[Concatenate[A, B, P], R]: ...

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        cls, own = self._cls, inspect.signature(function)
        *sources, _ = own.parameters.values()
        keywords = inspect.signature(cls).parameters
        known = {*keywords, *(one.name for one in sources)}

        @functools.wraps(function)
        def called(*args: Any, **given: Any) -> Any:
            for name in given:
                if name not in known:
                    raise TypeError(
                        f"{function.__name__}() got an unexpected keyword argument {name!r}"
                        f"{_checks.suggestion(name, keywords)}"
                    )
            options = cls(**{name: given.pop(name) for name in list(given) if name in keywords})
            return function(*args, **given, options=options)

        signature = own.replace(parameters=[*sources, *keywords.values()])
        vars(called)["__signature__"] = signature
        called.__doc__ = _filled(called.__doc__, cls)
        return called


def documented(cls: type[T]) -> type[T]:
    """Decorates a dataclass of settings: a line "{options}" in its docstring becomes the
    documentation of them all."""
    cls.__doc__ = _filled(cls.__doc__, cls)
    return cls


def _filled(text: str | None, cls: type) -> str:
    return re.sub(r"^( *)\{options\}$", _documentation(cls), text or "", flags=re.M)


def _documentation(cls: type) -> Callable[[re.Match[str]], str]:
    """What a docstring says of each option, at the margin that was found."""

    def written(margin: re.Match[str]) -> str:
        texts = [f"{one.name}: {_text(one)}." for one in dataclasses.fields(cls)]
        first, then = margin[1], f"{margin[1]}    "
        lines = (
            textwrap.fill(text, 100, initial_indent=first, subsequent_indent=then) for text in texts
        )
        return "\n".join(lines)

    return written
