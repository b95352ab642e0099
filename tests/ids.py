"""Which tasks a test of every task is about: those whose scene is ours. Unity's ids need a player that a user built,
and tests of their own (tests/envs/test_unity.py) hold them to the same contract."""

import gymnasium

import envs  # noqa: F401  registers the ids

OWN = sorted(name for name, spec in gymnasium.registry.items()
             if name.startswith("surgrl/") and str(spec.entry_point).startswith("envs.make:"))
