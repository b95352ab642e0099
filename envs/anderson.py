"""Anderson's acceleration of a fixed-point iteration, as used for projective dynamics by Peng et al. 2018
(ACM TOG 37(4), doi 10.1145/3197517.3201290): the next guess is the combination of the last ones whose residuals cancel.
"""

import numpy as np

from .geometry import Array


class Anderson:
    """Guesses for x = map(x), from what the map made of the guesses before."""

    def __init__(self, size: int, memory: int = 6):
        """size: entries of x. memory: differences that are combined."""
        self._residuals, self._images = np.empty((2, memory, size))     # differences, in a ring
        self._memory = memory
        self.restart()

    def restart(self) -> None:
        """Forget all."""
        self._count, self._norm = 0, np.inf
        self._residual = self._image = None

    def propose(self, x: Array, image: Array) -> tuple[Array, float]:
        """The next guess, and the squared residual of this one. x, image = map(x): any shape, `size` entries.

        Differs from Peng et al.: a residual that doubles clears the memory; there is no test of the energy. The
        caller has to end on an image of the map, not on a guess.
        """
        shape, image = image.shape, image.ravel()
        residual = image - x.ravel()
        norm = float(residual @ residual)
        if norm > 4 * self._norm:
            self._count, self._residual = 0, None
        guess = image
        if self._residual is not None:
            slot = self._count % self._memory
            np.subtract(residual, self._residual, out=self._residuals[slot])
            np.subtract(image, self._image, out=self._images[slot])
            self._count += 1
            used = min(self._count, self._memory)
            differences = self._residuals[:used]
            gram = differences @ differences.T
            gram.flat[::used + 1] = gram.flat[::used + 1] * (1 + 1e-8) + 1e-30      # differences may be parallel
            guess = image - np.linalg.solve(gram, differences @ residual) @ self._images[:used]
        self._residual, self._image, self._norm = residual, image, norm
        return guess.reshape(shape), norm
