"""Errors as JSON, for whoever waits in another process: the same class again, with what it knows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from closebulk_async import errors
from closebulk_async.errors import CloseBulkError
from closebulk_async.intents import Intent
from closebulk_async.journal_rows import from_row, to_row
from closebulk_async.models import MODEL_OF_KIND, Kind
from closebulk_async.models import BulkAction as _BulkAction

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASSES = {
    name: cls for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, CloseBulkError)
}
_STAYS = frozenset({"_reconcile", "progress", "action", "ref"})
"""What belongs to the process that raised it, or is in the row already."""


def error_to_json(error: BaseException) -> dict[str, Any]:
    """An error as JSON. Of one that is not this package's own, class and message are in the text."""
    if not isinstance(error, CloseBulkError):
        return {"class": "CloseBulkError", "message": f"{type(error).__name__}: {error}", "state": {}}
    name = next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _CLASSES)
    state = {key: _pack(value) for key, value in vars(error).items() if key not in _STAYS}
    return {"class": name, "message": str(error), "state": state}


def error_from_json(data: Mapping[str, Any]) -> CloseBulkError:
    """The error that `error_to_json` took apart. A class that is not known here is a CloseBulkError."""
    cls: type[CloseBulkError] = _CLASSES.get(data["class"], CloseBulkError)
    error = cls.__new__(cls, data["message"])
    error.args = (data["message"],)
    vars(error).update({key: _unpack(value) for key, value in data["state"].items()})
    if isinstance(error, errors.AmbiguousStartError):
        vars(error).setdefault("_reconcile", None)
    return error


def _pack(value: Any) -> Any:  # noqa: ANN401 - JSON, or what an error holds
    if isinstance(value, timedelta):
        return {"$seconds": value.total_seconds()}
    if isinstance(value, Intent):
        row = to_row(value)
        return {"$intent": {**row, "body": row["body"].decode()}}
    if isinstance(value, _BulkAction):
        return {"$action": value.to_dict(), "kind": str(value.kind)}
    if isinstance(value, tuple):
        return {"$tuple": [_pack(each) for each in value]}
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    return str(value)


def _unpack(value: Any) -> Any:  # noqa: ANN401 - as above
    match value:
        case {"$seconds": seconds}:
            return timedelta(seconds=seconds)
        case {"$intent": row}:
            return from_row({**row, "body": row["body"].encode()})
        case {"$action": fields, "kind": kind}:
            return MODEL_OF_KIND[Kind(kind)].from_dict(fields)
        case {"$tuple": values}:
            return tuple(_unpack(each) for each in values)
    return value
