"""The manifests of a job as a Kustomize base: a file each, and the list that overlays build on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.manifests.kubernetes import to_yaml
from tlg.errors import SpecError

LIST = "kustomization.yaml"


def write(documents: list[dict[str, Any]], image: str, folder: Path) -> list[Path]:
    """Files of an empty or new folder. An overlay changes the image by its name, without our configuration."""
    if folder.exists() and any(folder.iterdir()):
        raise SpecError(f"{folder}: is not empty; name a new folder for the base")
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for document in documents:
        names.append(f"{document['kind'].lower()}-{document['metadata']['name']}.yaml")
        (folder / names[-1]).write_text(to_yaml(document))
    content = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": names}
    (folder / LIST).write_text(to_yaml(content | {"images": [_image(image)]}))
    return [folder / name for name in [*names, LIST]]


def _image(image: str) -> dict[str, Any]:
    name, _, tag = image.rpartition(":")
    return {"name": name, "newTag": tag} if name and "/" not in tag else {"name": image, "newTag": "latest"}
