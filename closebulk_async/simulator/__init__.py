"""A server that behaves like the bulk-action part of Close's API, for tests and demonstrations.

`async with Simulator() as sim:` serves `sim.base_url` on 127.0.0.1; `python -m closebulk_async.simulator` does so as a
program. It shares no code with the client, so that one misreading of the API cannot pass on both sides.

**What it serves**: the four kinds under `/bulk_action/`, `/export/`, `/data/search/`, `/event/`, `/webhook/`, `/me/`,
API keys, bearer tokens, OAuth, pagination, `_fields`, rate limits, and the faults of `simulator.faults`. A job's status
is a function of the clock and of its `Plan`, and so is what the event log says of the objects that it acts on.

**What it searches**: leads that a test gives it (`add_leads`, `add_lead`, `add_contact`), by evaluating the query. What
a bulk action acts on is then what its `s_query` matches, unless its plan says how many. Without leads no query is
run: the counts of a job come from its plan, and a search finds `matches` leads, by default those of the plan that was
queued first, on one page without a cursor.

**What it sends**: signed events about its jobs, to subscriptions whose address is on this machine; it never calls
another. `webhook_rules` delays, repeats, drops and retries them. A receiver of a test on a virtual clock that lets time
pass before it answers has to say so with the clock's `hold()`. Without an active subscription nothing runs.

**What it exports**: its leads, those that the export's `s_query` finds, or rows that are made up, as many as
`next_export` and `add_export` say; a file of 1 GB takes no more memory than a small one. The files are at
`download_port`, another origin, where an `Authorization` header is refused, and `download_faults` cuts, stalls and
spoils their downloads.

**Where it may differ from the service.** No source says, so these are guesses, each with the place that changes it:

- verb and address of pause and resume: `PUT` on the item (`change_method`);
- the order of lists: newest first (`list_order`); `max_skip` of bulk actions: 250000, seen elsewhere (`max_skip`);
- ids of edits, sequence subscriptions and exports begin with invented prefixes (`id_prefixes`);
- a path without its last slash is redirected with 301 (`slash_redirect`);
- how long a new job stays unseen: not at all (`Plan.shown_after`); a pause takes effect at once (`Plan.pausing`);
- when counts are known: once the job is processing (`Plan.counting`); null before that;
- a failed job stops with a part of its objects processed (`Plan.fails_at`), and says nothing about why;
- what is told of an export, how long its link is good, and what the store says of its file and does with a range
  (`ExportRules`); when an export is no longer `created` and `started` (`ExportPlan.starting`);
- endpoint groups are method and kind; window and header spelling are those seen live (`Limits`);
- how long an authorization code lasts and what the reuse of a replaced refresh token does (`OAuthRules`);
- what a search finds whose query names no type of object, how its hard limit shows, how many rows and fields it takes
  (`SearchRules`);
- when an email counts as sent, and how many events of others lie between those of a job (`EventRules`); the types of
  events of what is neither a lead nor an email nor a subscription;
- how often a running job is told about, which changes are one event, whether a failure is told at all, whether retries
  are signed afresh and whether a GET of a webhook shows its `signature_key` (`WebhookRules`).

Guesses without a setting, where a scripted answer can stand in (`faults.reply`, `faults.altered`):

- pausing a job that is paused or has ended, resuming one that is not paused or was paused more than 7 days ago, and any
  unknown status word answer 400 with texts of our own; other fields of the PUT are ignored;
- the ten newer edit types and `reassign` need nothing; `template_id` and `email_account_id` need not be sent;
- a negative `results_limit` or `_limit` is refused; a `custom_field_value` that is no text is echoed as its JSON;
- `bulk_object_type` may be sent, and is `lead` otherwise; 404s and 405s have texts of our own;
- `n_objects` shrinks with `results_limit` in proportion to the leads;
- a duplicate is an active webhook with the same address and the same events; a pause by hand clears the queue as well;
- events have no `api_key_id`, and a `request_id` only where a job was created; texts for a wrong address, an unknown
  event and too many webhooks are our own, and events of other objects than bulk actions are not checked;
- `format`, and the `type` of an export of leads, have to be sent; JSON is for the type `leads`; `date_format` for JSON
  and `s_query` for opportunities are refused, and `params` are not looked at; the columns of a file have names of our
  own; a link is no use before the export is done, and each response has another; the event log has no exports;
- refusals of `/oauth2/` are those of RFC 6749, `invalid_client` with 401; a revoked grant loses its access tokens too;
- a search gives 100 rows where it is not told how many, and without leads takes any object for a query and any number
  for `_limit`; what the parts of a query mean in detail is told in `conditions` and `evaluating`;
- without `sort`, and among rows that it does not tell apart, each walk of a search has an order of its own; a cursor
  may be used again, and not for another query, `sort` or `results_limit`;
- `n_objects` is the number of leads where the query says which, whatever the kind; what a legacy `query` finds is not
  looked for.

**What it leaves out**: no job changes or deletes any lead. Referenced ids are not looked up, and no mail is sent.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import download_faults, faults
    from .clock import Clock
    from .download_faults import DownloadFault
    from .download_host import Download
    from .event_rules import EventRules
    from .export_rules import ExportPlan, ExportRules
    from .exporting import Export
    from .faults import Fault
    from .jobs import Job
    from .limits import Limits
    from .messages import Request
    from .oauth import IssuedTokens
    from .oauth_rules import OAuthRules
    from .plans import CURVES, Plan
    from .post_office import Attempt, Delivery
    from .records import Contact, Lead
    from .search_rules import SearchRules
    from .server import Simulator
    from .webhook_rules import WebhookRules
    from .webhooks import Subscription

__all__ = [
    "CURVES",
    "Attempt",
    "Clock",
    "Contact",
    "Delivery",
    "Download",
    "DownloadFault",
    "EventRules",
    "Export",
    "ExportPlan",
    "ExportRules",
    "Fault",
    "IssuedTokens",
    "Job",
    "Lead",
    "Limits",
    "OAuthRules",
    "Plan",
    "Request",
    "SearchRules",
    "Simulator",
    "Subscription",
    "WebhookRules",
    "download_faults",
    "faults",
]

# Loaded when first asked for (PEP 562): the program answers `--help` without importing aiohttp.
_HOMES = {
    "CURVES": ".plans",
    "Attempt": ".post_office",
    "Clock": ".clock",
    "Contact": ".records",
    "Delivery": ".post_office",
    "Download": ".download_host",
    "DownloadFault": ".download_faults",
    "EventRules": ".event_rules",
    "Export": ".exporting",
    "ExportPlan": ".export_rules",
    "ExportRules": ".export_rules",
    "Fault": ".faults",
    "IssuedTokens": ".oauth",
    "Job": ".jobs",
    "Lead": ".records",
    "Limits": ".limits",
    "OAuthRules": ".oauth_rules",
    "Plan": ".plans",
    "Request": ".messages",
    "SearchRules": ".search_rules",
    "Simulator": ".server",
    "Subscription": ".webhooks",
    "WebhookRules": ".webhook_rules",
    "download_faults": ".download_faults",
    "faults": ".faults",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(_HOMES[name], __name__)
    return home if _HOMES[name] == f".{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
