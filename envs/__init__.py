"""Registers the tasks with Gymnasium; `gymnasium.make("envs:surgrl/Reach-v0")` then finds them."""

from gymnasium.envs.registration import register

register("surgrl/ColonNavigate-v0", entry_point="envs.make:colon_navigate", max_episode_steps=400)
register("surgrl/Reach-v0", entry_point="envs.make:reach", max_episode_steps=100)
register("surgrl/ReachFine-v0", entry_point="envs.make:reach", max_episode_steps=100, kwargs={"tolerance": 0.002})
register("surgrl/ReachNeedle-v0", entry_point="envs.make:reach", max_episode_steps=100, kwargs={"target": "needle"})
register("surgrl/Retract-v0", entry_point="envs.make:retract", max_episode_steps=300)
# A player that was built with Unity, or the editor; limits beyond the scenes' own, so that one without any ends too.
register("surgrl/Unity-v0", entry_point="envs.unity_env:make_unity")
register("surgrl/UnityColon-v0", entry_point="envs.unity_env:make_unity", max_episode_steps=4000,
         kwargs={"candidates": ("colon", "dvc", "safe")})
register("surgrl/UnityRetract-v0", entry_point="envs.unity_env:make_unity", max_episode_steps=1000,
         kwargs={"candidates": ("retract", "saferl")})
