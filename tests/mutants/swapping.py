"""A changed module in the place of the one that is imported: function by function, or before anybody imports it."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec
    from pathlib import Path

Key: TypeAlias = tuple[str, int]
"""A function by the name that Python gives it, and which of those of that name it is."""


@attrs.frozen
class Functions:
    """The functions of a file that exist in this process, wherever they are held."""

    _found: tuple[tuple[FunctionType, Key], ...]

    @classmethod
    def of(cls, path: Path) -> Functions:
        """Those that were made from this file until now; functions within functions too, where they live already."""
        whole = compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
        keys = {(code.co_qualname, code.co_firstlineno): key for key, code in _number(whole).items()}
        gc.collect()
        mine = (it for it in gc.get_objects() if isinstance(it, FunctionType) and it.__code__.co_filename == str(path))
        return cls(tuple((it, keys[it.__code__.co_qualname, it.__code__.co_firstlineno]) for it in mine))

    def fit(self, changed: CodeType) -> bool:
        """Whether all can be exchanged: Python refuses where one has another number of outer variables."""
        return all(len(new.co_freevars) == len(old.__code__.co_freevars) for old, new in self._pair(changed))

    def swap(self, changed: CodeType) -> None:
        """Let all of them run what the changed module says, for whoever holds them."""
        for old, new in self._pair(changed):
            old.__code__ = new

    def _pair(self, changed: CodeType) -> Iterator[tuple[FunctionType, CodeType]]:
        codes = _number(changed)
        return ((function, codes[key]) for function, key in self._found if key in codes)


def _number(whole: CodeType) -> dict[Key, CodeType]:
    seen: Counter[str] = Counter()
    codes = {}
    for code in _walk(whole):
        codes[code.co_qualname, seen[code.co_qualname]] = code
        seen[code.co_qualname] += 1
    return codes


def _walk(code: CodeType) -> Iterator[CodeType]:
    for held in code.co_consts:
        if isinstance(held, CodeType):
            yield held
            yield from _walk(held)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, _: str) -> CodeType:
        return self._code


@attrs.frozen
class _Finder:
    name: str
    code: CodeType

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        file = self.code.co_filename
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, file, self.code))


def import_as(name: str, code: CodeType) -> None:
    """Let the module of this name be this code for whoever imports it from now on, in this process."""
    if name in sys.modules:
        message = f"{name} is imported already"
        raise RuntimeError(message)
    sys.meta_path.insert(0, _Finder(name, code))
