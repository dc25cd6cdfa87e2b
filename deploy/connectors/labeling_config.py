"""Label Studio's labelling configuration (XML): which control takes our regions, and where the image is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from tlg.answers.formats import label_studio

MAX_CHARACTERS = 200_000
# From the most to the least that we can say about an object.
CONTROLS = ("brushlabels", "polygonlabels", "rectanglelabels")


@dataclass(frozen=True)
class Control:
    kind: str
    name: str
    to_name: str
    data_key: str
    labels: frozenset[str]

    def regions(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The masks of an image's rows as this control shows them; classes that it does not know are left out."""
        found = [row for row in rows if row["status"] == "mask" and self._knows(row["class_name"])]
        if self.kind == "brushlabels":
            return [label_studio.brush_region(row, self.name, self.to_name) for row in found]
        if self.kind == "polygonlabels":
            return [region for row in found for region in label_studio.polygon_regions(row, self.name, self.to_name)]
        return [label_studio.rectangle_region(row, self.name, self.to_name) for row in found]

    def _knows(self, class_name: str) -> bool:
        return not self.labels or class_name in self.labels


def find_control(label_config: str) -> Control | None:
    """The best control that labels an image; None if there is none or the text is not such a configuration."""
    # Document types are how XML documents grow without end; Label Studio never writes one.
    if len(label_config) > MAX_CHARACTERS or "<!" in label_config.replace("<!--", ""):
        return None
    try:
        root = ElementTree.fromstring(label_config)
    except (ElementTree.ParseError, ValueError):
        return None
    images = {
        element.get("name", ""): element.get("value", "") for element in root.iter() if element.tag.lower() == "image"
    }
    found = []
    for element in root.iter():
        kind = element.tag.lower()
        if kind in CONTROLS and element.get("toName") in images:
            to_name = element.get("toName", "")
            labels = frozenset(label.get("value", "") for label in element.iter() if label.tag.lower() == "label")
            found.append(Control(kind, element.get("name", ""), to_name, images[to_name].lstrip("$"), labels))
    return min(found, key=lambda control: CONTROLS.index(control.kind), default=None)
