# Everything here works on a machine with nothing but Python: the environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test test-long check architecture configuration docs bench accuracy accuracy-rows accuracy-photographs accuracy-modules bundled-model photo-model importers release-check constraints clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt -e ".[train,dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/tlg demo

test: $(STAMP)
	$(BIN)/python -m pytest --durations=20 -m "not long" tests

test-long: $(STAMP)
	$(BIN)/python -m pytest --durations=20 -m long tests

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# What the documentation takes from the code: the drawing of the packages, the configuration, the stores' table.
architecture: $(STAMP)
	$(BIN)/python docs/draw_architecture.py

configuration: $(STAMP)
	$(BIN)/python docs/write_configuration.py
	$(BIN)/python docs/write_stores.py

# The documentation as a site in build/site; a link that leads nowhere is an error.
docs: architecture configuration
	$(BIN)/zensical build --strict --config-file mkdocs.yml

constraints: $(STAMP)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --all-extras \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) build demo

bench: $(STAMP)
	$(BIN)/python tests/benchmarks/harness.py $(ONLY)

# Two at a time, a thread each; every line of the input is the last word of a command.
IN_TURNS := xargs -P 2 -n 1

# The table of tlg-photo from ../shared; started again, it goes on where it was. ONLY=modules: what each of its parts
# earns; ONLY=rows: the network of docs/accuracy.md with MobileNetV2, 48 trainings.
accuracy: accuracy-$(or $(ONLY),photographs)

accuracy-rows: $(STAMP)
	$(BIN)/python -m tlg.evaluation.comparison configs/accuracy/rows.yaml

# The longest first, so that two at a time end together.
photographs-parts := $(addprefix msrc_v2/,tlg tlg_true_masks tlg_boxes) camvid neu_seg minicoco \
	$(addprefix msrc_v2/,prior prototypes)
modules-parts := msrc_v2 camvid neu_seg minicoco

accuracy-photographs accuracy-modules: accuracy-%: $(STAMP)
	printf '%s\n' 0 1 2 | $(IN_TURNS) $(BIN)/python -m tlg.recipes.photo bank kinds train export --fold
	printf '%s\n' $($*-parts) | \
		OMP_NUM_THREADS=1 $(IN_TURNS) $(BIN)/python -m tlg.evaluation.collections configs/accuracy/$*.yaml
	$(BIN)/python -m tlg.evaluation.collections configs/accuracy/$*.yaml

# The archives of a release, installed and used under every Python that is here: minutes, and a few GB for each.
release-check: $(STAMP)
	$(BIN)/python tests/release/check.py $(if $(ONLY),--python $(ONLY))

# Whether other tools read our files: minutes and a few GB on first use.
importers: $(STAMP)
	$(BIN)/python tests/importers/check.py $(ONLY)

# From nothing: scenes, backbone, CLIP, TLG, and its figures on novel classes (about an hour on one free core).
bundled-model: $(STAMP)
	$(BIN)/python -m tlg.recipes.tiny scenes backbone clip segmenter evaluate ablate export
	mkdir -p tlg/hub/bundled
	cp -R runs/tlg-tiny/tlg-tiny tlg/hub/bundled/

# The model for photographs: a head on EfficientNet-Lite2, from photographs in ../shared and pictures made here.
photo-model: $(STAMP)
	$(BIN)/python -m tlg.recipes.photo bank kinds train export
	cp -R runs/tlg-photo/tlg-photo tlg/hub/bundled/
