"""Time and memory of requests: bodies that do not come, bodies that are too many, answers that are late."""

import asyncio

import pytest

from deploy.endpoint.config import LimitsSpec
from deploy.endpoint.problems import ProblemError
from deploy.guard.limits import BodyLimitMiddleware, DeadlineMiddleware, MemoryBudget


def scope(method="POST", **headers):
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": "/v1/annotate", "headers": listed}


class Answers:
    def __init__(self):
        self.statuses, self.types = [], []

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])
            self.types.append(dict(message["headers"]).get(b"content-type"))


async def nothing_more():
    await asyncio.Event().wait()


async def reads_and_answers(_scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def never_answers(_scope, receive, _send):
    await receive()
    await asyncio.Event().wait()


async def whole_body():
    return {"type": "http.request", "body": b"{}", "more_body": False}


@pytest.mark.parametrize(
    ("app", "asked", "receive", "status"),
    [
        (reads_and_answers, scope(content_length="9"), nothing_more, 408),
        (reads_and_answers, scope(transfer_encoding="chunked"), nothing_more, 408),
        (never_answers, scope(content_length="2"), whole_body, 504),
        (never_answers, scope("GET"), nothing_more, 504),
        (reads_and_answers, scope(content_length="2"), whole_body, 200),
    ],
)
def test_one_clock_for_body_and_answer(app, asked, receive, status):
    answers = Answers()
    asyncio.run(DeadlineMiddleware(app, 0.05 if status != 200 else 20)(asked, receive, answers.send))
    assert answers.statuses == [status]
    assert status == 200 or answers.types == [b"application/problem+json"]


def chunks(*sizes):
    remaining = list(sizes)

    async def receive():
        size = remaining.pop(0)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(remaining)}

    return receive


def test_all_bodies_together_are_bounded_and_given_back():
    budget = MemoryBudget(1000)
    holding, leave = asyncio.Event(), asyncio.Event()

    async def holds(_scope, receive, send):
        await reads_and_answers(_scope, receive, send)
        holding.set()
        await leave.wait()

    async def scenario():
        first, second, third = Answers(), Answers(), Answers()
        running = asyncio.create_task(BodyLimitMiddleware(holds, 900, budget)(scope(), chunks(400, 400), first.send))
        await holding.wait()
        limited = BodyLimitMiddleware(reads_and_answers, 900, budget)
        await limited(scope(), chunks(100, 200), second.send)
        held = budget.held
        leave.set()
        await running
        await limited(scope(), chunks(100, 200), third.send)
        return first.statuses, second.statuses, third.statuses, held

    assert asyncio.run(scenario()) == ([200], [503], [200], 800)
    assert budget.held == 0


def test_what_failed_gives_its_share_back():
    budget = MemoryBudget(10)
    with budget.share() as take:
        take(8)
        assert budget.held == 8
    with pytest.raises(ProblemError) as busy, budget.share() as take:
        take(11)
    assert (busy.value.status, budget.held) == (503, 0)


def test_limits_that_let_no_body_in_are_refused():
    with pytest.raises(ValueError, match="no body would fit"):
        LimitsSpec(body_mb=64, bodies_mb=10)
