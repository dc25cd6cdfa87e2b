"""The front door: one command each, every command's module imported when that command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tlg.errors import TlgError

app = typer.Typer(
    name="tlg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing rich takes three times as long as everything else
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("tlg"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave")
    ] = False,
) -> None:
    """A handful of image-labelled exemplars in, pixel masks for a whole collection out."""


@app.command()
def schema() -> None:
    """Print the JSON schema of the job spec."""
    import json

    from tlg.spec import AnnotateSpec

    typer.echo(json.dumps(AnnotateSpec.model_json_schema(), indent=2))


Address = Annotated[
    str,
    typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The head's dashboard, like http://head:8265"),
]
Overrides = Annotated[list[str], typer.Option("--set", help="Change a key of the spec: run.min_score=0.6")]
Endpoint = Annotated[str | None, typer.Option(help="S3 endpoint, where it is not the provider's own")]
Timezone = Annotated[str, typer.Option(help="Time zone of the schedule")]


@app.command(name="annotate")
def annotate_command(
    spec: Annotated[str | None, typer.Argument(help="The job as a YAML or JSON file")] = None,
    overrides: Overrides = [],  # noqa: B006
    images: Annotated[str | None, typer.Option(help="Without a spec: folder or prefix of the images")] = None,
    exemplars: Annotated[str | None, typer.Option(help="Without a spec: the exemplar set")] = None,
    classes: Annotated[str | None, typer.Option(help="Without exemplars: names that commas part")] = None,
    out: Annotated[str | None, typer.Option(help="Without a spec: where the answers go")] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray: ray://host:10001 or auto")] = None,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Try the quarantined images again")] = False,
    force: Annotated[bool, typer.Option("--force", help="Answer everything again")] = False,
) -> None:
    """Annotate a collection. Run again, it does only what is missing."""
    from jobs.commands import annotate

    loaded = annotate.read_spec(spec, images, exemplars, classes, out, overrides)
    annotate.run_annotate(loaded, address, only_failed, force)


@app.command()
def validate(spec: str, overrides: Overrides = []) -> None:  # noqa: B006
    """Check a job without running it. Keys, exemplars, model and the access to the stores are looked at."""
    from jobs.commands import validate as check
    from tlg.spec import load_annotate_spec

    for passed in check.validate(load_annotate_spec(spec, overrides)):
        typer.echo(f"ok  {passed}")


@app.command()
def plan(
    spec: str,
    overrides: Overrides = [],  # noqa: B006
    deadline_hours: Annotated[
        float | None, typer.Option(help="Another than the spec's deploy.deadline_seconds")
    ] = None,
) -> None:
    """Tell images, hours, workers and cost. A small sample is timed."""
    from jobs.commands import plan as planning
    from tlg.spec import load_annotate_spec

    loaded = load_annotate_spec(spec, overrides)
    deadline = loaded.deploy.deadline_seconds if deadline_hours is None else deadline_hours * 3600
    for line in planning.plan(loaded).lines(deadline):
        typer.echo(line)


@app.command()
def status(output: str, endpoint: Endpoint = None) -> None:
    """Tell how far the runs of an output are. Failures are counted by type."""
    from jobs.commands import status as overview
    from tlg.store import Access, join

    for line in overview.status(join(".", output), Access(endpoint)):
        typer.echo(line)


@app.command()
def export(
    output: str,
    to: Annotated[str, typer.Option(help="Folder or prefix to write to")],
    format: Annotated[str, typer.Option(help="One of output.formats, see docs/exports.md")] = "coco",
    masks: Annotated[str, typer.Option(help="COCO masks as rle or polygon")] = "rle",
    min_score: Annotated[float, typer.Option(help="Leave out masks with a lower score")] = 0.0,
    classes: Annotated[list[str], typer.Option("--class", help="Only this class; may be repeated")] = [],  # noqa: B006
    listed_only: Annotated[
        bool, typer.Option("--listed-only", help="Leave out images that left the collection")
    ] = False,
    endpoint: Endpoint = None,
) -> None:
    """Write answers in another format. All of an output's committed answers are taken, or a part of them."""
    from jobs.output import exports
    from tlg.store import Access, join

    chosen = exports.Filter(min_score, tuple(classes))
    access = Access(endpoint)
    exported = exports.export(
        join(".", output), format, join(".", to), access, chosen, exports.as_masks(masks), listed_only
    )
    for uri in exported.uris:
        typer.echo(uri)
    if exported.remark:
        typer.echo(exported.remark, err=True)


