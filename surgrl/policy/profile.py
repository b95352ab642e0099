"""What training-like camera frames look like, in numbers: fitted at export, asked for every frame on the robot.

Two Gaussians, whose distances (Mahalanobis) tell how far a frame is from those of the fit: one of a few statistics with
names (brightness, sharpness, ...), which also have a range each; one, of low rank (Tipping and Bishop 1999), of the
colours on an 8 x 8 grid: where what is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import log
from pathlib import Path

import cv2
import numpy as np

from .errors import UserError
from .image_limits import GRID
from .spec import Array, ImageSpec

FORMAT = 1
SIDE = 64               # px, of the picture that all statistics are of, whatever the camera's resolution
RANK = 16               # directions in which the layout of training frames varies
FOLDS = 5               # parts that the fit leaves out in turn, to know how far unseen frames lie
QUANTILE = 0.995        # of the left-out frames' distances ...
MARGIN = 1.3            # ... times this: the limit
TAIL = 0.002            # of the frames, ignored at each end of a statistic's range ...
WIDEN = 0.2             # ... which is widened by this share of its width, at each end
LEAST_FRAMES = 40
# statistic -> the least by which its range is widened at each end, so that frames that are all alike leave some room
STATISTICS = {
    "brightness": 4.0,  # mean of luma, of 255
    "contrast": 3.0,    # standard deviation of luma, of 255
    "saturation": 0.04,         # 1 - mean of the smallest over mean of the largest colour plane: brightness cancels out
    "warmth": 0.08,     # log(red / blue) of the mean colours
    "tint": 0.08,       # log(green^2 / (red * blue)) of the mean colours
    # log of the Laplacian's variance at 64 px over that at 16 px: contrast cancels out. Much room: simulators draw
    # without anti-aliasing, so frames drawn small, as for the fit, are sharper than frames of full size made small.
    "sharpness": 0.6,
    "veil": 12.0,       # 20th percentile of the smallest colour plane, of 255: what smoke lifts
    "red": 0.03,        # share of pixels that are far more red than green and blue, as blood on the lens is
    "glare": 0.03,      # share of pixels with a colour plane that is saturated
}


def region(frame: Array, image: ImageSpec) -> Array:
    """The part of a camera frame (H, W, 3) that the policy sees: a view (h, w, 3). UserError for another shape."""
    top, left, rows, columns = image.crop_in(*frame.shape[:2])
    return frame[top:top + rows, left:left + columns]


def reduced(view: Array) -> Array:
    """(h, w, 3) uint8 -> (SIDE, SIDE, 3) uint8 by area averaging; halves first, which is several times faster."""
    while min(view.shape[:2]) >= 2 * SIDE and not any(edge % 2 for edge in view.shape[:2]):
        view = cv2.resize(view, (view.shape[1] // 2, view.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(view, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def statistics(small: Array) -> dict[str, float]:
    """(SIDE, SIDE, 3) uint8 -> what STATISTICS names."""
    # OpenCV's functions here and below: at this size they take a tenth of the time of NumPy's.
    luma, (red, green, blue) = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.split(small)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    coarse = cv2.resize(luma, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
    mean, deviation = cv2.meanStdDev(luma)
    means = [value + 1.0 for value in cv2.mean(small)]          # + 1: a black frame has a colour too
    # Not in the dark, where the noise of a level or two would do.
    bloody = cv2.bitwise_and(_above(red, 40), cv2.compare(red, cv2.convertScaleAbs(cv2.max(green, blue), alpha=3.5),
                                                          cv2.CMP_GT))
    return {
        "brightness": float(mean[0, 0]), "contrast": float(deviation[0, 0]),
        "saturation": 1 - (cv2.mean(least)[0] + 1) / (cv2.mean(most)[0] + 1),
        "warmth": log(means[0] / means[2]), "tint": log(means[1] ** 2 / (means[0] * means[2])),
        "sharpness": log((_energy(luma) + 1) / (_energy(coarse) + 1)),
        "veil": float(np.partition(least, least.size // 5, axis=None)[least.size // 5]),
        "red": cv2.countNonZero(bloody) / luma.size,
        "glare": cv2.countNonZero(_above(most, 249)) / luma.size}


def layout(small: Array) -> Array:
    """(SIDE, SIDE, 3) uint8 -> (GRID * GRID * 3,) float32: the mean colour of each tile."""
    return np.asarray(cv2.resize(small.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)).ravel()


@dataclass(frozen=True, eq=False)
class FrameProfile:
    """What frames may look like."""

    mean: Array         # (F,) of the layout
    basis: Array        # (K, F) orthonormal directions in which it varies
    variance: Array     # (K,) along them
    rest: Array         # (), variance in every other direction
    limit: Array        # (), distance of a layout beyond which it is unlike the training's
    low: Array          # (S,) range of each of STATISTICS
    high: Array         # (S,)
    centre: Array       # (S,) their mean
    precision: Array    # (S, S) inverse of their covariance
    odd_limit: Array    # (), distance beyond which they are together unlike the training's

    def bounds(self, name: str) -> tuple[float, float]:
        """Lowest and highest value of a statistic that training-like frames have."""
        at = list(STATISTICS).index(name)
        return float(self.low[at]), float(self.high[at])

    def outside(self, measures: Mapping[str, float], tolerance: float = 1.0) -> dict[str, float]:
        """Of each statistic outside its range, made `tolerance` times as wide: how far, below 0 where it is too low."""
        off = {}
        more = (tolerance - 1) * (self.high - self.low) / 2
        for name, low, high in zip(STATISTICS, self.low - more, self.high + more, strict=True):
            if not low <= measures[name] <= high:
                off[name] = float(measures[name] - (low if measures[name] < low else high))
        return off

    def unlikeness(self, tiles: Array) -> float:
        """Distance of a layout (F,) from those of training, as a multiple of the limit: above 1 is unlike."""
        return float(_distance(tiles[None], self.mean, self.basis, self.variance, self.rest)[0] / self.limit)

    def oddness(self, measures: Mapping[str, float]) -> float:
        """Distance of a frame's statistics from those of training, as a multiple of the limit: above 1 is odd."""
        values = np.array([[measures[name] for name in STATISTICS]])
        return float(_odds(values, self.centre, self.precision)[0] / self.odd_limit)

    def save(self, path: Path) -> None:
        """As an npz of a few tens of kB."""
        np.savez(path, format=np.array(FORMAT), **{entry.name: getattr(self, entry.name) for entry in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "FrameProfile":
        """UserError when it is of another format, or of other statistics than this code measures."""
        with np.load(path, allow_pickle=False) as arrays:
            made = {name: arrays[name] for name in arrays.files}
        form = made.pop("format", None)
        if form is None or form != FORMAT:
            raise UserError(f"{path}: profile format {form}, this surgrl reads {FORMAT}; export the bundle anew with "
                            "this version")
        return cls(**made)

    @classmethod
    def fit(cls, frames: Sequence[Array], episodes: Sequence[int], image: ImageSpec) -> "FrameProfile":
        """Camera frames (H, W, 3) uint8 RGB and the episode of each, whose frames are left out together.

        UserError for fewer than 40 frames, or than 5 episodes: nothing could be said of unseen ones.
        """
        groups = np.asarray(episodes)
        names = np.unique(groups)
        if len(frames) != len(groups) or len(frames) < LEAST_FRAMES or len(names) < FOLDS:
            raise UserError(f"a profile of {len(frames)} frames with {len(groups)} episode numbers, {len(names)} of "
                            f"them different; at least {LEAST_FRAMES} frames of {FOLDS} episodes are needed: give more")
        small = [reduced(region(frame, image)) for frame in frames]
        tiles = np.stack([layout(picture) for picture in small])                    # (n, F)
        values = np.array([list(statistics(picture).values()) for picture in small])   # (n, S)
        unlike, odd = np.empty(len(tiles)), np.empty(len(tiles))
        for fold in range(FOLDS):
            out = np.isin(groups, names[fold::FOLDS])
            unlike[out] = _distance(tiles[out], *_gaussian(tiles[~out]))
            odd[out] = _odds(values[out], *_moments(values[~out]))
        # At least 1, the usual distance: frames that are all alike lie at none from each other.
        limit, odd_limit = (np.asarray(MARGIN * max(np.quantile(part, QUANTILE), 1.0)) for part in (unlike, odd))
        low, high = np.quantile(values, [TAIL, 1 - TAIL], axis=0)
        widen = np.maximum(WIDEN * (high - low), list(STATISTICS.values()))
        return cls(*_gaussian(tiles), limit, low - widen, high + widen, *_moments(values), odd_limit)


def _above(plane: Array, level: int) -> Array:
    return np.asarray(cv2.threshold(plane, level, 255, cv2.THRESH_BINARY)[1])


def _energy(luma: Array) -> float:
    return float(cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_32F))[1][0, 0] ** 2)


