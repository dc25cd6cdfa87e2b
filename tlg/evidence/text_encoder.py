"""Text vectors for any class name: from an open_clip model, or from a table of ready vectors."""

from __future__ import annotations

import difflib
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tlg import store
from tlg.errors import CheckpointError, SpecError, StorageError
from tlg.network.text import TextVectors
from tlg.network.text_spec import ClassText, TextSpec


class TextEncoder(Protocol):
    """Gives the three unit vectors of each class."""

    dim: int

    def encode(self, classes: Sequence[ClassText]) -> TextVectors: ...


class TableTextEncoder:
    """Ready vectors by name. A name that is not there is an error that lists the nearest ones.

    A refined text or surroundings that the table lacks fall back to the class name and to the mean of the known ones
    among the surroundings (or of the whole table): they refine an answer, the name decides it.
    """

    def __init__(self, location: str | Path, spec: TextSpec | None = None) -> None:
        self.spec = spec or TextSpec(table=str(location))
        try:
            with np.load(io.BytesIO(store.read(str(location))), allow_pickle=False) as table:
                names, vectors = [str(name) for name in table["names"]], table["vectors"].astype(np.float32)
        except StorageError as error:
            raise CheckpointError(f"the text table cannot be read: {error}") from error
        except (ValueError, KeyError, OSError) as error:
            raise CheckpointError(f"{location}: expected an npz with `names` and `vectors` ({error})") from error
        if vectors.ndim != 2 or len(names) != len(vectors):
            raise CheckpointError(f"{location}: {len(names)} names but vectors of shape {vectors.shape}")
        self.location = str(location)
        self.dim = vectors.shape[1]
        self.vectors = unit_rows(torch.from_numpy(vectors))
        self.rows = {name.casefold(): row for row, name in reversed(list(enumerate(names)))}

    def encode(self, classes: Sequence[ClassText]) -> TextVectors:
        foreground, refined, background = [], [], []
        for class_text in classes:
            name, attributes, _ = self.spec.sentences(class_text)
            found = self._row(name)
            if found is None:
                nearest = difflib.get_close_matches(name.casefold(), self.rows, n=3, cutoff=0.5)
                hint = f"; the nearest names are {', '.join(nearest)}" if nearest else ""
                raise SpecError(f"the text table {self.location} has no class {name!r}{hint}")
            surroundings = [
                row for row in map(self._row, class_text.context or self.spec.default_context) if row is not None
            ]
            foreground.append(self.vectors[found])
            attributes_row = self._row(attributes)
            refined.append(self.vectors[found if attributes_row is None else attributes_row])
            background.append((self.vectors[surroundings] if surroundings else self.vectors).mean(dim=0))
        return TextVectors(torch.stack(foreground), torch.stack(refined), unit_rows(torch.stack(background)))

    def _row(self, text: str) -> int | None:
        """The row of a text as it stands, or inside the template (tables hold either)."""
        for key in (text, self.spec.template.format(text)):
            if key.casefold() in self.rows:
                return self.rows[key.casefold()]
        return None


class ClipTextEncoder:
    """open_clip's text tower, loaded when first needed; vectors are cached by what they depend on."""

    def __init__(self, spec: TextSpec | None = None, cache: Path | None = None, device: str = "cpu") -> None:
        self.spec = spec or TextSpec()
        self.cache = cache or Path(torch.hub.get_dir()).parent / "tlg" / "text"
        self.device = device
        self._towers: tuple[Any, Callable[[list[str]], Tensor]] | None = None
        self.dim = clip_text_dim(self.spec.model)

    def encode(self, classes: Sequence[ClassText]) -> TextVectors:
        sentences = [
            self.spec.template.format(text) for class_text in classes for text in self.spec.sentences(class_text)
        ]
        vectors = self._cached(sentences).view(len(classes), 3, -1)
        return TextVectors(vectors[:, 0], vectors[:, 1], vectors[:, 2])

    def _cached(self, sentences: list[str]) -> Tensor:
        files = {text: self.cache / f"{self._key(text)}.npy" for text in sentences}
        unknown = [text for text, file in files.items() if not file.exists()]
        if unknown:
            self.cache.mkdir(parents=True, exist_ok=True)
            for text, vector in zip(unknown, self._encode(unknown), strict=True):
                aside = files[text].with_suffix(f".{id(vector)}.aside")
                with aside.open("wb") as file:
                    np.save(file, vector.numpy())
                aside.replace(files[text])
        return torch.stack([torch.from_numpy(np.load(files[text], allow_pickle=False)) for text in sentences])

    def _key(self, sentence: str) -> str:
        content = "\0".join((self.spec.model, self.spec.pretrained, sentence))
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    @torch.inference_mode()
    def _encode(self, sentences: list[str]) -> Tensor:
        if self._towers is None:
            self._towers = load_clip(self.spec.model, self.spec.pretrained, self.device)
        model, tokenizer = self._towers
        return unit_rows(model.encode_text(tokenizer(sentences).to(self.device)).float().cpu())


def load_clip(model: str, pretrained: str, device: str) -> tuple[Any, Callable[[list[str]], Tensor]]:
    """An open_clip model in eval mode and its tokenizer; offline without a cached file the error says what to do."""
    import open_clip

    try:
        clip = open_clip.create_model(model, pretrained=pretrained, device=device)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"open_clip model {model!r} with weights {pretrained!r} is neither cached nor could it be downloaded"
            f" ({' '.join(str(error).split())[:200]}); give a path to its weights as `pretrained`,"
            " or a table of ready vectors as `table`"
        ) from error
    return clip.eval(), open_clip.get_tokenizer(model)


def clip_text_dim(model: str) -> int:
    import open_clip

    config = open_clip.get_model_config(model)
    if config is None:
        nearest = difflib.get_close_matches(model, open_clip.list_models(), n=3)
        raise SpecError(f"open_clip knows no model {model!r}; the nearest names are {', '.join(nearest) or 'none'}")
    return int(config["embed_dim"])


def build_text_encoder(spec: TextSpec, device: str = "cpu") -> TextEncoder:
    """The encoder a spec asks for."""
    if spec.table is not None:
        return TableTextEncoder(spec.table, spec)
    return ClipTextEncoder(spec, device=device)


def unit_rows(vectors_BD: Tensor) -> Tensor:
    return vectors_BD / vectors_BD.norm(dim=-1, keepdim=True)
