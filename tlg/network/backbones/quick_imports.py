"""timm and torchvision without torch's compiler, which importing them would load for a decorator and one question.

The compiler takes three seconds to load, two fifths of the start of a model of timm's. Here it is loaded when somebody
first needs it, with the same outcome.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER, ITS_UTILITIES = "torch._dynamo", "torch._dynamo.utils"
_lock = threading.RLock()


@contextmanager
def compiler_on_demand() -> Iterator[None]:
    """Stands in for the compiler, where it is not loaded yet, for whoever is imported meanwhile."""
    import torch

    with _lock:
        if COMPILER in sys.modules:
            yield
            return
        package, utilities = ModuleType(COMPILER), ModuleType(ITS_UTILITIES)
        package.__path__ = []
        utilities.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
        stand_ins = {COMPILER: package, ITS_UTILITIES: utilities}
        disable = torch.compiler.disable
        sys.modules.update(stand_ins)
        torch.compiler.disable = functools.partial(_disabled, disable)  # type: ignore[assignment]
        try:
            yield
        finally:
            torch.compiler.disable = disable
            for name in stand_ins:
                del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    answer: bool = importlib.import_module(ITS_UTILITIES).is_compile_supported(device_type)
    return answer


def _disabled(disable: Callable[..., Any], fn: Callable[..., Any] | None = None, *given: Any, **options: Any) -> Any:
    """As `torch.compiler.disable`, from the function's first call on."""
    if fn is None:
        return functools.partial(_disabled, disable, **options)
    own = functools.cache(lambda: disable(fn, *given, **options))

    @functools.wraps(fn)
    def call(*arguments: Any, **named: Any) -> Any:
        return own()(*arguments, **named)

    return call
