"""One image and what was said about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from PIL import Image

from tlg.answers.formats import overlay
from tlg.answers.records import Answer
from tlg.api.images import AnyImage, name_of, read_picture
from tlg.api.notebook import png
from tlg.errors import TlgError

# Enough for eyes; masks keep the image's own size.
OVERLAY_PIXELS = 4_000_000


@dataclass(frozen=True)
class AnnotatedImage:
    """The answers of one image, one for each class asked; or `error`, where the image could not be read."""

    image: AnyImage
    answers: tuple[Answer, ...] = ()
    error: TlgError | None = None

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, class_name: str) -> Answer:
        """The answer of a class."""
        for answer in self.answers:
            if answer.class_name == class_name:
                return answer
        known = ", ".join(answer.class_name for answer in self.answers)
        raise KeyError(f"no answer for '{class_name}'; asked were: {known or 'none, see .error'}")

    @property
    def present(self) -> tuple[Answer, ...]:
        """The answers with a mask."""
        return tuple(answer for answer in self.answers if answer.status == "mask")

    def overlay(self, longest_side: int = 640) -> Image.Image:
        """The image with its masks drawn in; a file is read once more for it."""
        if self.error is not None:
            raise self.error
        pixels = read_picture(self.image, OVERLAY_PIXELS).pixels
        return overlay.draw(pixels, [asdict(answer) for answer in self.answers], longest_side)

    def __repr__(self) -> str:
        name = name_of(self.image) or "image"
        if self.error is not None:
            return f"{name}: error: {self.error}"
        said = [f"{answer.class_name} {_brief(answer)}" for answer in self.answers]
        return f"{name}: {', '.join(said)}"

    def _repr_png_(self) -> bytes | None:
        return None if self.error is not None else png(self.overlay())


def _brief(answer: Answer) -> str:
    return f"{answer.score:.2f}" if answer.status == "mask" else answer.status
