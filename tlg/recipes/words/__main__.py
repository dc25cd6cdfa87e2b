"""`python -m tlg.recipes.words [--wordnet FOLDER] [--out FOLDER]`: makes `words.json` and `kinds.json`.

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
# The kinds of things that models may be taught with masks, and WordNet's senses (counted from 1) on top of each.
KINDS: dict[str, tuple[tuple[str, int], ...]] = {
    "airplane": (("airplane", 1),),
    "bicycle": (("bicycle", 1),),
    "bird": (("bird", 1),),
    "boat": (("boat", 1), ("ship", 1)),
    "book": (("book", 1), ("book", 2)),
    "building": (("building", 1), ("house", 1)),
    "car": (("car", 1),),
    "cat": (("cat", 1),),
    "chair": (("chair", 1),),
    "cow": (("cattle", 1), ("cow", 2)),
    "dog": (("dog", 1),),
    "flower": (("flower", 1), ("flower", 2)),
    "grass": (("grass", 1), ("lawn", 1)),
    "horse": (("horse", 1),),
    "mountain": (("mountain", 1), ("hill", 1)),
    "person": (("person", 1), ("people", 1)),
    "road": (("road", 1), ("street", 1)),
    "sheep": (("sheep", 1),),
    "sign": (("signboard", 1), ("street_sign", 1)),
    "sky": (("sky", 1),),
    "tree": (("tree", 1),),
    "water": (("body_of_water", 1), ("water", 1)),
}


@dataclass(frozen=True)
class Nouns:
    """WordNet's nouns: what lies above and below a synset, and which synsets a word may mean, commonest first.

    `instances` are no kinds of things but single ones: persons of history, rivers, towns.
    """

    above: dict[int, list[int]]
    below: dict[int, list[int]]
    senses: dict[str, list[int]]
    instances: set[int]


def read_nouns(folder: Path) -> Nouns:
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    instances: set[int] = set()
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
                if pointers[start] == "@i":
                    instances.add(offset)
    senses = {}
    for line in (folder / "index.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        pointer_kinds = int(fields[3])
        senses[fields[0]] = [int(offset) for offset in fields[6 + pointer_kinds :]]
    return Nouns(above, below, senses, instances)


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


def words_of_kinds(nouns: Nouns) -> dict[str, list[str]]:
    """Every kind's words: those whose commonest sense lies below it, and below no other kind that is nearer."""
    kind_of_synset = {nouns.senses[word][sense - 1]: kind for kind, roots in KINDS.items() for word, sense in roots}
    listed: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for word, (commonest, *_) in sorted(nouns.senses.items()):
        own = next((kind for kind, roots in KINDS.items() if word == kind or word in dict(roots)), None)
        is_kind = commonest not in nouns.instances
        kind = own or (nearest_kind(nouns, kind_of_synset, commonest) if is_kind else None)
        if kind is not None:
            listed[kind].append(word.replace("_", " "))
    return listed


def nearest_kind(nouns: Nouns, kind_of_synset: dict[int, str], synset: int) -> str | None:
    waiting, visited = deque([synset]), set[int]()
    while waiting:
        nearest = waiting.popleft()
        if nearest in kind_of_synset:
            return kind_of_synset[nearest]
        if nearest not in visited:
            visited.add(nearest)
            waiting.extend(nouns.above.get(nearest, []))
    return None


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
    parser.add_argument("--out", type=Path, default=Path("tlg/evidence/names"), help="where both tables are written")
    options = parser.parse_args()
    words = {word.replace("_", " "): spans(rows) for word, rows in table(options.wordnet).items()}
    for file, content in (("words.json", words), ("kinds.json", words_of_kinds(read_nouns(options.wordnet)))):
        written = options.out / file
        written.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n")
        print(f"{file}: {len(content):,} entries, {written.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
