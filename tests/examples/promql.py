"""What PromQL expressions ask for: their metrics and labels, of as much of the language as the dashboard uses.

It refuses whatever else there is in an expression, so that nothing passes unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

WORD = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<range>\[(?:\d+(?:ms|[smhdwy])|\$__(?:rate_interval|range))\])
      | (?P<number>\d+(?:\.\d+)?)
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|>=|<=|==|[-+*/<>=(){},])
    )\s*""",
    re.VERBOSE,
)
MATCHES = ("=", "!=", "=~", "!~")
OPERATORS = ("+", "-", "*", "/", "<", ">", "<=", ">=", "==", "!=")
AGGREGATIONS = ("max", "min", "sum")
FUNCTIONS = ("histogram_quantile", "increase", "rate")


@attrs.frozen
class Matcher:
    """One condition on a label, `{status="error"}`."""

    label: str
    sign: str
    value: str


@attrs.frozen
class Asked:
    """What an expression asks for: the conditions on each metric, and the labels by which it groups or joins.

    `grouping` is None where nothing is grouped.
    """

    metrics: Mapping[str, tuple[Matcher, ...]]
    grouping: frozenset[str] | None


def read_expression(text: str) -> Asked:
    """What a PromQL expression asks for. Raises ValueError for what it does not understand."""
    reader = _Reader(text=text, words=[*_split(text), ("end", "")])
    reader.read()
    return Asked(reader.metrics, reader.grouping)


def _split(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = WORD.match(text, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"this is not understood, at character {at}: {text}")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


@attrs.define
class _Reader:
    """Reads by recursive descent, and notes what is asked for."""

    text: str
    words: list[tuple[str, str]]
    at: int = 0
    metrics: dict[str, tuple[Matcher, ...]] = attrs.field(factory=dict)
    grouping: frozenset[str] | None = None

    def read(self) -> None:
        """All of it."""
        self._read_operation()
        self._take_kind("end")
        if not self.metrics:
            raise self._surprise()

    def _read_operation(self) -> None:
        self._read_operand()
        while self._takes(*OPERATORS):
            self._read_grouping("on", "ignoring")
            self._read_operand()

    def _read_operand(self) -> None:
        kind, word = self.words[self.at]
        if kind == "number":
            self.at += 1
        elif self._takes("("):
            self._read_operation()
            self._take(")")
        elif self._takes("time"):
            self._take("(")
            self._take(")")
        elif self._takes(*AGGREGATIONS):
            self._read_grouping("by", "without")
            self._read_arguments()
            self._read_grouping("by", "without")
        elif self._takes(*FUNCTIONS):
            self._read_arguments()
        else:
            self._take_kind("name")
            self.metrics[word] = self.metrics.get(word, ()) + tuple(self._read_matchers())
            if self.words[self.at][0] == "range":
                self.at += 1

    def _read_arguments(self) -> None:
        self._take("(")
        self._read_operation()
        while self._takes(","):
            self._read_operation()
        self._take(")")

    def _read_grouping(self, *words: str) -> None:
        if self._takes(*words):
            self._take("(")
            labels = {self._take_kind("name")}
            while self._takes(","):
                labels.add(self._take_kind("name"))
            self._take(")")
            self.grouping = (self.grouping or frozenset()) | labels

    def _read_matchers(self) -> Iterator[Matcher]:
        if self._takes("{"):
            yield self._read_matcher()
            while self._takes(","):
                yield self._read_matcher()
            self._take("}")

    def _read_matcher(self) -> Matcher:
        return Matcher(self._take_kind("name"), self._take(*MATCHES), self._take_kind("string")[1:-1])

    def _takes(self, *words: str) -> bool:
        """Whether the next word is one of these, and then go on."""
        kind, word = self.words[self.at]
        is_it = word in words and kind != "string"
        self.at += is_it
        return is_it

    def _take(self, *words: str) -> str:
        if not self._takes(*words):
            raise self._surprise()
        return self.words[self.at - 1][1]

    def _take_kind(self, kind: str) -> str:
        found, word = self.words[self.at]
        if found != kind:
            raise self._surprise()
        self.at += 1
        return word

    def _surprise(self) -> ValueError:
        return ValueError(f"this is not understood, at word {self.at + 1}: {self.text}")
