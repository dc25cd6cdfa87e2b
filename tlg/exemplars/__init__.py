"""An exemplar set: few labelled images of each class, with what was drawn on them."""

from tlg.exemplars.document import ExemplarClass, ExemplarDocument, ExemplarRef, anchored
from tlg.exemplars.drawing import Drawing, Drawn, Scribble
from tlg.exemplars.folder import NEGATIVES_FOLDER
from tlg.exemplars.loading import LoadedClass, LoadedExemplar, LoadedExemplars, describe, load, load_described

__all__ = [
    "NEGATIVES_FOLDER",
    "Drawing",
    "Drawn",
    "ExemplarClass",
    "ExemplarDocument",
    "ExemplarRef",
    "LoadedClass",
    "LoadedExemplar",
    "LoadedExemplars",
    "Scribble",
    "anchored",
    "describe",
    "load",
    "load_described",
]
