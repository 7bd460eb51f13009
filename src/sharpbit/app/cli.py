"""The command `sharpbit`: each command parses, calls and prints."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sharpbit._version import __version__
from sharpbit.app import INTERRUPTED, options
from sharpbit.errors import SharpbitError


class Sentences(click.Group):
    """A group of commands that turns our errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a user's mistake never becomes a stack trace."""
        try:
            return super().invoke(ctx)
        except SharpbitError as error:
            click.echo(f"sharpbit: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("sharpbit: interrupted; the same command goes on from where files were last saved", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has gone: nothing more to say
            ctx.exit(1)
        except OSError as error:  # of a name that was given: too long, in a folder that may not be entered
            about = f"{error.filename}: " if error.filename else ""
            click.echo(f"sharpbit: {about}{error.strerror or error}", err=True)
            ctx.exit(1)


class ManyFolders(click.Command):
    """A command whose --data takes everything up to the next option or file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write `--data A B` as click knows it: `--data A --data B`."""
        out: list[str] = []
        more = False
        for arg in args:
            more = more and not arg.startswith("-") and not Path(arg).is_file()
            out += ["--data", arg] if more and out[-1] != "--data" else [arg]
            more = more or arg.startswith("--data")
        return super().parse_args(ctx, out)


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sharpbit", message="%(prog)s %(version)s")
def app() -> None:
    """Makes image super-resolution networks small and fast, and runs them."""


@app.command()
@options.upscale
def upscale(**given: Any) -> None:
    """Upscale images, folders of images (with their tree), or - for standard input.

    Results are PNG beside the input unless -o or -f say otherwise. Nothing is overwritten unasked; a run that was
    interrupted goes on with the same command and --skip-existing.
    """
    from sharpbit.app.run import run_upscale

    sys.exit(run_upscale(options.Upscale(**given)))


@app.command()
@click.argument("name", required=False, metavar="[MODEL]")
@options.JSON
def models(name: str | None, as_json: bool) -> None:
    """List the embedded models, or print the whole card of MODEL (an embedded name or a model file)."""
    from sharpbit.app.show import card_of, table_of_models

    click.echo(card_of(name, as_json) if name else table_of_models(as_json))


@app.command(cls=ManyFolders)
@options.evaluate
@options.overrides
def evaluate(**given: Any) -> None:
    """Measure models: PSNR and SSIM on sets of test images, by the protocol of the benchmarks.

    A MODEL is an embedded name, a file (.onnx, .safetensors, .pth), a folder of such files, or bicubic (that of the
    deep learning frameworks, as in published tables; bicubic-matlab is MATLAB's). LR images are read where there
    are some (LRbicx2, LR_bicubic/X2), and made from HR images (GTmod12, HR, or the folder itself) otherwise.
    """
    from sharpbit.app.evaluate import Evaluate, run_evaluate

    sys.exit(run_evaluate(Evaluate(**given)))


@app.command(cls=ManyFolders)
@options.bench
def bench(**given: Any) -> None:
    """Measure how fast MODEL runs: milliseconds an image, memory, cold start, and what really ran.

    Engines run in turn, after warming up. Bytes go in and bytes come out. How to measure well: docs/bench.md.
    """
    from sharpbit.app.bench import run_bench

    sys.exit(run_bench(**given))


@app.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--size",
    type=options.Fit(),
    help="Width and height of the result to count for.  [default: 640x360 upscaled]",
)
@options.patch
@options.overrides
@click.option(
    "--bits-map",
    metavar="IMAGE",
    type=click.Path(dir_okay=False),
    help="Upscale IMAGE and draw the bits of its patches.  [default: none]",
)
@click.option("-o", "--output", metavar="FILE.png", help="Path of that drawing.  [default: name of IMAGE, here]")
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@options.JSON
def inspect(
    model: str,
    size: tuple[int, int] | None,
    patch: int | None,
    step: int | None,
    bits_map: str | None,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    overrides: dict[str, Any],
) -> None:
    """Print what MODEL is: network, parameters, MACs, BitOPs, memory, what is not counted, licence, history.

    Each layer of a quantized network is listed. Costs are counted, not measured: 'sharpbit bench' measures. With
    --bits-map, upscale an image and draw how many bits each patch took, in colours over it. Of a network in two passes
    (RefQSR), both passes and the RefERs are listed for a patch, and the map shows which patch refers to which.
    """
    from sharpbit.system.extras import need

    need("train", "inspecting a model")
    if bits_map is not None:
        from sharpbit.app.bitsmap import run_bits_map

        click.echo(
            run_bits_map(
                model, bits_map, output, patch, step, overwrite=overwrite, as_json=as_json, overrides=overrides
            )
        )
        return
    from sharpbit.app.inspect import inspected
    from sharpbit.verbs.evaluate import cut_of
    from sharpbit.verbs.inspect import inspect as look

    cut = cut_of(patch, step)
    given = {} if cut is None else {"patch": cut.patch, "step": cut.step}
    click.echo(inspected(look(model, size, overrides=overrides, **given), as_json))


