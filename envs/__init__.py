"""Registers the tasks with Gymnasium; `gymnasium.make("envs:surgrl/Reach-v0")` then finds them."""

from gymnasium.envs.registration import register

register("surgrl/ColonNavigate-v0", entry_point="envs.make:colon_navigate", max_episode_steps=400)
register("surgrl/Reach-v0", entry_point="envs.make:reach", max_episode_steps=100)
register("surgrl/ReachFine-v0", entry_point="envs.make:reach", max_episode_steps=100, kwargs={"tolerance": 0.002})
register("surgrl/ReachNeedle-v0", entry_point="envs.make:reach", max_episode_steps=100, kwargs={"target": "needle"})
register("surgrl/Retract-v0", entry_point="envs.make:retract", max_episode_steps=300)
