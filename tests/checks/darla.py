"""DARLA: a policy on the frozen latent stands a colour that it never learnt with."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from models.batch import Batch
from models.encoder import Encoder
from models.heads import mlp
from models.objectives.darla import Darla

from .check import Check
from .toy import batch_of, encoder, learn, squares

DARK, BRIGHT = 40, 255
RED, BLUE = torch.tensor([BRIGHT, DARK, DARK]), torch.tensor([DARK, DARK, BRIGHT])
Shield = Callable[[Tensor], Tensor]


def measure() -> Check:
    """Control: encoder and policy learn together, from red squares alone."""
    random = torch.Generator().manual_seed(0)
    eyes = encoder()
    objective = Darla(eyes, 2, denoise_updates=150, vae_updates=450, beta=0.1)

    def draw() -> Batch:
        colours = torch.randint(DARK, BRIGHT + 1, (64, 3), generator=random)
        return batch_of(squares(torch.randint(15, (64, 2), generator=random), colours))

    learn(eyes, objective, draw, objective.ends[1], lr=2e-3)
    return Check(_blue_error(eyes, objective.shield), _blue_error(encoder(), lambda z: z), 0.05, higher=False,
                 what="error on blue squares after learning from red ones, 1 being the mean's; control: end to end")


def _blue_error(eyes: Encoder, shield: Shield) -> float:
    """Of telling a square's place, which stands for the policy."""
    random = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    head = mlp(eyes.latent_dim, 64, 2)
    optimiser = torch.optim.Adam([*eyes.parameters(), *head.parameters()], 2e-3)

    def error(colour: Tensor, count: int = 64) -> Tensor:
        place = torch.randint(15, (count, 2), generator=random)
        return mse_loss(head(shield(eyes(squares(place, colour.expand(count, 3))))), place / 7 - 1)

    for _ in range(300):
        loss = error(RED)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    variance = (torch.arange(15) / 7 - 1).var(correction=0).item()
    with torch.no_grad():
        return error(BLUE, 512).item() / variance
