"""`tlg prior`: look at what a network is fed, or make the pseudo-masks of a training set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from tlg.errors import SpecError
from tlg.spec import DEFAULT_MODEL
from tlg.training.pseudo_masks import Layout, PseudoMaskSpec

TWO_WAYS = (
    "`tlg prior IMAGE... --exemplars SET` to look at pictures, or `tlg prior --dataset CONFIG` for a training set"
)


def refuse(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise SpecError(f"{', '.join(given)} {why}; expected {TWO_WAYS}")


def look(
    pictures: Sequence[str] | None,
    exemplars: str | None,
    out: Path,
    model: str | None,
    clip_config: str | None,
    clip: Mapping[str, str | None],
    overrides: Sequence[str],
) -> Iterator[str]:
    """Writes maps and overlays, tells presence. Anything said of a CLIP puts it in the place of the model's own."""
    if not pictures or not exemplars:
        raise SpecError(f"no {'--exemplars' if pictures else 'IMAGE'} was given; expected {TWO_WAYS}")
    import torch

    from tlg import exemplars as exemplar_sets
    from tlg.evaluation import looking
    from tlg.hub import zoo

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded, prepared = exemplar_sets.load(exemplars), zoo.load(model or DEFAULT_MODEL, device)
    if clip_config is None and not overrides and not any(clip.values()):
        how = looking.as_fed(prepared, loaded)
    else:
        from tlg.evidence.open_clip.clip_loading import load_text_side
        from tlg.evidence.open_clip.clip_spec import read_clip_spec

        spec = read_clip_spec(clip_config, clip, overrides)
        how = looking.with_text(prepared, loaded, load_text_side(spec, device))
    for uri, class_name, presence, path in looking.write_maps(pictures, loaded.class_names, how, out):
        yield f"{path}  {uri}: {class_name} {presence:.2f}"


def of_dataset(config: str, overrides: Sequence[str], out: Path, layout: str | None) -> Iterator[str]:
    """Makes the pseudo-masks of a training config."""
    if layout not in (None, *get_args(Layout)):
        raise SpecError(f"--layout {layout}: expected {' or '.join(get_args(Layout))}")
    from tlg.training.training_set import make_pseudo_masks

    masks = PseudoMaskSpec(folder=str(out), layout=cast(Layout, layout or "per_class"))
    yield from make_pseudo_masks(config, overrides, masks)
