"""What agents that learn from remembered steps share: sight, objectives, imitation, acting, checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..augments.chain import Chain, Turns, encoded
from ..augments.turn import Channel, Turn
from ..batch import Batch
from ..encoder import Encoder
from ..heads import Policy, Standardise
from ..make import make_augments
from ..memory import EpisodeMemory
from ..objective import Objective
from ..ranges import within
from ..side import SideObjectives

Array = NDArray[Any]


class Learner(ABC):
    """An encoder shaped by losses on augmented images, and an actor that reads its latent.

    A subclass builds the actor, says how it explores, and writes `update` out of the pieces here.
    Imitation of an expert's labels follows TD3+BC (Fujimoto & Gu 2021, arXiv:2106.06860, eq. 5); with labels on
    the agent's own steps it is DAgger (Ross et al. 2011, arXiv:1011.0686).
    """

    parts: ClassVar[tuple[str, ...]] = ("encoder", "actor", "standardise", "objectives", "optimiser",
                                        "actor_optimiser")      # attributes that a checkpoint holds

    def __init__(self, encoder: Encoder, actor: nn.Module, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device,
                 channels: Sequence[Channel], *, shaping: Sequence[nn.Module], action_dim: int, lr: float,
                 batch_size: int, shift: int, augment: list | None, views: int, strong_augment: list | None,
                 explore_steps: int, demo_share: float, imitation: float, bf16: bool, rewarded: bool):
        """actor: latent and proprio to the mean action. shaping: modules that learn in one step with the encoder.

        channels: what the action's entries are; only flip and rotate ask. shift: px. augment: what every image goes
        through, by names (None: shift alone). views: augmented views of every image. strong_augment: what a copy of
        every view goes through too (None: no copy). explore_steps: steps of uniform actions to begin with.
        demo_share: part of every batch drawn from demonstrations (0: evenly over all steps). imitation: weight of
        the squared error to the expert's action. bf16: convolve in bfloat16 while learning (not while acting).
        rewarded: whether rewards are learnt from, and so a bonus.
        """
        if not (views >= 1 and batch_size >= 1 and 0 <= shift < min(encoder.size) and imitation >= 0):
            raise ValueError(f"{type(self).__name__.lower()} views {views} and batch_size {batch_size} must be >= 1, "
                             f"shift {shift} in 0..{min(encoder.size) - 1} px, imitation {imitation} >= 0")
        name = type(self).__name__.lower()
        within(name, above=True, lr=lr)
        within(name, high=1.0, demo_share=demo_share)
        within(name, explore_steps=explore_steps)
        if encoder.cached and (shift or augment or strong_augment):
            raise ValueError(f"{name} shift is {shift} px, augment {augment}, strong_augment "
                             f"{strong_augment}, but a memory of frozen features holds no images to augment: set "
                             "agent.shift to 0 and leave out the others, or set encoder.cached to false")
        self.embed = encoder.embed if encoder.cached else None      # what the memory is to keep of a frame; None: all
        self.device, self.batch_size, self.views, self.bf16 = device, batch_size, views, bf16
        self.explore_steps, self.demo_share, self.imitation = explore_steps, demo_share, imitation
        self.action_dim = action_dim
        # Lives on the CPU whatever the networks live on: the same numbers everywhere.
        self.random = torch.Generator().manual_seed(seed)
        self.encoder = encoder.to(device)
        self.actor = encoder.symmetric(actor, action_dim, proprio_dim).to(device)
        self.standardise = Standardise(proprio_dim).to(device)
        self.objectives = SideObjectives(objectives, device, rewarded=rewarded)
        self.needs = tuple(dict.fromkeys([*self.objectives.needs, *["expert"] * (imitation > 0)]))
        links = make_augments(augment, self.random, shift=shift)
        self.turns = Turns([link for link in links if isinstance(link, Turn)], channels, proprio_dim=proprio_dim,
                           needs=self.needs)
        self.augment = Chain([link for link in links if not isinstance(link, Turn)])
        self.strong = None if strong_augment is None else make_strong(strong_augment, self.random)
        shaped = [weight for part in (self.encoder, *shaping, self.objectives) for weight in part.parameters()
                  if weight.requires_grad]
        # As one group: of a frozen encoder and nothing beside it there are no weights at all, which is no mistake.
        self.optimiser = torch.optim.Adam([{"params": shaped}], lr, fused=True)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr, fused=True)
        self.steps = 0      # exploring steps so far: what schedules count

    @abstractmethod
    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One learning step on one batch; metrics named slot/what."""

    @abstractmethod
    def _explore(self, z: Tensor, proprio: Tensor) -> Tensor:
        """(B, D), (B, P) -> (B, A) in [-1, 1]: what is tried beyond the policy."""

    def act(self, obs: Array, explore: bool, proprio: Array | None = None) -> Array:
        """(C, H, W) uint8 [, (P,)] -> (A,) float32 in [-1, 1]; `explore` adds noise and counts the step."""
        if explore:
            self.steps += 1
            if self.steps <= self.explore_steps:
                return (2 * torch.rand(self.action_dim, generator=self.random) - 1).numpy()
        images = torch.as_tensor(obs, device=self.device)[None]
        own = np.zeros(0, np.float32) if proprio is None else np.asarray(proprio, np.float32)
        with torch.inference_mode():
            own = self.standardise(torch.as_tensor(own, device=self.device)[None])
            choose = self._explore if explore else self.actor
            return choose(self.encoder(images), own)[0].cpu().numpy()

    def policy(self) -> nn.Module:
        """(B, C, H, W) uint8 [, (B, P)] -> (B, A): the mean action, without noise."""
        return Policy(self.encoder, self.actor, self.standardise)

    def reset(self) -> None:  # noqa: B027 - empty for all of them, not a hook
        """Nothing is remembered between steps."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on, as tensors and numbers."""
        parts = {name: getattr(self, name).state_dict() for name in self.parts}
        return parts | {"random": self.random.get_state(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where state_dict() was taken."""
        for name in self.parts:
            getattr(self, name).load_state_dict(state[name])
        self.random.set_state(state["random"].cpu())
        self.steps = int(state["steps"])

    def _draw(self, memory: EpisodeMemory) -> tuple[Batch, Tensor]:
        """An augmented batch, and the latents (V*B, D) of all its images; the first B are of batch.obs."""
        # demo_share 0 asks for no balance at all, so demonstrations count like any other step.
        batch = memory.sample(self.batch_size, self.needs, self.demo_share if self.demo_share > 0 else None)
        batch, images = self._augment(batch.to(self.device))
        return batch, self._look(images)

    def _augment(self, batch: Batch) -> tuple[Batch, Tensor]:
        """The batch as the encoder sees it first, and images (V*B, C, H, W): its views, then their strong copies."""
        batch = self.turns(batch)       # first, so that all views and all moments are of one world
        obs, params = self.augment(batch.obs)
        extra = dict(batch.extra)
        if "mask" in extra:
            extra["mask"] = self.augment.mask(extra["mask"], params)
        images = [obs] + [self.augment(batch.obs)[0] for _ in range(self.views - 1)]
        if self.strong is not None:
            images += [self.strong(view)[0] for view in images]
        self.standardise.observe(batch.proprio)
        batch = batch._replace(obs=obs, extra=extra, proprio=self.standardise(batch.proprio),
                               next_proprio=self.standardise(batch.next_proprio))
        return batch, obs if len(images) == 1 else torch.cat(images)

    def _encode(self, images: Tensor, encoder: nn.Module | None = None) -> Tensor:
        """For objectives: (B, C, H, W) uint8, freshly augmented -> (B, D); clips (B, T, C, H, W) -> (B, T, D)."""
        return encoded(images, self.augment, partial(self._look, encoder=encoder))

    def _look(self, images: Tensor, encoder: nn.Module | None = None) -> Tensor:
        """(B, C, H, W) uint8 as they are -> (B, D) float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return (self.encoder if encoder is None else encoder)(images).float()

    def _normal(self, like: Tensor) -> Tensor:
        """Standard normal noise of the shape and on the device of `like`."""
        return torch.randn(like.shape, generator=self.random).to(like.device)

    def _side_losses(self, batch: Batch, z: Tensor, shielded: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What objectives want of the latent (B, D), and imitation of the shielded one, weighted; and metrics."""
        losses, metrics = self.objectives.losses(batch, z, self._encode)
        if self.imitation > 0:
            error = self._imitation_error(batch, shielded)
            losses["imitation/loss"] = self.imitation * error
            metrics["imitation/error"] = error
        return losses, metrics

    def _imitation_error(self, batch: Batch, z: Tensor) -> Tensor:
        """Mean squared error of the mean action to the expert's, over the steps that carry a label."""
        labels = batch.extra["expert"]
        known = labels.isfinite().all(1, keepdim=True)                                          # (B, 1)
        error = (self.actor(z, batch.proprio) - labels.nan_to_num()).square().mean(1, keepdim=True)
        return (error * known).sum() / known.sum().clamp(min=1)

    def _shape(self, losses: dict[str, Tensor]) -> None:
        """Step the encoder and what learns with it. Imitation leaves its gradient in the actor, not stepped yet."""
        refuse_non_finite(losses)
        self.optimiser.zero_grad()
        self.actor_optimiser.zero_grad()
        whole = torch.stack(list(losses.values())).sum()
        if not whole.requires_grad:     # objectives that want no more, and nothing beside them
            return
        whole.backward()
        self.optimiser.step()

    def _end(self, metrics: dict[str, Tensor]) -> dict[str, float]:
        """All optimisers have stepped: let objectives move their slow copies; the metrics as numbers."""
        self.objectives.after_step(self.encoder)
        values = torch.stack([value.detach() for value in metrics.values()]).tolist()   # one transfer for all
        return dict(zip(metrics, values, strict=True))


def make_strong(names: list, random: torch.Generator) -> Chain:
    """Of augmentations that leave every pixel in its place: the action and the value stay what they were."""
    links = make_augments(names, random)
    moving = [type(link).__name__.lower() for link in links if link.moves]
    if moving or not links:
        raise ValueError(f"strong_augment {names} {'moves pixels by ' + moving[0] if moving else 'names nothing'}; "
                         "name at least one that leaves them in their place, e.g. [conv], and the others in augment")
    return Chain(links)


def refuse_non_finite(losses: dict[str, Tensor]) -> None:
    """FloatingPointError that names the loss, before any weight is spoilt."""
    values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
    for name, value in zip(losses, values, strict=True):
        if not np.isfinite(value):
            raise FloatingPointError(f"{name} is {value}: training has diverged; lower lr or that weight")
