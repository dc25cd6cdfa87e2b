"""Bytes -> pixels (every odd format, bounded), pixels -> what the network reads."""

from tlg.pictures.decoding import EXTENSIONS, Picture, as_rgb, decode, decode_mask
from tlg.pictures.guarded import begin_to_decode, guarded_decode, guarded_decode_mask
from tlg.pictures.header import DEFAULT_MAX_PIXELS, HARD_MAX_PIXELS, MAX_BYTES, check_header
from tlg.pictures.network_input import IMAGENET_MEAN, IMAGENET_STD, to_network_input

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "EXTENSIONS",
    "HARD_MAX_PIXELS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MAX_BYTES",
    "Picture",
    "as_rgb",
    "begin_to_decode",
    "check_header",
    "decode",
    "decode_mask",
    "guarded_decode",
    "guarded_decode_mask",
    "to_network_input",
]
