"""What a test may set about the event log, each with the value that is documented or the safest guess."""

from __future__ import annotations

from attrs import field, frozen, validators

from .plans import to_seconds


@frozen(kw_only=True)
class EventRules:
    """What the event log shows of what jobs did to objects, and to whom.

    Documented: only admins see the data of events that are older than an hour; `sees_old_data` says whether the owner
    of the keys is one.

    Not confirmed by any source, so that a client must stand each value: `sent_after`, seconds (or a `timedelta`) from
    the event of an email's creation to that of its sending. `others` is for each object of a job how many events come
    in between that somebody else has caused, on average: every other one of the type that the job's own have.
    """

    sees_old_data: bool = True
    sent_after: float = field(default=1.0, converter=to_seconds)
    others: float = field(default=0.1, validator=validators.ge(0))
