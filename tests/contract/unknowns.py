"""What no source says of the service: each question, what the package takes to be so, where, and how to settle it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tests.contract import settling
from tests.contract.settling import answer_to, id_prefix, largest, never, word_seen
from tests.contract.survey import Record
from tests.contract.verdicts import Verdict, not_settled


@attrs.frozen
class Unknown:
    """One question.

    `assumption` is what the package takes to be so, and `place` where, as `module:name` below the package; `simulated`
    is what the simulator does, with the setting that changes it.
    """

    name: str
    question: str
    assumption: str
    simulated: str
    place: str
    settle: Callable[[Record], Verdict] = attrs.field(repr=False)

    def judge(self, record: Record) -> Verdict:
        """What a run says about it, also where the service answers what nobody expects."""
        try:
            return self.settle(record)
        except (AttributeError, LookupError, TypeError, ValueError) as exc:
            return not_settled(f"an answer is not of the kind that is known ({type(exc).__name__})")


UNKNOWNS = (
    Unknown(
        "pause",
        "By which verb, at which address, is an action paused?",
        "`PUT` on the item",
        "`PUT` on the item (`change_method`)",
        "wire:PAUSE_METHOD",
        settling.pausing,
    ),
    Unknown(
        "resume",
        "And resumed?",
        "the same",
        "the same",
        "wire:build_set_status",
        settling.resuming,
    ),
    Unknown(
        "late pause",
        "What answers the pausing of an action that has ended?",
        "a 400, which is raised as `BadRequestError`",
        "400 with a text of its own",
        "operations:set_status",
        settling.late_pause,
    ),
    Unknown(
        "visibility",
        "How soon do reads show a new action?",
        "within 15 s (`settle`)",
        "at once (`Plan.shown_after`)",
        "policy:PollPolicy",
        settling.visibility,
    ),
    Unknown(
        "edit ids",
        "How do ids of edits begin?",
        "nothing: an id goes with its kind in a `JobRef`",
        "`bulkedit_`, as in a vendor's example (`id_prefixes`)",
        "models:JobRef",
        id_prefix("edit"),
    ),
    Unknown(
        "sequence ids",
        "How do ids of sequence subscriptions begin?",
        "nothing, as above",
        "`bulksequencesubscription_`, which is invented (`id_prefixes`)",
        "models:JobRef",
        id_prefix("sequence_subscription"),
    ),
    Unknown(
        "export ids",
        "How do ids of exports begin?",
        "nothing, as above",
        "`expo_`, as others write (`id_prefixes`)",
        "models:JobRef",
        id_prefix("export"),
    ),
    Unknown(
        "list order",
        "In which order are the lists?",
        "none: where new rows come is found out, and lists in no order are read to their ends",
        "newest first (`list_order`)",
        "fencing:find_order",
        settling.list_order,
    ),
    Unknown(
        "max_limit",
        "How large may a page of a list be?",
        "100 rows",
        "100, as the vendor's framework has it (`max_limit`)",
        "wire:MAX_PAGE",
        largest("large"),
    ),
    Unknown(
        "max_skip",
        "How far may `_skip` go?",
        "as far as a list has rows",
        "250000, as seen elsewhere (`max_skip`)",
        "operations:iterate_actions",
        largest("deep"),
    ),
    Unknown(
        "one list",
        "Is there a list of all kinds at `/bulk_action/`?",
        "no",
        "404",
        "wire:KINDS",
        settling.one_list,
    ),
    Unknown(
        "slash",
        "What answers a path without its last slash?",
        "nothing good: every path ends in one",
        "301 (`slash_redirect`)",
        "wire:KINDS",
        settling.without_slash,
    ),
    Unknown(
        "object types",
        "Does the POST of a delete take `bulk_object_type`?",
        "yes; left out, leads are deleted",
        "yes; `lead` otherwise",
        "starts:DeleteStart",
        word_seen("delete", "bulk_object_type", ("contact", "call", "custom_activity", "form_submission")),
    ),
    Unknown(
        "all contacts",
        "Does the POST of an email take the `contact_preference` `all`?",
        "yes, as the schema says",
        "yes",
        "models:ContactPreference",
        word_seen("email", "contact_preference", ("all",)),
    ),
    Unknown(
        "newer edits",
        "What do the ten edit types need that no page describes?",
        "what `set_custom_field` and `clear_custom_field` need",
        "nothing",
        "starts:RULES",
        settling.newer_edits,
    ),
    Unknown(
        "reassign",
        "What does `reassign` need?",
        "at least one of the senders, `calls_assigned_to` or `from_phone_number_id`",
        "nothing",
        "starts:RULES",
        settling.reassigning,
    ),
    Unknown(
        "final words",
        "Which status words are final?",
        "`done` and `error`; a word that is not documented, and null, count as running",
        "`done` and `error`",
        "models:PHASE_OF_STATUS",
        settling.final_words,
    ),
    Unknown(
        "early counts",
        "When is `n_objects` null?",
        "while an action is not counted: `fraction` and `eta` are None then",
        "until an action is processing (`Plan.counting`)",
        "progress:Progress",
        settling.early_counts,
    ),
    Unknown(
        "failures",
        "Is the failure of an action told as an event?",
        "no: webhooks wake polls, and do not replace them",
        "no (`tells_errors`)",
        "policy:PollPolicy",
        settling.told_failures,
    ),
    Unknown(
        "n_docs",
        "Do exports have `n_docs` and `n_docs_processed`?",
        "maybe: both are optional",
        "no (`shows_counts`)",
        "models:Export",
        settling.export_counts,
    ),
    Unknown(
        "export lists",
        "Are there lists and items below `/export/lead/` and `/export/opportunity/`?",
        "it does not matter: `/export/` has both",
        "yes",
        "wire:KINDS",
        settling.export_lists,
    ),
    Unknown(
        "links",
        "How long is a `download_url` good?",
        "not for ever: a download asks for a new one when it is refused",
        "an hour (`link_lifetime`)",
        "sourcing:Source",
        settling.link_lifetime,
    ),
    Unknown(
        "OAuth errors",
        "What does the token endpoint answer to a refused grant?",
        "what RFC 6749 says",
        "what RFC 6749 says, `invalid_client` with 401",
        "oauth_wire:describe_refusal",
        never("an OAuth app would have to send it a wrong secret; a key cannot"),
    ),
    Unknown(
        "signature key",
        "Does a read of a webhook show its `signature_key`?",
        "no: `SignatureKeyNotShown` where it is needed and was not kept",
        "no (`shows_key`)",
        "webhook_models:Webhook",
        settling.shown_key,
    ),
    Unknown(
        "retried signatures",
        "Is a delivery signed afresh when it is tried again?",
        "maybe not: without a `tolerance` no timestamp is too old",
        "no (`resigns_retries`)",
        "signing:verify_webhook",
        never("a receiver would have to refuse a delivery and wait"),
    ),
    Unknown(
        "validation texts",
        "In which words does a POST of a bulk action refuse a body?",
        "any: they are passed on as they are, in whatever shape errors have elsewhere",
        "those of the vendor's validator where it has one, else its own",
        "wire:check_status",
        never("a POST that is refused would have to be sent; one that is not would start an action"),
    ),
    Unknown(
        "bad cursor",
        "What answers a cursor of a search that is no good?",
        "a 400; a walk then goes on by `date_created`",
        "400 with a text of its own",
        "search:Search",
        answer_to("search: no cursor", "a cursor that nobody gave"),
    ),
    Unknown(
        "search limit",
        "How many rows does a page of a search have at the most?",
        "200 are asked for",
        "200 (`SearchRules.max_limit`)",
        "search:PAGE_SIZE",
        answer_to("search: large", "a page of 100000 rows and no results"),
    ),
    Unknown(
        "untyped search",
        "What does a query find that names no type of object?",
        "unknown: leads are named in each search that names nothing",
        "leads (`found_unasked`)",
        "search_wire:name_objects",
        settling.untyped_search,
    ),
    Unknown(
        "conditions",
        "Are ranges of moments, beginnings of words, all bounds of numbers and references to statuses taken?",
        "yes, in the spelling of the vendor's application and of other clients",
        "yes",
        "conditions:MomentRange",
        settling.conditions,
    ),
    Unknown(
        "event filters",
        "What answers a combination of event filters that is not documented?",
        "it is never sent",
        "400 with a text of its own",
        "event_wire:build_events",
        answer_to("event: odd filters", "`object_type` alone"),
    ),
    Unknown(
        "request ids",
        "Do answers name their request, as events do (`request_id`)?",
        "no",
        "no",
        "wire:Response",
        settling.request_ids,
    ),
    Unknown(
        "limit spelling",
        "How is the `RateLimit` header spelled?",
        "with commas or semicolons, in any order, with decimals or not",
        "as seen live: semicolons, a window of 8 s (`Limits`)",
        "ratelimit:parse_rate_limit",
        settling.limit_spelling,
    ),
    Unknown(
        "limit groups",
        "Which requests share a limit?",
        "those of one method and path, whichever object it names",
        "those of one method and path, whichever object it names (`Limits.rates`)",
        "wire:Request",
        settling.limit_groups,
    ),
    Unknown(
        "clocks",
        "How far apart are this machine's clock and the service's?",
        "ages are told by the service's own dates where that is possible",
        "nothing, or as far as its `clock` is set",
        "wire:server_time",
        settling.clock_difference,
    ),
)
