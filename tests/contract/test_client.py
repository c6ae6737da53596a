"""The package's client reads the same service: what it returns says what the answer said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import APIError, BadRequestError, FieldNotRequested, NotFoundError
from tests.contract.needs import need_seen
from tests.contract.reads import KINDS
from tests.schemas import differences

if TYPE_CHECKING:
    from tests.contract.survey import Record

of_each_kind = pytest.mark.parametrize("kind", [*KINDS, "export"])


def plain(found: Any) -> object:  # noqa: ANN401 - a model or a list of models
    """What a model or a page holds, as JSON."""
    if isinstance(found, list | tuple):
        return [plain(item) for item in found]
    return found.to_dict()


@of_each_kind
def test_a_page_comes_back_key_for_key(record: Record, kind: str) -> None:
    """`to_dict()` of what was parsed is the JSON that came."""
    seen = record.seen[f"{kind}: list"]
    assert not isinstance(seen.found, Exception)
    assert [*differences(plain([*seen.found.data]), seen.exchange.row["data"])] == []
    assert seen.found.has_more is seen.exchange.row["has_more"]


@of_each_kind
def test_an_item_comes_back_key_for_key(record: Record, kind: str) -> None:
    """The same of one action, or export."""
    seen = need_seen(record, f"{kind}: item")
    assert not isinstance(seen.found, Exception)
    assert [*differences(plain(seen.found), seen.exchange.json)] == []
    assert seen.found.ref.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_asked_for_is_not_there(record: Record, kind: str) -> None:
    """A narrowed page comes back as narrow, and reading another field raises."""
    seen = record.seen[f"{kind}: narrowed"]
    assert not isinstance(seen.found, Exception)
    assert [*differences(plain([*seen.found.data]), seen.exchange.row["data"])] == []
    for action in seen.found.data:
        with pytest.raises(FieldNotRequested):
            _ = action.s_query


@pytest.mark.parametrize("name", ["webhook: list", "webhook: item"])
def test_webhooks_come_back_key_for_key(record: Record, name: str) -> None:
    """The list, and one of it."""
    seen = need_seen(record, name)
    assert not isinstance(seen.found, Exception)
    sent = seen.exchange.row["data"] if name == "webhook: list" else seen.exchange.json
    assert [*differences(plain(seen.found), sent)] == []


def test_me_is_read(record: Record) -> None:
    """The user, and its organizations."""
    seen = record.seen["me"]
    assert not isinstance(seen.found, Exception)
    assert seen.found.user_id == seen.exchange.row["id"]
    assert [*seen.found.organization_ids] == [each["id"] for each in seen.exchange.row["organizations"]]


def test_the_client_counts_as_a_search_does(record: Record) -> None:
    """All leads."""
    seen = record.seen["search: leads"]
    assert not isinstance(seen.found, Exception)
    assert seen.found == seen.exchange.row["count"]["total"]


def test_the_client_walks_from_page_to_page(record: Record) -> None:
    """Three leads from pages of two, oldest first and each once."""
    hits = record.seen["search: walk"].found
    assert not isinstance(hits, Exception)
    assert len(hits) == min(3, record.plain["search: leads"].row["count"]["total"])
    dates = [hit.fields["date_created"] for hit in hits]
    assert dates == sorted(dates)
    assert len({hit.id for hit in hits}) == len(hits)


@pytest.mark.parametrize(("name", "error"), [("missing", NotFoundError), ("large", BadRequestError)])
def test_a_refusal_is_raised_with_what_it_says(record: Record, name: str, error: type[APIError]) -> None:
    """The class of its status, with the sentence of its body."""
    seen = record.seen[name]
    assert isinstance(seen.found, error)
    assert seen.found.status == seen.exchange.status
    if seen.exchange.error is not None:
        assert [*seen.found.errors] == [seen.exchange.error]