def _gaussian(tiles: Array) -> tuple[Array, Array, Array, Array]:
    """(n, F) -> mean (F,), basis (K, F), variance (K,), variance of the rest ()."""
    mean = tiles.mean(axis=0)
    _, sizes, directions = np.linalg.svd(tiles - mean, full_matrices=False)
    rank = min(RANK, len(sizes) - 1)
    variances = sizes ** 2 / len(tiles)
    # 0.05: rounding of the picture to whole levels; frames that are all alike have no variance of their own.
    rest = max(float(variances[rank:].sum()) / (tiles.shape[1] - rank), 0.05)
    return mean, directions[:rank], variances[:rank] + rest, np.asarray(rest, tiles.dtype)


def _distance(tiles: Array, mean: Array, basis: Array, variance: Array, rest: Array) -> Array:
    """(n, F) -> (n,) Mahalanobis distances, over sqrt(F): about 1 for a frame like those of the fit."""
    apart = tiles - mean
    along = apart @ basis.T                                                         # (n, K)
    across = np.maximum((apart ** 2).sum(axis=1) - (along ** 2).sum(axis=1), 0)
    return np.asarray(np.sqrt(((along ** 2 / variance).sum(axis=1) + across / rest) / tiles.shape[1]))


def _moments(values: Array) -> tuple[Array, Array]:
    """(n, S) -> mean (S,), inverse covariance (S, S)."""
    least = np.diag((np.array(list(STATISTICS.values())) / 4) ** 2)     # as in _gaussian: frames may be all alike
    return values.mean(axis=0), np.linalg.inv(np.cov(values.T) + least)


def _odds(values: Array, centre: Array, precision: Array) -> Array:
    """(n, S) -> (n,) Mahalanobis distances, over sqrt(S)."""
    apart = values - centre
    return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", apart, precision, apart) / len(centre)))
