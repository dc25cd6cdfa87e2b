"""`python -m tlg.recipes.words [--wordnet FOLDER] [--out FILE]`: makes `tlg/evidence/names/words.json`.

It reads WordNet 3.0's noun files (Debian: `apt-get install wordnet-base`), whose offsets are ImageNet's synset ids, and
the thousand ids in the order of the usual classifier, which timm ships. For every noun that has ImageNet classes below
it in some sense, the table holds these classes; for common nouns without any, the classes of the nearest word above.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from timm.data import ImageNetInfo

# A word whose classes are more than this many names no kind of thing that a picture could be asked for ("entity").
BROADEST = 450
# How far a word without classes of its own may climb, and how broad what it finds may be ("pedestrian" is a person).
STEPS_UP = 2
BROADEST_ABOVE = 12
# Senses that come late in WordNet's order are rare; a word is taken in its first sense that has classes, if that is
# among these.
SENSES = 2


@dataclass(frozen=True)
class Nouns:
    """WordNet's nouns: what lies above and below a synset, and which synsets a word may mean, commonest first."""

    above: dict[int, list[int]]
    below: dict[int, list[int]]
    senses: dict[str, list[int]]


def read_nouns(folder: Path) -> Nouns:
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for line in (folder / "data.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue  # the licence
        fields = line.split(" | ")[0].split()
        offset, words = int(fields[0]), int(fields[3], 16)
        pointers = fields[4 + 2 * words :]
        for start in range(1, 1 + 4 * int(pointers[0]), 4):
            # "@" is a kind of, "@i" is an instance of.
            if pointers[start] in ("@", "@i") and pointers[start + 2] == "n":
                above.setdefault(offset, []).append(int(pointers[start + 1]))
                below.setdefault(int(pointers[start + 1]), []).append(offset)
    senses = {}
    for line in (folder / "index.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        pointer_kinds = int(fields[3])
        senses[fields[0]] = [int(offset) for offset in fields[6 + pointer_kinds :]]
    return Nouns(above, below, senses)


def classes_below(nouns: Nouns, row_of: dict[int, int]) -> dict[int, frozenset[int]]:
    """For every synset that is an ImageNet class or has some below it: their rows."""
    rows: dict[int, set[int]] = {}
    for offset, row in row_of.items():
        waiting, seen = deque([offset]), set()
        while waiting:
            synset = waiting.popleft()
            if synset in seen:
                continue
            seen.add(synset)
            rows.setdefault(synset, set()).add(row)
            waiting.extend(nouns.above.get(synset, []))
    return {synset: frozenset(found) for synset, found in rows.items()}


def rows_of_word(nouns: Nouns, row_of: dict[int, int], below: dict[int, frozenset[int]], word: str) -> frozenset[int]:
    """The classes that the word itself names; else those below its commonest sense; else the nearest above."""
    own = frozenset(row_of[synset] for synset in nouns.senses[word] if synset in row_of)
    if own:
        return own
    senses = nouns.senses[word][:SENSES]
    for synset in senses:
        if 0 < len(below.get(synset, ())) <= BROADEST:
            return below[synset]
    level = senses[:1]
    for _ in range(STEPS_UP):
        level = [parent for synset in level for parent in nouns.above.get(synset, [])]
        found = frozenset().union(*(below.get(synset, frozenset()) for synset in level)) if level else frozenset()
        if found:
            return found if len(found) <= BROADEST_ABOVE else frozenset()
    return frozenset()


def table(folder: Path) -> dict[str, list[int]]:
    nouns = read_nouns(folder)
    synsets = ImageNetInfo("imagenet-1k").label_names()
    row_of = {int(synset[1:]): row for row, synset in enumerate(synsets)}
    below = classes_below(nouns, row_of)
    found = {word: rows_of_word(nouns, row_of, below, word) for word in sorted(nouns.senses)}
    return {word: sorted(rows) for word, rows in found.items() if rows}


def spans(rows: list[int]) -> str:
    """Row numbers as `3-7,12`: most words stand for runs of neighbouring rows."""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tlg.recipes.words", description=__doc__)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=Path("tlg/evidence/names/words.json"))
    options = parser.parse_args()
    words = {word.replace("_", " "): spans(rows) for word, rows in table(options.wordnet).items()}
    options.out.write_text(json.dumps(words, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{len(words):,} words, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
