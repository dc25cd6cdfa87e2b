"""The small CLIP that comes with the product: an open_clip model with our own image tower and vocabulary."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.evidence.text_encoder import ClassText, TextSpec
from tlg.evidence.tiny_clip_towers import TinyTowers
from tlg.network.text import TextVectors

# Between the mean (0) and the maximum (infinite) over the cells of an image.
POOLING_SHARPNESS = 12.0
TEXT_SPEC = TextSpec(template="a photo of a {}.")


class WordTokenizer:
    """Words of a small vocabulary; any other word is spelled letter by letter. The end token is the highest."""

    letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
    pad, start = 0, 1

    def __init__(self, words: Sequence[str], context_length: int) -> None:
        self.words, self.context_length = list(words), context_length
        known = [*self.letters, *self.words]
        self.codes = {piece: code for code, piece in enumerate(known, start=2)}
        self.end = len(known) + 2
        self.vocab_size = self.end + 1

    @classmethod
    def of_texts(cls, texts: Iterable[str], context_length: int) -> WordTokenizer:
        words = {word for text in texts for word in split_words(text)}
        return cls(sorted(word for word in words if len(word) > 1), context_length)

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """(B, context length) token ids, as open_clip's tokenizers give them."""
        length = context_length or self.context_length
        rows = []
        for text in [texts] if isinstance(texts, str) else texts:
            codes = [code for word in split_words(text) for code in self.encode_word(word)][: length - 2]
            rows.append([self.start, *codes, self.end] + [self.pad] * (length - 2 - len(codes)))
        return torch.tensor(rows)

    def encode_word(self, word: str) -> list[int]:
        if word in self.codes:
            return [self.codes[word]]
        return [self.codes[letter] for letter in word if letter in self.codes]


def split_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9-]+", text.lower())


class TinyClip(nn.Module):
    """The model with its tokenizer, as the product uses it: text vectors, text priors and presence.

    Shapes: B images, N classes, D dimensions of the common space, h x w cells.
    """

    def __init__(self, config: dict, clip: TinyTowers, tokenizer: WordTokenizer) -> None:
        super().__init__()
        self.config, self.clip, self.tokenizer = config, clip, tokenizer
        self.dim = clip.text_projection.shape[1]
        self.requires_grad_(False).eval()

    def encode(self, classes: Sequence[ClassText]) -> TextVectors:
        """The three vectors of each class: name, name with attributes, usual surroundings."""
        foreground, refined, background = zip(*(TEXT_SPEC.sentences(class_text) for class_text in classes), strict=True)
        return TextVectors(self.text_vectors(foreground), self.text_vectors(refined), self.text_vectors(background))

    def knows(self, text: str) -> bool:
        """Whether the text is words of the vocabulary and nothing else; of other words CLIP has learned nothing."""
        words = split_words(text)
        letters = sum(letter.isalnum() for letter in text)
        read = sum(letter.isalnum() for word in words for letter in word)
        # Letters outside the alphabet belong to no word: they would be left out without a word.
        return bool(words) and read == letters and all(word in self.tokenizer.codes for word in words)

    @torch.no_grad()
    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (N,D)."""
        tokens = self.tokenizer([TEXT_SPEC.template.format(text) for text in texts])
        return F.normalize(self.clip.encode_text(tokens.to(self.clip.positional_embedding.device)), dim=-1)

    @torch.no_grad()
    def cells(self, images_B3HW: Tensor) -> Tensor:
        """(B,D,h,w), of ImageNet-normalised images at stride 8."""
        return dense_image_vectors(self.clip, images_B3HW).float()

    @torch.no_grad()
    def prior(self, cells_BDhw: Tensor, class_ND: Tensor) -> Tensor:
        """(B,N,h,w) of 0..1: the odds, by CLIP's own scale and bias, that a cell shows the class."""
        cosine_BNhw = torch.einsum("bdhw,nd->bnhw", F.normalize(cells_BDhw, dim=1), class_ND)
        return torch.sigmoid(self.clip.logit_scale.exp() * cosine_BNhw + self.clip.logit_bias)

    @torch.no_grad()
    def presence(self, cells_BDhw: Tensor, class_ND: Tensor) -> Tensor:
        """(B,N) of 0..1: the odds that the image shows the class somewhere."""
        odds_BN = self.clip.logit_scale.exp() * pooled_agreement(cells_BDhw, class_ND) + self.clip.logit_bias
        return torch.sigmoid(odds_BN)


def build_tiny_clip(config: dict, words: Sequence[str], weights: Mapping[str, Tensor]) -> TinyClip:
    """The CLIP of an open_clip config, its vocabulary and its weights (in any precision)."""
    clip = TinyTowers(config)
    clip.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in weights.items()})
    return TinyClip(config, clip, WordTokenizer(words, clip.context_length))


def dense_image_vectors(clip: TinyTowers, images_B3HW: Tensor) -> Tensor:
    """A vector of CLIP's own space for each cell, (B,D,h,w): the mean over cells is the image's vector."""
    map_BChw = clip.visual.trunk.forward_features(images_B3HW)
    return torch.einsum("bchw,dc->bdhw", map_BChw, clip.visual.head.get_parameter("proj.weight"))


def pooled_agreement(cells_BDhw: Tensor, texts_PD: Tensor) -> Tensor:
    """How well the best cells of each image agree with each unit text vector, (B,P)."""
    cosine_BPX = torch.einsum("bdx,pd->bpx", F.normalize(cells_BDhw, dim=1).flatten(2), texts_PD)
    soft_maximum_BP = (cosine_BPX * POOLING_SHARPNESS).logsumexp(2) - math.log(cosine_BPX.shape[-1])
    return soft_maximum_BP / POOLING_SHARPNESS
