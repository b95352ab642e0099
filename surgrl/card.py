"""A bundle's model card (Mitchell et al. 2019): what it was made of, what it can do, and what nobody knows of it."""

from typing import Any

import yaml

from .policy.bundle import PolicyBundle

CARD = "CARD.md"


def card(bundle: PolicyBundle) -> str:
    """The card as Markdown; every number from the bundle's own manifest."""
    origin, image = bundle.origin, bundle.image
    config = origin["config"]
    spec = bundle.action
    action = ", ".join(f"{name} {low:g}..{high:g} {unit}"
                       for name, unit, low, high in zip(spec.names, spec.units, spec.low, spec.high, strict=True))
    return f"""# {bundle.folder.name}

A policy {_learnt(config)} by `{origin["agent"]}`{_objectives(config)}. Research software: not a
medical device, never for clinical use.

## What goes in and out

* Camera `{image.camera}`: {image.width}x{image.height} px, the crop (top, left, height, width) {tuple(image.crop)} made
  {image.size[1]}x{image.size[0]} px, {image.stack} frame{"s" * (image.stack > 1)} at {image.rate:g} Hz.
* Besides: {", ".join(bundle.proprio.names) if bundle.proprio.names else "nothing; images alone"}.
* Memory from frame to frame: {f"{bundle.state} numbers" if bundle.state else "none but those frames"}.
* Out, in the frame `{bundle.action.frame}`: {action}.

## Data

{_data(origin)}

## Scores

{_scores(origin)}

## Limits

{_limits(config)}
* It does not know when it is wrong: run it behind the safety filter of `ros_nodes`, with limits of your own.

## Config

```yaml
{yaml.safe_dump(config, sort_keys=False, width=110).rstrip()}
```
"""


def _learnt(config: dict[str, Any]) -> str:
    task = config["env"]["id"]
    return f"for `{task}`, learnt in simulation" if task else "learnt from recordings alone"


def _limits(config: dict[str, Any]) -> str:
    if not config["env"]["id"]:
        return ("* It was never tried: nothing is known of its success. It copies what was done in the recordings, and "
                "nobody has shown it how to recover from a mistake of its own.\n"
                "* It has seen the camera, lens, tools and tissue of these recordings only.")
    return (f"* It has seen this simulator only{_looks(config)}; nothing is known of its success on a real endoscope's "
            "images.\n* It was scored with the camera and the motions of the task above. Another camera, lens, tool or "
            "tissue is another task.")


def _objectives(config: dict[str, Any]) -> str:
    names = [entry["name"] for entry in config["objectives"]]
    return f" with {', '.join(names)}" if names else ""


def _data(origin: dict[str, Any]) -> str:
    config = origin["config"]
    demos, agent = config["demos"], config["agent"]
    spent = f"{origin['updates']} updates in {origin['training_seconds'] / 60:.0f} minutes, seed {origin['seed']}"
    sources = config.get("recordings", {}).get("sources", [])       # bundles made before there were any lack the key
    if sources:
        return (f"Demonstrations: the recordings {', '.join(sources)}, and {origin['steps']} steps of the agent's own; "
                f"{spent}, at commit {origin['commit']}.")
    shown = (f"{demos['episodes']} episodes of the scripted expert, disturbed by noise of {demos['noise']:g}, and "
             if demos["episodes"] else "No demonstrations; ")
    labelled = agent["name"] == "bc" or agent.get("imitation", 0) > 0
    return (f"{shown}{origin['steps']} steps of the agent's own"
            f"{', each labelled by the expert' if labelled else ''}; {spent}, at commit {origin['commit']}. "
            "All of it simulated; no patient's data.")


def _scores(origin: dict[str, Any]) -> str:
    found = origin.get("scores")
    if not found:
        return "Not scored when it was exported; `surgrl eval` does that."
    return (f"Success on {found['episodes']} seeds that no training saw: {found['success']:.0%} "
            f"(95 % interval {found['low']:.0%}-{found['high']:.0%}), {found['steps']:.0f} steps on average.")


def _looks(config: dict[str, Any]) -> str:
    level = config["env"]["options"].get("randomise", "none")
    return ", with one look of tissue and light" if level == "none" else f", its looks drawn at the level `{level}`"
