"""An exemplar set: few labelled images of each class, with what was drawn on them."""

from tlg.exemplars.document import ExemplarClass, ExemplarDocument, ExemplarRef, anchored
from tlg.exemplars.drawing import Drawing, Drawn, Scribble
from tlg.exemplars.folder import NEGATIVES_FOLDER
from tlg.exemplars.loaded import LoadedClass, LoadedExemplar, LoadedExemplars
from tlg.exemplars.loading import describe, load, load_described
from tlg.exemplars.named import address_of_names, is_names

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
    "address_of_names",
    "anchored",
    "describe",
    "is_names",
    "load",
    "load_described",
]
