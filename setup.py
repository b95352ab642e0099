"""All metadata is in setup.cfg; this file is what colcon looks for."""

from setuptools import setup

setup()