@app.command(cls=ManyFolders)
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
@click.option("--data", multiple=True, metavar="FOLDER...", help="Sets of test images, or a folder of sets (required).")
@click.option("--weights", metavar="FOLDER", help="Folder below which published weights lie.  [default: none]")
@click.option(
    "--runs", default="runs", show_default=True, metavar="FOLDER", help="Folder with the results of training."
)
@click.option(
    "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of the engine.  [default: all cores]"
)
@click.option(
    "--table", metavar="FILE.md", help="Write a Markdown table, published beside measured, to FILE.md.  [default: none]"
)
@click.option("--strict", is_flag=True, help="Exit with 1 where a claim could not be checked, too.")
@options.JSON
@options.QUIET
def reproduce(**given: Any) -> None:
    """Compare the numbers that recipes claim with those that their weights give here.

    A RECIPE is a file, or a folder of them. Nothing is trained. Claims are counted as held, failed or unchecked (no
    weights, no images of that set, or no [expect]). The exit code is 0 if at least one held and none failed, else 1.
    """
    from sharpbit.system.extras import need

    need("train", "reproducing a recipe")
    from sharpbit.app.reproduce import run_reproduce

    sys.exit(run_reproduce(**given))


@app.command()
@options.JSON
def doctor(as_json: bool) -> None:
    """Print versions, engines, instruction sets, and the optional packages that are installed."""
    from sharpbit.app.show import doctor_report

    click.echo(doctor_report(as_json))


@app.command()
@click.argument("source", metavar="SOURCE")
@click.argument("out", metavar="OUT")
@click.option(
    "--scale",
    type=click.IntRange(2, 6),
    multiple=True,
    metavar="N",
    help="Upscaling factors that LR images are made for.  [default: 2, 3 and 4]",
)
@click.option(
    "--lr", multiple=True, type=options.Small(), help="Read LR images from FOLDER.  [default: made by bicubic]"
)
@click.option(
    "--size",
    type=click.IntRange(1),
    default=480,
    show_default=True,
    metavar="PIXELS",
    help="Side of a window in HR pixels.",
)
@click.option(
    "--step",
    type=click.IntRange(1),
    default=240,
    show_default=True,
    metavar="PIXELS",
    help="Distance from window to window in HR pixels.",
)
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Threads to cut with.  [default: all cores]")
@options.JSON
@options.QUIET
def prepare(**given: Any) -> None:
    """Cut the HR images of the folder SOURCE, such as DIV2K, into training windows with their LR images, in OUT.

    Run it again to go on where it stopped, or with another --scale to add one.
    """
    from sharpbit.app.prepare import run_prepare

    sys.exit(run_prepare(**given))


