"""What a page of review asks, whoever serves it: the sample, its pictures and answers, and what is said of them."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from deploy.endpoint import problems
from deploy.endpoint.packing import covered
from jobs.review import verdicts
from jobs.review.figures import lines
from jobs.review.sample import SampledPicture
from jobs.review.session import Session
from tlg import pictures
from tlg.answers.records import Rle
from tlg.errors import InputError

# A person looks at a screen: no side of a picture needs more pixels.
LONGEST_SIDE = 2048
Read: TypeAlias = Callable[[Session, str], Awaitable[bytes]]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DrawnMask(Strict):
    """COCO's compressed run lengths: down the columns, unmarked first."""

    size: tuple[int, int]
    counts: str = Field(max_length=20_000_000)


class NewVerdict(Strict):
    """`answer` is the digest under which the answer was shown: one that was given again since is refused."""

    class_name: str = Field(max_length=200)
    answer: str = Field(max_length=100)
    verdict: str = Field(description="right, wrong, mended, not_there; of absent answers right, missing; or withdrawn")
    mask: DrawnMask | None = None


class NewVerdicts(Strict):
    reviewer: str = Field(min_length=1, max_length=100, pattern=r"\S")
    verdicts: list[NewVerdict] = Field(min_length=1, max_length=2000)


class ListedPicture(BaseModel):
    """`left` answers have no verdict; `judged_at` changes with every verdict of anybody's."""

    image_id: str
    name: str
    left: int
    judged_at: str


class Review(BaseModel):
    """The pictures to look at, in the order in which everybody is shown them; `state` changes with the answers."""

    output: str
    state: str
    pictures: list[ListedPicture]


class HeldVerdict(BaseModel):
    verdict: str
    reviewer: str
    rle: dict[str, Any] | None


class ReviewedAnswer(BaseModel):
    """An answer row, the digest that names it, and the verdict that holds."""

    class_name: str
    class_id: int
    status: str
    score: float
    presence: float
    height: int
    width: int
    rle: dict[str, Any] | None
    answer: str
    said: HeldVerdict | None


class ReviewedPicture(ListedPicture):
    uri: str
    probability: float
    answers: list[ReviewedAnswer]


class OtherVerdict(BaseModel):
    class_name: str
    verdict: str
    reviewer: str


class Judged(BaseModel):
    """The picture as it stands now, and what others had said differently."""

    picture: ReviewedPicture
    others: list[OtherVerdict]


def router(prefix: str, session_of: Callable[..., Any], read: Read) -> APIRouter:
    """`session_of` is a dependency: it may take the parameters of `prefix`."""
    routes = APIRouter(prefix=prefix, tags=["review"])
    OfSession = Annotated[Session, Depends(session_of)]

    @routes.get("")
    async def review(session: OfSession) -> Review:
        """The sample of an output's answers, and which of them nobody has judged yet."""
        await asyncio.to_thread(session.refresh)
        held = session.holding()
        listed = [ListedPicture(**_listed(picture, held)) for picture in session.pictures.values()]
        output, state = problems.cleaned(session.catalogue.output), session.catalogue.fingerprint
        return Review(output=output, state=state, pictures=listed)

    @routes.get("/pictures/{image_id}")
    async def picture(image_id: str, session: OfSession) -> ReviewedPicture:
        """A picture's answers with the verdicts that hold."""
        return _reviewed(session, image_id)

    @routes.get(
        "/pictures/{image_id}/image",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def image(image_id: str, session: OfSession) -> Response:
        """The picture, no larger than a screen."""
        content = await read(session, session.picture(image_id).image_uri)
        return Response(await asyncio.to_thread(_as_jpeg, content), media_type="image/jpeg")

    @routes.post("/pictures/{image_id}/verdicts")
    async def judge(image_id: str, said: NewVerdicts, session: OfSession) -> Judged:
        """Keep verdicts on a picture, all of them or none; they are in the output when this answers."""
        made = [
            (verdict.class_name, verdict.answer, verdict.verdict, _as_rle(verdict.mask)) for verdict in said.verdicts
        ]
        others = await asyncio.to_thread(session.judge, image_id, said.reviewer.strip(), made)
        told = [
            OtherVerdict(class_name=other.class_name, verdict=other.verdict, reviewer=other.reviewer)
            for other in others
        ]
        return Judged(picture=_reviewed(session, image_id), others=told)

    @routes.get("/figures")
    async def figures(session: OfSession) -> dict[str, Any]:
        """What the verdicts say about all answers: precision and missed rate with their intervals."""
        told = await asyncio.to_thread(session.figures)
        return told | {"lines": list(lines(told))}

    return routes


Held: TypeAlias = dict[tuple[str, str], verdicts.Verdict]


def _listed(picture: SampledPicture, held: Held) -> dict[str, Any]:
    of_picture = [held.get((picture.image_id, row["class_name"])) for row in picture.rows]
    return {
        "image_id": picture.image_id,
        "name": picture.image_uri.rsplit("/", 1)[-1],
        "left": of_picture.count(None),
        "judged_at": max((verdict.judged_at for verdict in of_picture if verdict is not None), default=""),
    }


def _reviewed(session: Session, image_id: str) -> ReviewedPicture:
    picture, held = session.picture(image_id), session.holding()
    answers = [_answer(row, held.get((image_id, row["class_name"]))) for row in picture.rows]
    return ReviewedPicture(
        **_listed(picture, held),
        uri=problems.cleaned(picture.image_uri),
        probability=picture.probability,
        answers=answers,
    )


def _answer(row: dict[str, Any], held: verdicts.Verdict | None) -> ReviewedAnswer:
    names = ("class_name", "class_id", "status", "score", "presence", "height", "width", "rle")
    said = (
        None
        if held is None
        else HeldVerdict(verdict=held.verdict, reviewer=held.reviewer, rle=None if held.rle is None else dict(held.rle))
    )
    return ReviewedAnswer(**{name: row[name] for name in names}, answer=verdicts.answer_digest(row), said=said)


def _as_jpeg(content: bytes) -> bytes:
    decoded = pictures.guarded_decode(content)
    shown = Image.fromarray(decoded.pixels)
    shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _as_rle(mask: DrawnMask | None) -> Rle | None:
    if mask is None:
        return None
    height, width = mask.size
    if min(height, width) < 1 or covered(mask.counts) != height * width:
        raise InputError(f"the mask's run lengths do not cover its {width}x{height} pixels")
    return {"size": [height, width], "counts": mask.counts}
