"""Registers the tasks with Gymnasium; `gymnasium.make("envs:surgrl/Reach-v0")` then finds them."""

from gymnasium.envs.registration import register

register("surgrl/Reach-v0", entry_point="envs.make:reach", max_episode_steps=100)
