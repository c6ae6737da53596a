"""All changes of a module that are tried, one at a time."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, Any

import attrs
import libcst as cst
from libcst import matchers as m
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

TYPE_CHECKER_ONLY = m.OneOf(
    m.Annotation(),
    m.If(test=m.Name("TYPE_CHECKING")),
    m.Assign(value=m.Call(func=m.OneOf(m.Name("TypeVar"), m.Name("ParamSpec")))),
    m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")), value=m.DoesNotMatch(m.Subscript(m.Name("Literal")))),
)
"""Never run, or without effect where it runs. The words of a `Literal` are read at run time as well."""

RAISES_WITHOUT_ITS_ARGUMENTS = m.Call(func=m.OneOf(m.Name("len"), m.Name("isinstance"), m.Name("cast")))
"""To change what these are given makes a TypeError, which any test finds, or nothing."""

NEGATED_OTHERWISE = m.OneOf(m.Comparison(), m.BooleanOperation(), m.UnaryOperation(operator=m.Not()))
"""Conditions that mutmut changes by themselves."""


@attrs.frozen(kw_only=True)
class Change:
    """A module that is changed in one place: the lines there as they were and as they are, and the whole as code.

    `owner` is the function or the class that the place is in, as Python spells it; empty at the level of the module.
    `runs_late` is False where the changed line runs while the module is imported.
    """

    module: str
    owner: str
    was: str
    becomes: str
    code: CodeType = attrs.field(eq=False, repr=False)
    runs_late: bool

    def __str__(self) -> str:
        """As a diff."""
        lines = [f"{self.module}: {self.owner or 'the module'}"]
        lines += [f"  - {line}" for line in self.was.splitlines()]
        lines += [f"  + {line}" for line in self.becomes.splitlines()]
        return "\n".join(lines)


@attrs.frozen
class _Place:
    node: cst.CSTNode
    owner: str
    runs_late: bool


def find_changes(path: Path) -> list[Change]:
    """Every change of a file, in the order of its lines. None of them is a syntax error, no two make the same file."""
    source = path.read_text(encoding="utf-8")
    module = cst.parse_module(source)
    pieces = [module.code_for_node(statement) for statement in module.body]
    head = "".join(module.code_for_node(line) for line in module.header)
    changes = {}
    for number, statement in enumerate(module.body):
        before, after = head + "".join(pieces[:number]), "".join(pieces[number + 1 :])
        for place in _walk(statement):
            for changed in _operate(place.node):
                piece = module.code_for_node(deep_replace(statement, place.node, changed))  # type: ignore[arg-type]  # a node: nothing is removed
                text = before + piece + after
                if text not in changes and text != source and (code := _compile(text, path)) is not None:
                    was, becomes = _differ(pieces[number], piece)
                    changes[text] = Change(
                        module=path.stem,
                        owner=place.owner,
                        was=was,
                        becomes=becomes,
                        code=code,
                        runs_late=place.runs_late,
                    )
    return list(changes.values())


def _walk(node: cst.CSTNode, *, owner: str = "", runs_late: bool = False) -> Iterator[_Place]:
    """What may be changed below a node, and the node itself."""
    if m.matches(node, TYPE_CHECKER_ONLY):
        return
    yield _Place(node, owner, runs_late)
    for child in node.children:
        if isinstance(node, cst.FunctionDef):
            # Functions within a function are the outer one's: its code holds theirs.
            inner = owner if runs_late else _join(owner, node.name.value)
            yield from _walk(child, owner=inner, runs_late=runs_late or child is node.body)
        elif isinstance(node, cst.ClassDef) and not runs_late:
            yield from _walk(child, owner=_join(owner, node.name.value))
        elif not (isinstance(node, cst.Call) and m.matches(node.func, m.Name("cast")) and child is node.args[0]):
            yield from _walk(child, owner=owner, runs_late=runs_late)


def _join(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name


def _operate(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if m.matches(node, RAISES_WITHOUT_ITS_ARGUMENTS):
        return
    for kind, operator in OPERATORS:
        if isinstance(node, kind):
            changed = list(operator(node))
            # Of a text one other is enough; of a pattern the upper and the lower case say something else.
            one = isinstance(node, cst.SimpleString) and "r" not in node.prefix
            yield from changed[:1] if one else changed


def _drop(node: cst.Expr) -> Iterator[cst.CSTNode]:
    """Leave out a statement that is there for its effect."""
    if not isinstance(node.value, cst.BaseString | cst.Ellipsis):
        yield cst.Pass()


def _negate(node: cst.If | cst.While) -> Iterator[cst.CSTNode]:
    """Turn a condition that is a bare name or call, which mutmut leaves as it is."""
    if not m.matches(node.test, NEGATED_OTHERWISE):
        test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(operator=cst.Not(), expression=test))


OPERATORS: Sequence[tuple[type, Callable[[Any], Iterable[cst.CSTNode]]]] = (
    *mutation_operators,
    (cst.Expr, _drop),
    (cst.If, _negate),
    (cst.While, _negate),
)
"""What is done to which nodes."""


def _compile(text: str, path: Path) -> CodeType | None:
    try:
        return compile(text, str(path), "exec", dont_inherit=True)
    except SyntaxError:  # a `return` outside of functions, say
        return None


def _differ(was: str, becomes: str) -> tuple[str, str]:
    """The lines that differ, each without its indentation."""
    old, new = ([line.strip() for line in text.splitlines()] for text in (was, becomes))
    start = _common(old, new)
    end = _common(reversed(old[start:]), reversed(new[start:]))
    return "\n".join(old[start : len(old) - end]), "\n".join(new[start : len(new) - end])


def _common(one: Iterable[str], other: Iterable[str]) -> int:
    """How many lines are equal before the first that are not."""
    count = 0
    for line, its in zip(one, other, strict=False):
        if line != its:
            break
        count += 1
    return count
