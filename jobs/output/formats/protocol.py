"""What a format is: the base class of ours and of those that other packages bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.output import marker as markers
from jobs.output.marker import Marker
from jobs.output.selection import Exported, Selection


class ExportFormat:
    """One format; an entry point of the group `tlg.exports` names its class, and the entry point's name is its name.

    `write` is all that a format must have. A format whose files can be brought up to date without writing all of
    them again has an `update` of its own.
    """

    def write(self, answers: Selection) -> Exported:
        """Write every file of the format below `answers.base`, whatever was there before."""
        raise NotImplementedError

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        """What the files depend on besides the answers, as JSON: where it changes, a job writes them anew."""
        return {"format": 1}

    def update(self, answers: Selection, name: str) -> Exported:
        """Bring the files of a job's own output up to date; returns what was written."""
        catalogue = answers.catalogue
        settings = markers.digest(self.settings(answers))
        marker = markers.read(catalogue.output, name, catalogue.access)
        if marker and (marker.state, marker.settings) == (catalogue.fingerprint, settings):
            return Exported([])
        # Nothing is claimed while files are written, should this run be killed.
        markers.remove(catalogue.output, name, catalogue.access)
        exported = self.write(answers)
        Marker(catalogue.fingerprint, settings, {}).write(catalogue.output, name, catalogue.access)
        return exported
