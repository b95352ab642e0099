"""Who publishes a topic, by the name that it has here."""

from rclpy.node import Node


def publishers(node: Node, topic: str) -> int:
    """How many publish a topic. `count_publishers` alone asks for the name as it stands, whatever it is remapped to."""
    return int(node.count_publishers(node.resolve_topic_name(topic)))
