"""Draws the pictures of the documentation from the pretrained bundles.

    python docs/pictures.py [BUNDLE]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from surgrl.evaluate import BundlePolicy
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.image import prepare
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.spec import Array
from surgrl.pretrained import find_bundle
from surgrl.world import FIRST_UNSEEN_SEED, camera_world

IMAGES = Path(__file__).parent / "images"
SEED = FIRST_UNSEEN_SEED + 3
HEIGHT, SHOWN = 960, 315        # px: drawn, then shrunk, for smooth edges


def reach(bundle: PolicyBundle) -> Array:
    """Four moments of an unseen episode, and what the network sees in the first: (H, W, 3) uint8 RGB."""
    world = camera_world(bundle, height=HEIGHT)
    policy = BundlePolicy(PolicyRuntime(bundle))
    moments = [world.reset(seed=SEED)]
    while not (moments[-1].terminated or moments[-1].truncated):
        moments.append(world.step(policy.act(moments[-1], world)))
    world.close()
    shown = []
    for k in np.linspace(0, len(moments) - 1, 3).astype(int):
        frame = cv2.resize(moments[k].frame, (SHOWN * 4 // 3, SHOWN), interpolation=cv2.INTER_AREA)
        shown.append(_label(frame, f"{moments[k].info['distance'] * 1e3:.0f} mm to go" if k < len(moments) - 1
                            else f"reached: {moments[k].info['distance'] * 1e3:.1f} mm"))
    seen = cv2.resize(prepare(moments[0].frame, bundle.image), (SHOWN, SHOWN), interpolation=cv2.INTER_NEAREST)
    return np.hstack([*shown, _label(seen, "what the policy sees")])


def _label(image: Array, text: str) -> Array:
    image = np.ascontiguousarray(image)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    corner = image[-height - 18:, :width + 20]
    corner[:] = corner // 3
    cv2.putText(image, text, (10, image.shape[0] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (245, 240, 238), 1, cv2.LINE_AA)
    return image


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    parser = argparse.ArgumentParser(description="draws docs/images/reach.png")
    parser.add_argument("bundle", nargs="?", default="reach", help="folder of a bundle, or a pretrained name")
    picture = reach(PolicyBundle.load(find_bundle(parser.parse_args().bundle)))
    cv2.imwrite(str(IMAGES / "reach.png"), picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(IMAGES / "reach.png")
