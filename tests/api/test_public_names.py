"""`import tlg`: what it offers, and that it costs nothing until it is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import tlg

HEAVY = {"torch", "ray", "pyarrow", "numpy", "PIL", "pydantic", "typer"}
PUBLIC = [
    "AnnotateSpec",
    "AnnotatedImage",
    "Annotator",
    "Answer",
    "AsyncClient",
    "CheckpointError",
    "Client",
    "ClusterError",
    "CommittedAnswers",
    "ExemplarSet",
    "InputError",
    "LeaseHeldError",
    "Model",
    "SpecError",
    "StorageError",
    "TlgError",
    "TooManyErrors",
    "__version__",
    "annotate",
    "decode_mask",
    "encode_mask",
    "load_annotate_spec",
    "load_model",
    "read_answers",
]


def modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has imported after a statement."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_the_public_names_are_these_and_each_is_there() -> None:
    assert tlg.__all__ == PUBLIC
    assert all(getattr(tlg, name) is not None for name in PUBLIC)
    assert set(PUBLIC) <= set(dir(tlg))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(tlg.__file__).read_text())
    (for_checkers,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name for node in ast.walk(for_checkers) if isinstance(node, ast.ImportFrom) for alias in node.names
    } | {node.target.id for node in ast.walk(for_checkers) if isinstance(node, ast.AnnAssign)}
    assert seen == set(PUBLIC)
    assert Path(tlg.__file__).with_name("py.typed").exists()


def test_importing_the_package_imports_no_library() -> None:
    assert not modules_after("import tlg") & HEAVY


def test_reading_answers_and_making_a_stage_need_no_torch_and_no_ray() -> None:
    assert not modules_after("import tlg, tlg.ray; tlg.read_answers, tlg.annotate") & {"torch", "ray"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(tlg, "anotate")
