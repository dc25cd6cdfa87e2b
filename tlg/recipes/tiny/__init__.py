"""The recipe of the bundled model: backbone, CLIP and TLG, learned from the procedural world."""
