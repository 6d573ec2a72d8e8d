"""Every address, once: what it is asked, what it answers, and who may ask.

The router and ``/openapi.json`` are both made of this table.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from app.web import shapes
from app.why_command import Answer
from models.lifecycle_report import Report
from models.triggers import MemberUpdate

Needs: TypeAlias = Literal["nothing", "reading", "changing"]
"""``reading``: the token beyond loopback; ``changing``: everywhere (``app.web.access``)."""

Text: TypeAlias = Literal["text/plain", "text/html", "text/event-stream", "application/json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one address."""

    name: str
    path: str
    about: str
    answer: Any = None
    """The type of a JSON answer; None: ``media`` is all there is to say."""
    method: Literal["GET", "POST", "DELETE"] = "GET"
    status: int = 200
    media: Text = "application/json"
    query: type = shapes.NoQuery
    body: type | None = None
    headers: tuple[str, ...] = ()
    """Request headers that mean something here."""
    fails: tuple[int, ...] = ()
    """Statuses beside those that its parameters and its ``needs`` bring about."""
    problem: Any = shapes.Problem
    """The type of its refusals."""
    needs: Needs = "reading"


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        name="healthz",
        path="/healthz",
        about="200 while the worker's loop turns",
        answer=shapes.Status,
        needs="nothing",
    ),
    Endpoint(
        name="readyz",
        path="/readyz",
        about="200 when its lanes are assigned and recovered, else 503 and why not",
        answer=shapes.Status,
        fails=(503,),
        problem=shapes.NotReady,
        needs="nothing",
    ),
    Endpoint(
        name="metrics",
        path="/metrics",
        about="metrics of this worker for Prometheus",
        media="text/plain",
        needs="nothing",
    ),
    Endpoint(
        name="api",
        path="/api",
        about="what there is",
        answer=shapes.Listed,
        needs="nothing",
    ),
    Endpoint(
        name="openapi",
        path="/openapi.json",
        about="the same for programs: OpenAPI 3.1",
        answer=dict[str, Any],
        needs="nothing",
    ),
    Endpoint(
        name="document",
        path="/members/{id}",
        about="what is known of a member",
        answer=MemberUpdate,
        query=shapes.DocumentQuery,
        fails=(404, 421, 503),
    ),
    Endpoint(
        name="decisions",
        path="/members/{id}/decisions",
        about="what was decided of a member and why, the newest first",
        answer=shapes.Decisions,
        query=shapes.LimitQuery,
        fails=(404, 503),
    ),
    Endpoint(
        name="timeline",
        path="/members/{id}/timeline",
        about="what happened to a member, the newest first, and what is ahead",
        answer=shapes.Timeline,
        query=shapes.TimelineQuery,
        fails=(404, 503),
    ),
    Endpoint(
        name="ahead",
        path="/members/{id}/ahead",
        about="what will happen to a member if nothing happens before",
        answer=shapes.AheadOf,
        query=shapes.HereQuery,
        fails=(404, 421, 503),
    ),
    Endpoint(
        name="why",
        path="/members/{id}/why",
        about="why rules did or did not fire for a member, and what they wait for",
        answer=Answer,
        query=shapes.WhyQuery,
        fails=(404, 503),
    ),
    Endpoint(
        name="mute",
        method="POST",
        path="/members/{id}/mute",
        about="send the member nothing until an instant, and cancel what is open",
        answer=shapes.Muted,
        status=202,
        body=shapes.MuteRequest,
        fails=(404, 503),
        needs="changing",
    ),
    Endpoint(
        name="unmute",
        method="DELETE",
        path="/members/{id}/mute",
        about="end that",
        answer=shapes.Muted,
        status=202,
        fails=(404, 503),
        needs="changing",
    ),
    Endpoint(
        name="lookup",
        path="/lookup",
        about="who it is: by member id, order id, or hashed phone or e-mail",
        answer=shapes.Found,
        query=shapes.LookupQuery,
        fails=(404, 503),
    ),
    Endpoint(
        name="members",
        path="/members",
        about="members of a stage, or those most likely to leave",
        answer=shapes.Members,
        query=shapes.ListQuery,
        fails=(503,),
    ),
    Endpoint(
        name="stages",
        path="/stages",
        about="how many members are in each stage, and went from one to another",
        answer=shapes.Stages,
        fails=(503,),
    ),
    Endpoint(
        name="lifecycle",
        path="/lifecycle",
        about="the lifecycle metrics",
        answer=Report,
        fails=(503,),
    ),
    Endpoint(
        name="rules",
        path="/rules",
        about="the rules with what became of their candidates on the last days",
        answer=list[shapes.RuleRow],
        fails=(503,),
    ),
    Endpoint(
        name="model",
        path="/model",
        about="how good the newest churn model is",
        answer=shapes.ModelRow,
        fails=(404,),
    ),
    Endpoint(
        name="live",
        path="/live",
        about="one picture of everything, for a page's first paint",
        answer=shapes.Live,
    ),
    Endpoint(
        name="stream",
        path="/stream",
        about="server-sent events: feed, live (each second), stages (when changed)",
        media="text/event-stream",
        query=shapes.StreamQuery,
        headers=("Last-Event-ID",),
        fails=(503,),
    ),
    Endpoint(
        name="console",
        path="/",
        about="the console",
        media="text/html",
        needs="nothing",
    ),
    Endpoint(
        name="asset",
        path="/assets/{file}",
        about="what the console consists of",
        media="text/plain",
        fails=(404,),
        needs="nothing",
    ),
)
