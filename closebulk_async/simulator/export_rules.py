"""What a test may set about exports: how each one goes, and what the service and its store of files are like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from attrs import evolve, field, frozen, validators
from attrs.converters import optional

from .plans import Curve, Duration, Plan, Point, to_curve, to_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence


class ExportChanges(TypedDict, total=False):
    """The keywords of `ExportPlan`, each optional."""

    duration: Duration
    ends: Literal["done", "error"]
    rows: int | None
    size: int | None
    starting: Duration | None
    curve: str | Sequence[Point] | Curve
    fails_at: float
    shown_after: Duration
    level: int


@frozen(kw_only=True)
class ExportPlan:
    """What becomes of an export; every duration is in seconds or a `timedelta`, and kept in seconds.

    It ends as `ends` after `duration`. Until `starting` (a tenth of the duration, at most a second) it is `created` for
    one half and `started` for the other, then `in_progress`, its documents being counted along `curve`; one that ends
    in error has by then seen `fails_at` of them. `shown_after` is how long it is found neither by its id nor in a list.

    The file has `rows` rows, by default those that the simulator's leads make, or 100 where it has none; or `size`
    bytes and a part of a row more once it is unpacked. Rows repeat after some thousands. `level` is how hard it is
    packed, from 0 (not at all, so that `size` is also what is sent) to 9.
    """

    duration: float = field(default=10.0, converter=to_seconds)
    ends: Literal["done", "error"] = "done"
    rows: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    size: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    starting: float | None = field(default=None, converter=optional(to_seconds))
    curve: Curve = field(default=to_curve("linear"), converter=to_curve)
    fails_at: float = 0.5
    shown_after: float = field(default=0.0, converter=to_seconds)
    level: int = field(default=6, validator=validators.in_(range(10)))

    def changed(self, changes: ExportChanges) -> ExportPlan:
        """The plan with other values."""
        return evolve(self, **changes)

    def timing(self) -> Plan:
        """The part that is the same as for a bulk action."""
        return Plan(
            duration=self.duration,
            ends=self.ends,
            counting=self.starting,
            curve=self.curve,
            fails_at=self.fails_at,
            shown_after=self.shown_after,
        )


@frozen(kw_only=True)
class ExportRules:
    """What the service says of exports, and how the store of their files behaves.

    Documented: files are gzip and say so in `content-encoding`. Seen: the store wants no `Authorization`. No source
    confirms the following, so that a client must stand each value:

    - `shows_counts`: whether responses have `n_docs` and `n_docs_processed`;
    - `echoes`: whether responses have the fields that were sent;
    - `link_lifetime`: seconds for which a `download_url` is good; each response has a new one;
    - `announces_length`: whether a file comes with its length; `accepts_ranges`: whether a part of it can be had;
    - `etag`: one that says nothing but which file it is, the MD5 of what is sent, or none; `content_md5`: whether a
      whole file comes with its MD5;
    - `in_members`: whether a file is several gzip members in a row, as when it was written in parts.
    """

    shows_counts: bool = False
    echoes: bool = False
    link_lifetime: float = field(default=3600.0, converter=to_seconds)
    announces_length: bool = True
    accepts_ranges: bool = True
    etag: Literal["opaque", "md5"] | None = "opaque"
    content_md5: bool = False
    in_members: bool = False
