"""Training of agents that learn from a memory: an episode at a time, learning on the way."""

from .policy.image import stacked
from .trainer import Trainer
from .world import training_seed


class OffPolicyTrainer(Trainer):
    """One learning step every so many steps of the agent's own."""

    def _go_on(self) -> None:
        """Act with exploration for one episode, learning on the way."""
        moment = self.world.reset(seed=training_seed(self.config, self.progress.episodes))
        self.progress.episodes += 1
        begun = self.progress.steps
        self.agent.reset()
        self._remember(moment)
        frames = [moment.frame] * self.config.image.stack
        while not (moment.terminated or moment.truncated) and self.progress.steps < self.config.steps:
            action = self.agent.act(stacked(frames), True, moment.proprio)
            moment = self.world.step(action)
            self._remember(moment, action)
            frames = [*frames[1:], moment.frame]
            self.progress.steps += 1
            if self.progress.steps % self.config.update_every == 0:
                self._learn(self.agent.update(self.memory))
        self.memory.end()
        self._evaluate_if_due(begun)        # not within the episode: evaluation plays in the same world
        self._checkpoint_if_due()
