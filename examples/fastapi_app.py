"""A FastAPI app whose pages show live how far an action is, by server-sent events.

    python examples/fastapi_app.py
    python examples/fastapi_app.py --live    # with CLOSE_API_KEY: shows what was started elsewhere, and starts nothing

It listens on 127.0.0.1 and asks nobody who he is: put what does TLS and logins in front.
"""

from __future__ import annotations

import html
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from _simulator import connect, make_parser
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.middleware.trustedhost import TrustedHostMiddleware

from closebulk_async import CloseBulk, InvalidRequestError, Job, JobRef, NotFoundError, lead

if TYPE_CHECKING:
    import argparse

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="icon" href="data:,">
<h1>{title}</h1>
{body}
</html>
"""

ACTION = """<p><label>Processed <progress></progress></label> <output>connecting</output></p>
<h2>What it acts on</h2>
<pre>{query}</pre>
<p><a href="/">All actions</a></p>
<script src="/live.js"></script>
"""

SCRIPT = """
const bar = document.querySelector("progress");
const text = document.querySelector("output");
const steps = new EventSource(location.pathname + "/events");
steps.onmessage = ({data}) => {
  const step = JSON.parse(data);
  if (step.fraction !== null) bar.value = step.fraction;
  // textContent, never innerHTML: what a server says is text.
  text.textContent = step.error ?? `${step.status}, ${step.n_objects_processed} of ${step.n_objects ?? "?"}`;
  if (step.is_final) steps.close();  // else the browser would connect again
};
steps.onerror = () => {
  // A browser tries again unless the answer was no stream: then only a reload helps.
  text.textContent = steps.readyState === EventSource.CLOSED ? "no connection: reload this page" : "connecting again";
};
"""

POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:"
"""No other host, and no script but the one above, whatever slipped through the escaping."""


def main() -> None:
    """Serve until Ctrl-C."""
    parser = make_parser(__doc__)
    parser.add_argument("--port", type=int, default=8000, help="where to listen; 0 takes any free port")
    options = parser.parse_args()
    # Pages that are open hold a connection each: without a bound, uvicorn would wait until all of them are closed.
    uvicorn.run(make_app(options), host="127.0.0.1", port=options.port, timeout_graceful_shutdown=1)


def make_app(options: argparse.Namespace) -> FastAPI:
    """The app; its client is open as long as it runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with connect(options) as app.state.close:
            if not options.live:  # else there would be nothing to see
                await app.state.close.deletes.create(s_query=lead.name.full_words("ACME Inc."))
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)  # whose pages would load scripts of another host
    # A page of another site, whose name was made to lead here, could read what this one shows.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.add_exception_handler(NotFoundError, not_found)
    app.add_exception_handler(InvalidRequestError, not_found)  # a text that is no ref
    app.include_router(router)
    return app


def find_client(request: Request) -> CloseBulk:
    """The client of the app."""
    close: CloseBulk = request.app.state.close
    return close


def read_ref(ref: str) -> JobRef[Any]:
    """What the path names. Here and not in the stream: once that has begun there is no answer but 200."""
    return JobRef.parse(ref)


router = APIRouter()
Close = Annotated[CloseBulk, Depends(find_client)]
Ref = Annotated[JobRef[Any], Depends(read_ref)]


def not_found(_: Request, exc: Exception) -> Response:
    """The answer for an action that is not there."""
    return PlainTextResponse(str(exc), status_code=404)


@router.get("/")
async def index(close: Close) -> HTMLResponse:
    """The newest actions, as links."""
    links = [describe(job) for job in await close.recent(limit=20)]
    return render("Bulk actions", "\n".join(["<ul>", *links, "</ul>"]))


@router.get("/actions/{ref}")
async def show(ref: Ref, close: Close) -> HTMLResponse:
    """The page of one action."""
    action = await close.get(ref)
    query = json.dumps(action.s_query, indent=2)
    return render(str(action.ref), ACTION.format(query=html.escape(query)))


@router.get("/actions/{ref}/events", response_class=EventSourceResponse)
async def events(ref: Ref, close: Close) -> AsyncIterator[ServerSentEvent]:
    """The steps of one action until it has ended; any number of pages cost the requests of one."""
    async with aclosing(close.watch(ref)) as steps:  # polls end as soon as the page is closed
        async for progress in steps:
            yield ServerSentEvent(data={**progress.to_dict(), "action": None, "is_final": progress.is_final})


@router.get("/live.js")
def script() -> Response:
    """What makes a page live."""
    return Response(SCRIPT, media_type="text/javascript")


def describe(job: Job) -> str:
    """A line of the list."""
    ref = html.escape(str(job.ref))
    return f'<li><a href="/actions/{ref}">{ref}</a> {html.escape(str(job.status))}</li>'


def render(title: str, body: str) -> HTMLResponse:
    """A page; `body` is HTML, whose values are escaped already."""
    page = PAGE.format(title=html.escape(title), body=body)
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


if __name__ == "__main__":
    main()