@app.command()
def score(
    output: str,
    truth: Annotated[str, typer.Option(help="COCO file, or folder of label maps or of masks by class")],
    precision: Annotated[float, typer.Option(help="Wished share of right masks, for the suggested min_score")] = 0.9,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON")] = False,
    endpoint: Endpoint = None,
) -> None:
    """Measure answers against known masks. A min_score for a wished precision is suggested."""
    import json

    from jobs.commands import score as scoring
    from tlg.store import Access, join

    figures, lines = scoring.score(join(".", output), join(".", truth), precision, Access(endpoint))
    for line in [json.dumps(figures, indent=1)] if as_json else lines:
        typer.echo(line)


@app.command()
def prune(
    output: str,
    remove: Annotated[bool, typer.Option("--remove", help="Remove them; without it they are only counted")] = False,
    endpoint: Endpoint = None,
) -> None:
    """Remove answers of images that are gone. Without --remove they are only counted."""
    from jobs.commands import prune as pruning
    from tlg.store import Access, join

    for line in pruning.prune(join(".", output), remove, Access(endpoint)):
        typer.echo(line)


@app.command()
def submit(
    spec: str,
    address: Address,
    overrides: Overrides = [],  # noqa: B006
    again: Annotated[bool, typer.Option("--again", help="Run even if the last attempt succeeded")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show the log, leave with the job's exit code")] = False,
) -> None:
    """Hand a job to a Ray cluster. The same spec is the same job and never runs twice at once."""
    from jobs.cluster import submit as submission
    from tlg.spec import load_annotate_spec

    loaded = load_annotate_spec(spec, overrides)
    job = submission.submit(loaded, address, again)
    if not job.created and job.status == "SUCCEEDED":
        typer.echo(f"{job.id}: already succeeded, nothing is run; --again runs it once more")
        return
    typer.echo(f"{job.id}: {'submitted' if job.created else f'already {job.status.lower()}, attached'}")
    if wait:
        ended = submission.follow(job.id, address, loaded.deploy.deadline_seconds, typer.echo)
        typer.echo(f"{ended.id}: {ended.status.lower()}")
        raise typer.Exit(submission.exit_code(ended))


jobs_app = typer.Typer(help="The jobs that a cluster's head remembers.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(jobs_app, name="jobs")


@jobs_app.command("list")
def jobs_list(address: Address) -> None:
    """Every submitted job, oldest first."""
    from jobs.cluster import submit as submission

    for job in submission.jobs(address):
        typer.echo(f"{job.id}  {job.status.lower()}")


@jobs_app.command("logs")
def jobs_logs(
    job: str,
    address: Address,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends")] = False,
) -> None:
    """What a job printed."""
    from jobs.cluster import submit as submission

    if follow:
        raise typer.Exit(submission.exit_code(submission.follow(job, address, show=typer.echo)))
    typer.echo(submission.logs(job, address), nl=False)


@jobs_app.command("stop")
def jobs_stop(job: str, address: Address) -> None:
    """Stop a job; what it committed stays, submitting it again goes on from there."""
    from jobs.cluster import submit as submission

    typer.echo(f"{job}: {'asked to stop' if submission.stop(job, address) else 'was not running'}")


@app.command()
def render(
    spec: str,
    target: Annotated[str, typer.Option(help="rayjob, raycluster, rayservice, cronjob, raycronjob or compose")],
    overrides: Overrides = [],  # noqa: B006
    cron: Annotated[str | None, typer.Option(help='Schedule of cronjob and raycronjob: "0 2 * * *"')] = None,
    timezone: Timezone = "Etc/UTC",
) -> None:
    """Print ready manifests of a job spec."""
    from deploy.manifests import kubernetes
    from tlg.spec import load_annotate_spec

    typer.echo(kubernetes.render(load_annotate_spec(spec, overrides), target, cron, timezone), nl=False)


@app.command()
def schedule(
    spec: str,
    cron: Annotated[str, typer.Option(help='Five fields: "0 2 * * *" is every night at two')],
    target: Annotated[str, typer.Option(help="cronjob, raycronjob, systemd, crontab or local")],
    overrides: Overrides = [],  # noqa: B006
    timezone: Timezone = "Etc/UTC",
    address: Annotated[str | None, typer.Option(help="Submit to this cluster instead of running here")] = None,
) -> None:
    """Run a job every night. Prints what a scheduler needs, or is a small scheduler (`local`)."""
    from deploy.manifests import schedule as nightly
    from tlg.spec import load_annotate_spec

    loaded = load_annotate_spec(spec, overrides)
    night = nightly.command(spec, address, overrides)
    if target == "local":
        nightly.run_local(night, cron, timezone, show=typer.echo)
    else:
        typer.echo(nightly.entries(loaded, night, target, cron, timezone), nl=False)


@app.command()
def doctor(
    spec: Annotated[str | None, typer.Argument(help="Also check the stores and exemplars of this job")] = None,
    address: Annotated[str | None, typer.Option(help="Also check the cluster at this address")] = None,
) -> None:
    """Check this machine. Says what to do about what is missing."""
    from jobs.commands import doctor as examination

    findings = examination.examine(spec, address)
    for finding in findings:
        mark, colour = ("ok  ", typer.colors.GREEN) if finding.ok else ("FAIL", typer.colors.RED)
        typer.secho(mark, fg=colour, nl=False)
        typer.echo(f" {finding.subject}: {finding.found}")
        if finding.advice:
            typer.echo(f"       {finding.advice}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def serve(
    config: Annotated[str | None, typer.Argument(help="Configuration, like configs/serve/local.yaml")] = None,
    overrides: Overrides = [],  # noqa: B006
    host: Annotated[str | None, typer.Option(help="Other addresses than loopback need API keys")] = None,
    port: Annotated[int | None, typer.Option()] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve other machines without API keys")] = False,
    address: Annotated[str, typer.Option(help="Ray cluster to serve on; `local` starts one here")] = "local",
) -> None:
    """Annotate on demand, until Ctrl-C. Serves a page, an API and labelling tools' backends."""
    from deploy.endpoint import config as configuration
    from deploy.endpoint import serving

    given = {"host": host, "port": port, "insecure": insecure or None}
    assignments = [*overrides, *(f"{key}={value}" for key, value in given.items() if value is not None)]
    serving.run(configuration.load_config(config, assignments), address)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demo's files")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed gives other pictures and classes")] = 7,
) -> None:
    """Try the main job on a small collection. The answers are measured and reported."""
    from jobs.commands.demo import demo as run_demo

    run_demo(out, seed)


models_app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
app.add_typer(models_app, name="models")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models that can be named in a spec.

    A line names backbone, size and licence, and says whether the weights are here or to be fetched.
    """
    from tlg.hub import command

    if context.invoked_subcommand is None:
        for line in command.table():
            typer.echo(line)


@models_app.command("card")
def models_card(name: str) -> None:
    """Everything known about a model: weights, digests, licences, figures."""
    from tlg.hub import command

    for line in command.card(name):
        typer.echo(line)


@models_app.command("fetch")
def models_fetch(
    name: str,
    to: Annotated[Path | None, typer.Option(help="Folder that receives the whole model, for another machine")] = None,
) -> None:
    """Fetch a model's weights; prints the SHA-256 of every file, as `sha256sum --check` reads it."""
    from tlg.hub import command

    for line in command.fetch(name, to):
        typer.echo(line)


@models_app.command("pack")
def models_pack(
    model: Annotated[str, typer.Argument(help="Model folder, or a model's name")],
    file: Annotated[Path, typer.Argument(help="The file to write")],
) -> None:
    """Make one file of a model folder."""
    from tlg.hub import command

    for name in command.pack(model, file):
        typer.echo(name)


@models_app.command("unpack")
def models_unpack(
    file: Annotated[Path, typer.Argument(help="A file of `tlg models pack`")],
    folder: Annotated[Path, typer.Argument(help="The model folder to make")],
) -> None:
    """Make a model folder out of such a file; every digest is verified."""
    from tlg.hub.packing import unpack

    typer.echo(f"{folder}: {unpack(file, folder).name}")


@models_app.command("licences")
def models_licences() -> None:
    """The licence of every package that is depended on and of every file of weights."""
    from tlg.hub import command

    for line in command.licences():
        typer.echo(line)


exemplars_app = typer.Typer(help="Look at an exemplar set.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(exemplars_app, name="exemplars")


@exemplars_app.command("check")
def exemplars_check(
    exemplars: Annotated[str, typer.Argument(metavar="SET", help="Exemplar set: file or folder")],
    model: Annotated[str | None, typer.Option(help="By which model, tlg-photo if left out")] = None,
) -> None:
    """Answer each exemplar by the others of its class, and name those that seem to hurt."""
    from tlg.evaluation import check_command

    for line in check_command.check(exemplars, model):
        typer.echo(line)


@app.command()
def prior(
    out: Annotated[Path, typer.Option(help="Folder for what is written; {fold} and {collection} of a training set")],
    pictures: Annotated[list[str] | None, typer.Argument(metavar="IMAGE...", help="Pictures to look at")] = None,
    exemplars: Annotated[str | None, typer.Option(help="Exemplar set: file or folder")] = None,
    model: Annotated[str | None, typer.Option(help="Whose prior, tlg-photo if left out")] = None,
    clip: Annotated[str | None, typer.Option(help="Text of this open_clip model instead of the model's own")] = None,
    clip_weights: Annotated[str | None, typer.Option(help="Its weights: a file, or a tag of open_clip")] = None,
    family: Annotated[str | None, typer.Option(help="Its maps: activation or dense")] = None,
    clip_config: Annotated[str | None, typer.Option(help="All its settings: configs/prior/clip.yaml")] = None,
    dataset: Annotated[str | None, typer.Option(help="Training config whose photographs get pseudo-masks")] = None,
    layout: Annotated[str | None, typer.Option(help="Of pseudo-masks: per_class (default) or per_image")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Draw where each class seems to be. Maps and overlays of pictures, or a training set's pseudo-masks."""
    from tlg.evaluation import prior_command as command

    text = {"architecture": clip, "weights": clip_weights, "family": family}
    if dataset is None:
        command.refuse({"--layout": layout}, "goes with --dataset alone")
        lines = command.look(pictures, exemplars, out, model, clip_config, text, overrides)
    else:
        of_pictures: dict[str, object] = {
            "IMAGE": pictures,
            "--exemplars": exemplars,
            "--model": model,
            "--clip-config": clip_config,
        }
        of_pictures |= {"--clip": clip, "--clip-weights": clip_weights, "--family": family}
        command.refuse(of_pictures, "does not go with --dataset")
        lines = command.of_dataset(dataset, overrides, out, layout)
    for line in lines:
        typer.echo(line)


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="Training config, like configs/train/pascal-resnet50.yaml")],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Train a network on episodes. Started again, it goes on where it was."""
    from tlg.allocation import keep_freed_memory
    from tlg.training.trainer import train as run_training

    keep_freed_memory()
    for folder in run_training(config, overrides):
        typer.echo(f"best model: {folder}")


@app.command()
def evaluate(
    config: Annotated[str, typer.Argument(help="Evaluation config, like configs/evaluate/pascal-resnet50.yaml")],
    dump: Annotated[Path | None, typer.Option(help="Folder for one PNG per episode")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Measure a network on episodes. Prints mean intersection over union (mIoU) per class and fold, and FB-IoU."""
    from tlg.allocation import keep_freed_memory
    from tlg.evaluation.evaluate import evaluate as run_evaluation

    keep_freed_memory()
    run_evaluation(config, dump, overrides)


@app.command("import-checkpoint")
def import_checkpoint(
    checkpoint: Annotated[str, typer.Argument(help="A published best_model.pt")],
    backbone: Annotated[str, typer.Option(help="resnet50 or vgg16")],
    out: Annotated[Path, typer.Option(help="Folder of the new model")],
) -> None:
    """Import a published checkpoint. Nothing inside the file is run."""
    from tlg.errors import SpecError
    from tlg.hub.folder import import_checkpoint as run_import

    if backbone not in ("resnet50", "vgg16"):
        raise SpecError(f"--backbone {backbone}: published checkpoints have resnet50 or vgg16")
    written = run_import(checkpoint, backbone, out)
    typer.echo(f"{out}: {written.name}, {len(written.files)} files")


def main() -> None:
    try:
        app()
    except TlgError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
