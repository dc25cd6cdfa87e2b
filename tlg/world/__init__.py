"""A procedural world to learn from: scenes of named objects with pixel-true masks and captions."""

from tlg.world.scenes import Scene, scene
from tlg.world.vocabulary import BASE, CLASSES, NOVEL, SETTINGS, index_of

__all__ = ["BASE", "CLASSES", "NOVEL", "SETTINGS", "Scene", "index_of", "scene"]