@app.command()
@click.argument("recipe", metavar="RECIPE", type=click.Path(dir_okay=False))
@click.option("--data", metavar="FOLDER", help="Training images; the recipe names them.  [default: none]")
@click.option("--out", metavar="FOLDER", help="Folder of results, log and checkpoint.  [default: runs/NAME]")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="Device: cpu, cuda or cuda:N.")
@click.option(
    "--stop-after",
    type=click.IntRange(1),
    metavar="STEPS",
    help="Stop with a checkpoint after STEPS steps of training.  [default: never]",
)
@click.option("--overwrite", is_flag=True, help="Replace the exported file of an earlier run.")
@options.JSON
@options.QUIET
def train(recipe: str, as_json: bool, **given: Any) -> None:
    """Carry out a recipe: train, transform and export a network. Run it again to go on where it stopped.

    Several GPUs or processes take: torchrun --nproc-per-node 2 -m sharpbit train RECIPE --device cuda.
    """
    from sharpbit.app.show import trained
    from sharpbit.system.extras import need

    need("train", "training")
    from sharpbit.recipe import run

    if results := run(recipe, **given):  # of several processes one tells
        click.echo(trained(results, as_json))


@app.command()
@click.argument("source", metavar="IN", type=click.Path(dir_okay=False))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))
@options.overrides
@click.option(
    "--form",
    type=click.Choice(["plain", "et"]),
    default="plain",
    show_default=True,
    help="Form of the chain, see above.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@options.JSON
def reparameterize(
    source: str, target: str, form: str, overwrite: bool, as_json: bool, overrides: dict[str, Any]
) -> None:
    """Write the model IN as a plain chain of convolutions to OUT (.safetensors or .onnx).

    The form 'plain' clips with a clamp and keeps the addition of the image where there is one; 'et' is convolution
    and ReLU or PReLU alone, as published. The two are compared, borders included; more than 1e-5 apart is an error.
    """
    from sharpbit.system.extras import need

    need("train", "reparameterizing")
    from sharpbit.app.convert import convert

    click.echo(convert(source, target, form, overwrite=overwrite, as_json=as_json, overrides=overrides))


@app.command(cls=ManyFolders)
@click.argument("model", metavar="MODEL")
@options.overrides
@click.option("--calibrate", required=True, metavar="FOLDER", help="Calibration images, ten or more (required).")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Path of the result: .onnx, .sharpbit or .safetensors (required).",
)
@click.option(
    "--bits",
    type=options.Bits(),
    default=8,
    show_default=True,
    help="Bits of weights and activations; several, such as 8,6,4, are allocated by layer (mixed precision).",
)
@click.option(
    "--budget",
    type=options.Budget(),
    help="Budget of mixed precision: mean bits, or a share of the cost in 8 bits such as 40%.  [default: none]",
)
@click.option("--method", default="lossless", show_default=True, metavar="NAME", help="Method, see docs/quantize.md.")
@click.option(
    "--refine",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Steps in which the result learns from the float network.",
)
@click.option(
    "--keep", multiple=True, metavar="GLOB", help="Layers that stay in float, such as 'upsample.*'.  [default: none]"
)
@click.option(
    "--data",
    multiple=True,
    metavar="FOLDER...",
    help="Sets of test images to measure before and after.  [default: none]",
)
@click.option(
    "--max-drop", type=float, metavar="DB", help="Fail, and name the worst layers, if a set loses more.  [default: any]"
)
@click.option("--sensitivity", is_flag=True, help="List the layers whose rounding costs most.")
@click.option("--blame", "sensitivity", is_flag=True, hidden=True)
@click.option("--report", metavar="FILE", help="Write a report (.html or .md) on all layers.  [default: none]")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
@options.QUIET
def quantize(
    bits: int | tuple[int, ...], refine: int, keep: tuple[str, ...], budget: float | str | None, **given: Any
) -> None:
    """Turn MODEL, an embedded name or a file, into integers, and print what that cost.

    The method lossless takes chains of convolutions and ReLU (ETDS, ECBSR, ABPN, and what reparameterize makes); tuned,
    adc, search, minmax, percentile and ptq4sr take any network.
    """
    from sharpbit.system.extras import need

    need("train", "quantizing")
    from sharpbit.app.quantize import run_quantize
    from sharpbit.verbs.quantize import QuantizationSettings

    click.echo(run_quantize(settings=QuantizationSettings(bits, refine, keep, budget), **given))


