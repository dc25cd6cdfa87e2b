"""A batch that does not fit in memory is halved until it does. Batch jobs and the endpoint both call this."""

from __future__ import annotations

from collections.abc import Sequence

from tlg.annotators.protocol import Annotator
from tlg.answers.records import Answer
from tlg.errors import InputError
from tlg.pictures import Picture


def annotate_within_memory(
    annotator: Annotator, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
) -> list[list[Answer] | InputError]:
    """Answers for all, in order; a single picture that does not fit or cannot be used gets its error instead."""
    asked = [None] * len(pictures) if asked is None else asked
    try:
        return list(annotator.annotate(pictures, asked))
    except InputError as error:
        refusal = error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        refusal = does_not_fit(pictures[0])
    # Not inside the handler: there the traceback still holds the tensors that filled the memory.
    annotator.release_memory()
    if len(pictures) == 1:
        return [refusal]
    middle = len(pictures) // 2
    first = annotate_within_memory(annotator, pictures[:middle], asked[:middle])
    return first + annotate_within_memory(annotator, pictures[middle:], asked[middle:])


def does_not_fit(picture: Picture) -> InputError:
    return InputError(
        f"{picture.width}x{picture.height} pixels do not fit into the worker's memory, alone neither; "
        "give workers more memory or ask for fewer classes",
        kind="out_of_memory",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Of a CPU (Python, torch's allocator) or a GPU; anything else is a defect that must be seen."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
