"""`surgrl check BUNDLE`: hashes, format and golden actions, without torch."""

import argparse

from .policy.bundle import PolicyBundle
from .policy.runtime import PolicyRuntime
from .pretrained import find_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl check`."""
    parser.add_argument("bundle", help="folder of the bundle, or the name of a pretrained one")


def run(args: argparse.Namespace) -> None:
    """Print what the bundle is, once it is proved; UserError when it is not what was exported."""
    bundle = PolicyBundle.load(find_bundle(args.bundle))
    runtime = PolicyRuntime(bundle)
    image, action = bundle.image, bundle.action
    print(f"{bundle.folder}: whole, and acts as exported (golden actions within {runtime.golden_error:.1e})")
    print(f"  task    {bundle.task}")
    print(f"  image   {image.camera}: crop {list(image.crop)} of {image.width}x{image.height} "
          f"{image.colour}, {image.stack} x {image.size[0]}x{image.size[1]} px at {image.rate:g} Hz")
    print(f"  proprio {', '.join(bundle.proprio.names) or 'none: images alone'}")
    for name, unit, low, high in zip(action.names, action.units, action.low, action.high, strict=True):
        print(f"  action  {name} in [{low:g}, {high:g}] {unit}, frame {action.frame}")
    for key, value in bundle.origin.items():
        if not isinstance(value, dict):
            print(f"  {key:7s} {value}")
