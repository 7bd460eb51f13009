"""The command `sharpbit`: each command parses, calls and prints."""

from __future__ import annotations

import signal
import sys
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
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(name: str | None, as_json: bool) -> None:
    """List the embedded models, or show the whole card of one (or of a model file)."""
    from sharpbit.app.show import card_of, table_of_models

    click.echo(card_of(name, as_json) if name else table_of_models(as_json))


@app.command(cls=ManyFolders)
@options.evaluate
def evaluate(**given: Any) -> None:
    """Measure models: PSNR and SSIM on sets of test images, by the protocol of the benchmarks.

    A MODEL is an embedded name, a file (.onnx, .safetensors, .pth), a folder of such files, or bicubic (that of the
    deep learning frameworks, as in published tables; bicubic-matlab is MATLAB's). LR images are read where there
    are some (LRbicx2, LR_bicubic/X2), and made of the true ones (GTmod12, HR, or the folder itself) otherwise.
    """
    from sharpbit.app.evaluate import Evaluate, run_evaluate

    sys.exit(run_evaluate(Evaluate(**given)))


@app.command(cls=ManyFolders)
@options.bench
def bench(**given: Any) -> None:
    """Measure how fast MODEL runs: milliseconds an image, memory, first result, and what really ran.

    Engines run in turn, after warming up. Bytes go in and bytes come out. How to measure well: docs/bench.md.
    """
    from sharpbit.app.bench import run_bench

    sys.exit(run_bench(**given))


