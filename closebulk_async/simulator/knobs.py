"""What a test may set about the service, each with the value that is documented or the safest guess."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import define, field

from .event_rules import EventRules
from .export_rules import ExportPlan, ExportRules
from .limits import Limits
from .listing import ListOrder
from .oauth_rules import OAuthRules
from .plans import Plan
from .search_rules import SearchRules
from .searching import Matches
from .webhook_rules import WebhookRules


@define(kw_only=True, eq=False)
class Knobs:
    """Settings that take effect with the next request.

    Documented or seen: `max_limit` (the framework's default), `max_skip` (seen at another resource), `gzip`.
    Not confirmed by any source, so that a client must stand each value: `list_order`, `short_pages` (rows of a page at
    most, however many were asked for), `slash_redirect` (status for a path without its last slash, None for a 404),
    `change_method` (the verb that pauses and resumes), `id_prefixes` (by kind, in place of those in the table).
    `limits` are the rate limits, None for none; `plan` is for jobs without one of their own. `matches` is how many
    leads a search finds, or a function of its query that says so; None finds the leads of the plan that is queued
    first, or of `plan`; once there are leads, the query itself decides, within `search_rules`. `webhook_rules` say how
    events come about and how reliably they are delivered, `oauth_rules` how tokens are issued,
    `event_rules` what the event log shows. `export_plan` is for exports without one of their own, `export_rules` say
    what is told of them and how the store of their files behaves.
    """

    plan: Plan = field(factory=Plan)
    limits: Limits | None = None
    max_limit: int = 100
    max_skip: int = 250_000
    list_order: ListOrder = "newest"
    short_pages: int | None = None
    slash_redirect: int | None = 301
    change_method: str = "PUT"
    id_prefixes: Mapping[str, str] = MappingProxyType({})
    gzip: bool = True
    matches: Matches = None
    search_rules: SearchRules = field(factory=SearchRules)
    webhook_rules: WebhookRules = field(factory=WebhookRules)
    oauth_rules: OAuthRules = field(factory=OAuthRules)
    export_plan: ExportPlan = field(factory=ExportPlan)
    export_rules: ExportRules = field(factory=ExportRules)
    event_rules: EventRules = field(factory=EventRules)
