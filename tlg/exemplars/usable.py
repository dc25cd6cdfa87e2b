"""What has to hold of any exemplar set, however it was made."""

from __future__ import annotations

from tlg.errors import SpecError
from tlg.exemplars.loaded import LoadedExemplars


def check_usable(exemplars: LoadedExemplars) -> None:
    """An exemplar set that was put together in code gets the same checks as one that was read from a file."""
    if not exemplars.classes:
        raise SpecError(f"exemplar set '{exemplars.name}' has no classes; give at least one with an exemplar image")
    seen = set()
    for of_class in exemplars.classes:
        if of_class.name.casefold() in seen:
            raise SpecError(
                f"exemplar set '{exemplars.name}': two classes are named '{of_class.name}'; names must differ"
            )
        seen.add(of_class.name.casefold())
        if not of_class.exemplars:
            raise SpecError(
                f"exemplar set '{exemplars.name}': class '{of_class.name}' has no exemplar; give at least one"
            )
        for exemplar in of_class.exemplars:
            if exemplar.mask is not None and exemplar.mask.shape != exemplar.pixels.shape[:2]:
                size, expected = exemplar.mask.shape[::-1], exemplar.pixels.shape[1::-1]
                raise SpecError(
                    f"class '{of_class.name}': the mask of {exemplar.uri} is {size[0]}x{size[1]}, the image is"
                    f" {expected[0]}x{expected[1]}; sizes must agree"
                )
