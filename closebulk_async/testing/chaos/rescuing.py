"""One process that is killed, another one that clears up after it, and whether all is well then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from closebulk_async.intents import State
from closebulk_async.models import Kind
from closebulk_async.testing.chaos.children import running
from closebulk_async.testing.chaos.programs import RESCUER, Scene, clear_up

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing.chaos.programs import JournalFactory


def make_scene(
    sim: Simulator, make_journal: JournalFactory, kind: Kind = Kind.EMAIL, *, key: str = "campaign", lease: float = 20.0
) -> Scene:
    """A place to work for children of that simulator."""
    return Scene(
        base_url=sim.base_url,
        api_key=sim.api_key,
        scope=f"{sim.base_url} {sim.organization_id}",
        make_journal=make_journal,
        kind=kind,
        key=key,
        lease=lease,
    )


@attrs.frozen(kw_only=True)
class Outcome:
    """What was found after a victim has ended.

    `jobs` is how many the server had made for it, `duplicates` how many more than one there are at the end, `lost` how
    many the journal did not know after `recover()`, `wrongs` what else is not as it must be.
    """

    jobs: int
    duplicates: int
    lost: int
    wrongs: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Nothing is there twice, nothing is lost, and nothing else is wrong."""
        return not (self.duplicates or self.lost or self.wrongs)


async def rescue(sim: Simulator, scene: Scene, *, known: int, told: str | None = None) -> Outcome:
    """Let another process recover and then start once more what a victim has begun.

    `known` is how many jobs there were before the victim, `told` the ref that it was given, if it came so far.
    """
    sim.clear_faults()
    asked = len(sim.requests)
    async with running(clear_up, scene) as rescuer:
        recovered, left = await rescuer.hear()
        made = _refs(sim, scene, known)
        posted = sum(each.method == "POST" and each.headers["user-agent"] == RESCUER for each in sim.requests[asked:])
        rescuer.tell(made)
        claimed = await rescuer.hear()
        again = await rescuer.hear()
        code = await rescuer.ended()
    at_the_end = _refs(sim, scene, known)
    wrongs = {
        "recover() has sent a POST": posted > 0,
        f"recover() gave {recovered}": not _is_accounted_for(recovered, made),
        f"after recover() the journal holds {left}, and it gave {recovered}": (
            State.POSTING in left or len(left) != sum(state != State.FINAL for state, _, _ in recovered)
        ),
        f"the victim was told of {told}, and the server has {made}": told is not None and made != [told],
        f"the repeated create gave {again}, and the server has {at_the_end}": again not in at_the_end,
        f"a job was found, and the repeated create gave {again}": bool(made) and again not in made,
        f"the rescuer ended with {code}": code != 0,
    }
    return Outcome(
        jobs=len(made),
        duplicates=max(0, len(at_the_end) - 1),
        lost=len(set(made) - set(claimed)),
        wrongs=tuple(text for text, is_so in wrongs.items() if is_so),
    )


def _refs(sim: Simulator, scene: Scene, known: int) -> list[str]:
    return [f"{scene.kind}:{job.id}" for job in sim.jobs[known:]]


def _is_accounted_for(recovered: list[tuple[str, str | None, str]], made: list[str]) -> bool:
    """Whether the one intent is there with its job, or as one that can be sent.

    None is there where nothing was written yet, or nothing is open any more.
    """
    if len(recovered) != 1:
        return not recovered
    ((state, ref, error),) = recovered
    if error != repr(""):
        return False
    return made == [ref] if ref is not None else (state == State.NEW and not made)
