"""mlcroissant: the document is valid without a warning, and its records are the rows."""

import sys

import mlcroissant

folder = sys.argv[1]
dataset = mlcroissant.Dataset(jsonld=f"{folder}/croissant.json")
assert not dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.report()
assert dataset.metadata.ctx.is_v1_1()
records = list(dataset.records("answers"))
images = {record["answers/image_uri"] for record in records if record["answers/status"] != b"error"}
assert {record["answers/model_digest"] for record in records} == {b"model-1"}
print(len(images))
