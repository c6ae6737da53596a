"""What responses look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import jsonschema
import pytest

from .api import KINDS, Row
from .schemas import action_schema, check, page_schema, required

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

    from .api import Api

QUERY = {
    "queries": [
        {"object_type": "lead", "type": "object_type"},
        {
            "condition": {"mode": "full_words", "type": "text", "value": "ACME Inc."},
            "field": {"field_name": "name", "object_type": "lead", "type": "regular_field"},
            "type": "field_condition",
        },
    ],
    "type": "and",
}
ORGANIZATION = "orga_RbREgmiiwcr1w2b4cOnCMQaQPSIFxMqAD2Dh243uxcH"
USER = "user_N6KhMpzHRCYQHdn4gRNIFNN5JExnsrprKA6ekxM63XA"

# The samples of the vendor's pages «List bulk emails» and «Fetch a single bulk delete object».
EMAIL_SAMPLE: Row = {
    "contact_preference": "lead",
    "created_by": USER,
    "date_created": "2013-12-05T18:34:41.753000+00:00",
    "date_updated": "2013-12-05T19:33:29.357000+00:00",
    "email_account_id": "emailacct_qwSIFLEjbJXBJOGb0KsqSvnxX5P9DTXUMnb6mFBLxNt",
    "id": "bulkemail_qmjJY85TSmMBqw1MKgL5o3LdSJkvklqfAwfdcjiRYCy",
    "n_leads": 824,
    "n_leads_processed": 523,
    "n_objects": 824,
    "n_objects_processed": 523,
    "organization_id": ORGANIZATION,
    "query": "lead_status:Potential",
    "results_limit": None,
    "s_query": QUERY,
    "send_done_email": False,
    "sender": "sender@example.com",
    "sort": [],
    "status": "processing",
    "template_id": "tmpl_00jcushDRuoBBS5sSTUAbNt4dPpBUhlJqQafVfzzRJn",
    "updated_by": USER,
}
DELETE_SAMPLE: Row = {
    "bulk_object_type": "lead",
    "created_by": USER,
    "date_created": "2015-03-16T00:19:50.141000+00:00",
    "date_updated": "2015-03-16T00:20:09.442000+00:00",
    "id": "bulkdelete_asdVYCm54A0El829k39e7nIvlCSDDhVLuyb8aspGSET",
    "n_leads": 77,
    "n_leads_processed": 77,
    "n_objects": 77,
    "n_objects_processed": 77,
    "organization_id": ORGANIZATION,
    "query": "lead_status:Potential",
    "results_limit": None,
    "s_query": QUERY,
    "send_done_email": False,
    "sort": [],
    "status": "done",
    "updated_by": USER,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ends", ["done", "error"])
async def test_every_phase_fits_the_schema(api: Api, clock: FakeClock, kind: str, ends: str) -> None:
    """POST, GET, PUT and list answer with objects of the vendor's schema, from the start of a job to its end."""
    api.sim.next_job(duration=100, counting=20, ends="done" if ends == "done" else "error")
    created = await api.create(kind)
    assert created.status == 200
    check(created.json(), action_schema(kind))
    job_id = str(created.json()["id"])
    seen = []
    for _ in range(12):
        row = await api.read(job_id, kind)
        check(row, action_schema(kind))
        check((await api.get(f"/bulk_action/{kind}/")).json(), page_schema(kind))
        seen.append(row["status"])
        await clock.sleep(10)
    assert seen == ["created", "loading", *["processing"] * 8, ends, ends]


@pytest.mark.parametrize("kind", KINDS)
async def test_paused_and_resuming_fit_the_schema(api: Api, kind: str) -> None:
    """The answers to both PUTs are objects of the schema too."""
    job_id = await api.start(kind)
    for status in ("paused", "resuming"):
        reply = await api.change(job_id, status, kind)
        assert (reply.status, reply.json()["status"]) == (200, status)
        check(reply.json(), action_schema(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_refuse(kind: str) -> None:
    """The schemas of these tests are strict: a missing key, an unknown one and a wrong word do not fit."""
    schema = action_schema(kind)
    with pytest.raises(jsonschema.ValidationError, match="None is not"):
        check(dict.fromkeys(required(schema)), schema)
    with pytest.raises(jsonschema.ValidationError, match="required"):
        check({}, schema)


@pytest.mark.parametrize(("kind", "sample"), [("email", EMAIL_SAMPLE), ("delete", DELETE_SAMPLE)])
async def test_samples_come_back_equal(api: Api, sim: Simulator, kind: str, sample: Row) -> None:
    """The vendor's samples can be put there, and GET and list answer with them key for key and in their order."""
    check(sample, action_schema(kind))
    sim.add_job("email" if kind == "email" else "delete", sample)
    read = await api.read(str(sample["id"]), kind)
    assert list(read.items()) == list(sample.items())
    assert (await api.get(f"/bulk_action/{kind}/")).json() == {"data": [sample], "has_more": False}


@pytest.mark.parametrize("kind", ["email", "delete", "edit", "sequence_subscription"])
async def test_a_job_put_there_without_fields_fits_the_schema(
    api: Api, sim: Simulator, kind: Literal["email", "delete", "edit", "sequence_subscription"]
) -> None:
    """What was never POSTed has all that a response must have."""
    job = sim.add_job(kind)
    check(await api.read(job.id, kind), action_schema(kind))


async def test_only_some_fields_are_echoed(api: Api) -> None:
    """An edit does not say which field, values and operation were sent; what it echoes it echoes as text."""
    job_id = await api.start(
        "edit",
        type="set_custom_field",
        custom_field_id="cf_1",
        custom_field_value=5,
        custom_field_values=[5],
        custom_field_operation="add",
    )
    row = await api.read(job_id, "edit")
    assert row["custom_field_value"] == "5"
    assert row["custom_field_name"] is None
    assert not {"custom_field_id", "custom_field_values", "custom_field_operation"} & row.keys()


async def test_defaults_of_what_was_not_sent(api: Api) -> None:
    """A body of nothing but its required field is echoed with the documented defaults."""
    row = (await api.call("POST", "/bulk_action/delete/", json_body={"query": None, "sort": None})).json()
    expected: Row = {
        "bulk_object_type": "lead",
        "query": None,
        "results_limit": None,
        "s_query": {},
        "send_done_email": True,
        "sort": [],
    }
    assert {name: row[name] for name in expected} == expected
    assert (row["n_leads"], row["n_objects"], row["n_leads_processed"], row["n_objects_processed"]) == (
        None,
        None,
        0,
        0,
    )


async def test_me_names_user_and_organization(api: Api, sim: Simulator) -> None:
    """`/me/` answers with the user and the organization that the jobs are of."""
    me = (await api.get("/me/")).json()
    row = (await api.create()).json()
    assert (row["created_by"], row["organization_id"]) == (sim.user_id, sim.organization_id)
    assert me["id"] == sim.user_id
    assert me["organizations"] == [{"id": sim.organization_id, "name": "Example Inc."}]