@app.command()
@click.argument("model", metavar="MODEL")
@options.overrides
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "native"]),
    default="onnx",
    show_default=True,
    help="Format of the result.",
)
@click.option("-o", "--output", metavar="FILE", help="Path of the result.  [default: name of MODEL, here]")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
def export(**given: Any) -> None:
    """Write MODEL for engines: onnx for all of them, native (integer models only) for that of sharpbit."""
    from sharpbit.system.extras import need

    need("train", "exporting")
    from sharpbit.app.quantize import run_export

    click.echo(run_export(**given))


@app.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--patch",
    type=click.IntRange(16),
    multiple=True,
    metavar="PIXELS",
    help="Side of a patch in pixels.  [default: 96]",
)
@click.option(
    "--shared",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    metavar="PIXELS",
    help="Pixels that neighbouring patches share.",
)
@click.option(
    "--threshold",
    type=float,
    default=0.5,
    show_default=True,
    metavar="COSINE",
    help="Least cosine of two patches that count as alike.",
)
@click.option(
    "--shrink",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    metavar="N",
    help="Factor by which images are downscaled first.",
)
@click.option("-o", "--output", metavar="FILE.png", help="Draw the clusters over the image.  [default: none]")
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@options.JSON
@options.QUIET
def clusters(patch: tuple[int, ...], **given: Any) -> None:
    """Show which patches of images (or folders of them) are alike, as networks in two passes (RefQSR) see them.

    A reference gets many bits, a query few bits and the features of its reference; an isolated patch is like no other.
    """
    from sharpbit.app.clusters import ClusterOptions, run_clusters

    click.echo(run_clusters(ClusterOptions(patch=patch or (96,), **given)))


@app.command()
@click.argument("costly", metavar="LARGE.onnx")
@click.argument("cheap", metavar="SMALL.onnx")
@click.option("-o", "--output", required=True, metavar="FILE.onnx", help="Path of the result (required).")
@click.option("--calibrate", metavar="FOLDER", help="Images on which --max-drop is kept.  [default: none]")
@click.option(
    "--max-drop", type=click.FloatRange(0), metavar="DB", help="Largest loss of PSNR there in dB.  [default: 0.05]"
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Images of that folder to use.  [default: 12]")
@click.option(
    "--detail",
    type=click.FloatRange(0),
    metavar="LEVELS",
    help="Threshold of detail in grey levels.  [default: found by --calibrate]",
)
@click.option(
    "--patch",
    type=click.IntRange(1),
    default=48,
    show_default=True,
    metavar="PIXELS",
    help="Side of a patch in LR pixels.",
)
@click.option(
    "--shared",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    metavar="PIXELS",
    help="LR pixels that neighbouring patches share.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of the engine.  [default: all cores]"
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.onnx if it exists.")
@options.JSON
@options.QUIET
def pair(**given: Any) -> None:
    """Make one file of two networks of the same scale: patches with little detail go through the small one.

    LARGE and SMALL are files from 'sharpbit export', or embedded names. The file needs less time than LARGE, and
    loses what --max-drop allows; how much of both is measured and printed.
    """
    from sharpbit.system.extras import need

    need("train", "making a pair")
    from sharpbit.app.pair import PairOptions, run_pair

    click.echo(run_pair(PairOptions(**given)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _note  # type: ignore[assignment]
    app.main(args=None if arguments is None else list(arguments), prog_name="sharpbit")


def _note(message: Warning | str, *rest: object) -> None:
    """Print a warning as one line, without the place in the code that it came from."""
    click.echo(f"note: {message}", err=True)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
