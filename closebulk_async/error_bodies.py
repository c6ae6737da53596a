"""What the body of an error says, in any of the shapes that the service uses, at a cost that its size bounds. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

MOST_FIELD_ERRORS = 100
"""Messages of fields that an error takes apart. A form has fewer fields; `APIError.body` holds what the server said."""

LONGEST_NAME = 200
"""Characters of a name in the path of a field: a long one above many fields would else stand in each of their paths."""


def read_errors(body: object) -> tuple[Sequence[str], Mapping[str, str]]:
    """General messages and field messages of an error body, in any of the shapes that the service uses."""
    if not isinstance(body, Mapping):
        return ([body] if isinstance(body, str) and body else []), {}
    errors = [text for text in as_list(body.get("errors")) if isinstance(text, str)]
    single = body.get("error")
    if isinstance(single, str):
        errors.append(single)
    elif isinstance(single, Mapping) and isinstance(single.get("message"), str):
        errors.append(single["message"])
    by_path: dict[str, list[str]] = {}
    for path, text in islice(_flatten(body.get("field-errors")), MOST_FIELD_ERRORS):
        by_path.setdefault(path, []).append(text)
    return errors, {path: " ".join(texts) for path, texts in by_path.items()}


def as_list(value: object) -> Sequence[object]:
    """The value where it is a list, else nothing."""
    return value if isinstance(value, list) else []


def _flatten(tree: object) -> Iterator[tuple[str, str]]:
    """Leaves of nested field errors by dotted path. However deep they are nested, it takes as long as there are nodes.

    Below the top, `errors` is an object keyed by the index of the faulty item and its `field-errors` by field: both
    words are levels of the spelling and not of the data, so the path leaves them out.
    """
    names, levels = [""], [iter([("", tree)])]
    while levels:
        try:
            name, node = next(levels[-1])
        except StopIteration:
            levels.pop()
            names.pop()
            continue
        if isinstance(node, Mapping | list):
            names.append(name)
            levels.append(_children(node))
        elif node is not None:
            yield ".".join(filter(None, [*names, name])), str(node)


def _children(node: Mapping[str, object] | list[object]) -> Iterator[tuple[str, object]]:
    if isinstance(node, list):
        yield from (("", item) for item in node)
        return
    for key, item in node.items():
        is_structural = key in {"errors", "field-errors"} and isinstance(item, Mapping | list)
        yield "" if is_structural else key[:LONGEST_NAME], item