@app.command()
@click.argument("model")
@click.option("--size", type=options.Fit(), help="Size of the result to count for.  [default: of 640x360 upscaled]")
@options.patch
@click.option("--bits-map", metavar="IMAGE", type=click.Path(dir_okay=False), help="Draw the bits of its patches.")
@click.option("-o", "--output", metavar="FILE.png", help="The map.  [default: the name of IMAGE, here]")
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(
    model: str,
    size: tuple[int, int] | None,
    patch: int | None,
    step: int | None,
    bits_map: str | None,
    output: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Look into a model file: network, parameters, MACs, BitOPs, memory, what is not counted, licence, history.

    Of quantized networks also each layer. Costs are counted, not measured: 'sharpbit bench' measures. With --bits-map,
    upscale an image and draw how many bits each patch took, in colours over it.
    """
    from sharpbit.system.extras import need

    need("train", "inspecting a model")
    if bits_map is not None:
        from sharpbit.app.bitsmap import run_bits_map

        click.echo(run_bits_map(model, bits_map, output, patch, step, overwrite=overwrite, as_json=as_json))
        return
    from sharpbit.app.inspect import inspected
    from sharpbit.verbs.evaluate import cut_of
    from sharpbit.verbs.inspect import inspect as look

    cut = cut_of(patch, step)
    given = {} if cut is None else {"patch": cut.patch, "step": cut.step}
    click.echo(inspected(look(model, size, **given), as_json))


@app.command(cls=ManyFolders)
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
@click.option("--data", multiple=True, metavar="DIR...", help="Sets of test images, or a folder of sets.")
@click.option("--weights", metavar="DIR", help="Folder below which published weights lie.")
@click.option("--runs", default="runs", show_default=True, metavar="DIR", help="Folder of results of training.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads that work.  [default: all cores]")
@click.option("--table", metavar="FILE", help="Also write a Markdown table, published beside measured.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def reproduce(**given: Any) -> None:
    """Hold what recipes claim against what their weights give here; exit with 1 where a claim does not hold.

    A RECIPE is a file, or a folder of them. Nothing is trained: where there are no weights, it says how they are made.
    """
    from sharpbit.system.extras import need

    need("train", "reproducing a recipe")
    from sharpbit.app.reproduce import run_reproduce

    sys.exit(run_reproduce(**given))


@app.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Print versions, engines, instruction sets, and which extras are installed."""
    from sharpbit.app.show import doctor_report

    click.echo(doctor_report(as_json))


@app.command()
@click.argument("source", metavar="SOURCE")
@click.argument("out", metavar="OUT")
@click.option("--scale", type=click.IntRange(2, 6), multiple=True, help="Scales to prepare.  [default: 2, 3 and 4]")
@click.option("--lr", multiple=True, type=options.Small(), help="Take LR images from there, not by bicubic.")
@click.option("--size", type=click.IntRange(1), default=480, show_default=True, help="Side of a window.")
@click.option("--step", type=click.IntRange(1), default=240, show_default=True, help="From window to window.")
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Threads that work.  [default: all cores]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def prepare(**given: Any) -> None:
    """Cut the images of SOURCE, such as DIV2K, into windows to train on, with their small partners, in OUT.

    Run again to go on where it stopped, or with another --scale to add one.
    """
    from sharpbit.app.prepare import run_prepare

    sys.exit(run_prepare(**given))


@app.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option("--data", metavar="DIR", help="Folder of the training images (the recipe says which).")
@click.option("--out", metavar="DIR", help="Folder of results, log and checkpoint [default: runs/NAME].")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--stop-after", type=click.IntRange(1), metavar="STEPS", help="Stop, with a checkpoint, after these.")
@click.option("--overwrite", is_flag=True, help="Replace the exported file of an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def train(recipe: str, as_json: bool, **given: Any) -> None:
    """Carry out a recipe: train, transform and export a network. Run again to go on where it stopped.

    On several GPUs, or processes: torchrun --nproc-per-node 2 -m sharpbit train RECIPE --device cuda
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
@click.option("--form", type=click.Choice(["plain", "et"]), default="plain", show_default=True, help="See above.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reparameterize(source: str, target: str, form: str, overwrite: bool, as_json: bool) -> None:
    """Write the model IN as a plain chain of convolutions, to OUT: .safetensors or .onnx.

    The form 'plain' clips with a clamp and keeps the addition of the image where there is one; 'et' is convolution
    and ReLU or PReLU alone, as published. The two are compared, borders included; more than 1e-5 apart is an error.
    """
    from sharpbit.system.extras import need

    need("train", "reparameterizing")
    from sharpbit.app.convert import convert

    click.echo(convert(source, target, form, overwrite=overwrite, as_json=as_json))


@app.command(cls=ManyFolders)
@click.argument("model")
@click.option("--calibrate", required=True, metavar="DIR", help="Folder of ordinary images, some ten or more.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The result: .onnx, .sharpbit or .safetensors.")
@click.option(
    "--bits", type=options.Bits(), default=8, show_default=True, help="Of weights and activations; 8,6,4: a choice."
)
@click.option("--budget", type=options.Budget(), help="Of that choice: mean bits, or 40% of the cost in 8 bits.")
@click.option("--method", default="lossless", show_default=True, help="How; see docs/quantize.md.")
@click.option(
    "--refine", type=click.IntRange(0), default=0, metavar="STEPS", help="Steps of learning from the float one."
)
@click.option("--keep", multiple=True, metavar="GLOB", help="Layers that stay in float, such as 'upsample.*'.")
@click.option("--data", multiple=True, metavar="DIR...", help="Sets of test images to measure before and after on.")
@click.option("--max-drop", type=float, metavar="DB", help="Fail, and name the worst layers, if a set loses more.")
@click.option("--blame", is_flag=True, help="List the layers whose rounding costs most.")
@click.option("--report", metavar="FILE", help="Write a page (.html or .md) with all layers and plots of ranges.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def quantize(
    bits: int | tuple[int, ...], refine: int, keep: tuple[str, ...], budget: float | str | None, **given: Any
) -> None:
    """Turn MODEL, an embedded name or a file, into integers, and say what that cost.

    The method lossless takes chains of convolutions and ReLU (ETDS, ECBSR, ABPN, and what reparameterize makes); tuned,
    adc, search, minmax, percentile and ptq4sr take any network.
    """
    from sharpbit.system.extras import need

    need("train", "quantizing")
    from sharpbit.app.quantize import run_quantize
    from sharpbit.verbs.quantize import Settings

    click.echo(run_quantize(settings=Settings(bits, refine, keep, budget), **given))


@app.command()
@click.argument("model")
@click.option("--format", "form", type=click.Choice(["onnx", "native"]), default="onnx", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="The result.  [default: the name of MODEL, here]")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(**given: Any) -> None:
    """Write MODEL for engines: onnx for all of them, native (integer models only) for that of sharpbit."""
    from sharpbit.system.extras import need

    need("train", "exporting")
    from sharpbit.app.quantize import run_export

    click.echo(run_export(**given))


@app.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--patch", type=click.IntRange(16), multiple=True, metavar="N", help="Side of a patch.  [default: 96]")
@click.option("--shared", type=click.IntRange(0), default=6, show_default=True, help="Pixels that neighbours share.")
@click.option("--threshold", type=float, default=0.5, show_default=True, help="Cosine of patches that are alike.")
@click.option("--shrink", type=click.IntRange(1, 8), default=1, show_default=True, help="Shrink images first.")
@click.option("-o", "--output", metavar="FILE.png", help="Draw the clusters over the image.")
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def clusters(patch: tuple[int, ...], **given: Any) -> None:
    """Show which patches of images (or folders of them) are alike, as networks in two passes (RefQSR) see them.

    A reference gets many bits, a query few and the help of its reference; an isolated patch is like no other.
    """
    from sharpbit.app.clusters import Settings, run_clusters

    click.echo(run_clusters(Settings(patch=patch or (96,), **given)))


@app.command()
@click.argument("costly", metavar="COSTLY.onnx")
@click.argument("cheap", metavar="CHEAP.onnx")
@click.option("-o", "--output", required=True, metavar="FILE.onnx", help="The result.")
@click.option("--calibrate", metavar="DIR", help="Folder of ordinary images, on which --max-drop is kept.")
@click.option("--max-drop", type=click.FloatRange(0), metavar="DB", help="Loss of PSNR there.  [default: 0.05]")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Images that are looked at.  [default: 12]")
@click.option("--detail", type=click.FloatRange(0), metavar="T", help="Or set the threshold, in grey levels.")
@click.option("--patch", type=click.IntRange(1), default=48, show_default=True, help="Side of a patch.")
@click.option("--shared", type=click.IntRange(0), default=6, show_default=True, help="Pixels that neighbours share.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads that work.  [default: all cores]")
@click.option("--overwrite", is_flag=True, help="Replace FILE.onnx if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def pair(**given: Any) -> None:
    """Make one file of two networks of the same scale: patches with little detail go through the cheap one.

    COSTLY and CHEAP are files from 'sharpbit export', or embedded names. The file needs less time than COSTLY, and
    loses what --max-drop allows; how much of both is measured and printed.
    """
    from sharpbit.system.extras import need

    need("train", "making a pair")
    from sharpbit.app.pair import Settings, run_pair

    click.echo(run_pair(Settings(**given)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _interrupt)
    app.main(args=None if arguments is None else list(arguments), prog_name="sharpbit")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
