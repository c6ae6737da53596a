"""docs/errors.md against the error classes of the package."""

from __future__ import annotations

import re

import pytest

import closebulk_async
from closebulk_async import CloseBulkError, errors

from .pages import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))
CLASSES = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, CloseBulkError)
}
BUILT_IN = {"AttributeError", "RuntimeError", "TimeoutError", "ValueError"}


def test_each_class_has_a_section() -> None:
    """In the order of no file, but each once, and none that is not there; all of them are exported."""
    assert SECTIONS.keys() == CLASSES.keys()
    assert len(SECTIONS) == len(re.findall(r"^### ", PAGE, re.MULTILINE))
    assert set(closebulk_async.__all__) >= CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_section_says_what_to_do(name: str) -> None:
    """What it means, whether anything was sent, and what to do, in this order."""
    assert re.match(r"\n\S.*\n- \*\*Sent\*\*: .*\n- \*\*Do\*\*: ", SECTIONS[name], re.DOTALL)


@pytest.mark.parametrize("name", CLASSES)
def test_a_section_names_the_built_in_class_that_it_is_too(name: str) -> None:
    """For those who catch these."""
    said = set(re.findall(r"Also an?\s`(\w+)`", SECTIONS[name]))
    inherited = BUILT_IN & {base.__name__ for base in CLASSES[name].__bases__}
    assert said == inherited


@pytest.mark.parametrize("name", CLASSES)
def test_attributes_of_a_section_are_there(name: str) -> None:
    """`error.count` of a section is an attribute that its class sets or has."""
    named = set(re.findall(r"`(?:await )?error\.(\w+)", SECTIONS[name]))
    code = {word for cls in CLASSES[name].__mro__ if cls.__module__ == errors.__name__ for word in words_of(cls)}
    assert named <= code


def words_of(cls: type) -> set[str]:
    """What it sets on itself, and what it defines."""
    own = cls.__dict__.get("__init__")
    return {*cls.__dict__, *(own.__code__.co_names if own else ())}


def test_the_status_of_each_class_is_named() -> None:
    """By its number, where it has one."""
    for status, cls in errors.ERROR_OF_STATUS.items():
        assert str(status) in SECTIONS[cls.__name__].partition("- **Sent**")[0]
