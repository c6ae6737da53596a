"""A client of a few lines, so that these tests do not depend on the client of the package."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import aiohttp
from attrs import frozen

from closebulk_async.simulator import Simulator
from closebulk_async.testing import FakeClock

Row = dict[str, object]

# One body for each kind that the service would take.
BODIES: Mapping[str, Row] = {
    "email": {"template_id": "tmpl_1", "email_account_id": "emailacct_1", "sender": "a@example.com"},
    "edit": {"type": "set_lead_status", "lead_status_id": "stat_1"},
    "delete": {"s_query": {"type": "id", "value": "lead_1"}},
    "sequence_subscription": {"action_type": "pause"},
}
KINDS = tuple(BODIES)


@frozen
class Reply:
    """A response that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Row:
        """The body, which must be a JSON object."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    def rows(self) -> list[Row]:
        """The rows of a page."""
        rows = self.json()["data"]
        assert isinstance(rows, list)
        return rows

    def error(self) -> object:
        """The one sentence of an error."""
        return self.json()["error"]


def basic(key: str, password: str = "") -> dict[str, str]:
    """The header of an API key."""
    return {"authorization": f"Basic {base64.b64encode(f'{key}:{password}'.encode()).decode()}"}


@frozen(kw_only=True)
class Api:
    """Sends requests with the simulator's own key, each within `seconds` of virtual time."""

    sim: Simulator
    clock: FakeClock
    session: aiohttp.ClientSession

    async def call(
        self,
        method: str,
        path: str,
        *,
        json_body: object = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 60.0,
    ) -> Reply:
        """One request below the base URL; redirects are not followed. `headers` replace the key."""
        async with (
            self.clock.timeout(seconds),
            self.session.request(
                method,
                self.sim.base_url + path,
                json=json_body,
                data=data,
                headers=basic(self.sim.api_key) if headers is None else headers,
                allow_redirects=False,
            ) as response,
        ):
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, *, seconds: float = 60.0) -> Reply:
        """A GET."""
        return await self.call("GET", path, seconds=seconds)

    async def create(self, kind: str = "email", **fields: object) -> Reply:
        """A POST of a body that fits the kind, with these fields as well."""
        return await self.call("POST", f"/bulk_action/{kind}/", json_body={**BODIES[kind], **fields})

    async def start(self, kind: str = "email", **fields: object) -> str:
        """Start a job; its id."""
        reply = await self.create(kind, **fields)
        assert reply.status == 200, reply
        return str(reply.json()["id"])

    async def read(self, job_id: str, kind: str = "email") -> Row:
        """The response of one job."""
        return (await self.get(f"/bulk_action/{kind}/{job_id}/")).json()

    async def change(self, job_id: str, status: object, kind: str = "email") -> Reply:
        """A PUT of another status."""
        return await self.call("PUT", f"/bulk_action/{kind}/{job_id}/", json_body={"status": status})
