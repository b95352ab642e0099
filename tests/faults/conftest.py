"""Fixtures of the fault suite, and its table."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("onnx")
from ledger import Book  # noqa: E402

SLACK = float(os.environ.get("SURGRL_SLACK_MS", 150))       # ms, that a busy machine may take beyond a bound


BOOK = Book()


@pytest.fixture(scope="session")
def book() -> Book:
    """The table of this session."""
    return BOOK


@pytest.fixture(scope="session")
def slack() -> float:
    """ms, that a busy machine may take beyond a bound."""
    return SLACK


@pytest.fixture(scope="session")
def fault_domain() -> Iterator[int]:
    """The first of the four ROS domains of these tests."""
    from rosgraph import four_domains

    from ros_nodes.transport import use_profile
    with four_domains() as first:
        use_profile()
        yield first


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bundle with every fault."""
    from networks import build
    return build(tmp_path_factory.mktemp("bundles") / "faulty")


@pytest.fixture(scope="session")
def stage(fault_domain: int, faulty: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Gate, policy and driver."""
    from stage import Stage
    stage = Stage(fault_domain, tmp_path_factory.mktemp("stage"), faulty)
    yield stage
    stage.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it where SURGRL_FAULT_TABLE names a file."""
    if not BOOK.rows and not BOOK.remarks:
        return
    load = os.getloadavg()[0]
    BOOK.remarks.append(f"{os.cpu_count()} cores, load {load:.1f}; what is late by up to {SLACK:.0f} ms passes.")
    terminalreporter.section("faults")
    terminalreporter.write_line(BOOK.table())
    place = os.environ.get("SURGRL_FAULT_TABLE")
    if place:
        Path(place).write_text(BOOK.table() + "\n")
