"""What policy_node and gate_node share: a lifecycle that says why it refuses, ~/status, /diagnostics, a last resort."""

import functools
import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import String

from surgrl.policy.errors import UserError

from . import parameters, qos
from .steady import make_timer

DONE, REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
LEVELS = {"active": DiagnosticStatus.OK, "hold": DiagnosticStatus.WARN, "inactive": DiagnosticStatus.WARN,
          "latched": DiagnosticStatus.ERROR}


class SupervisedNode(LifecycleNode):
    """A node whose state anyone can read, and whose errors stop the arm and not the node.

    Subclasses say what configure, activate, deactivate and cleanup mean, and nothing about transitions.
    """

    exit_code: int | None = None
    warning = ""            # what is not as it should be, though the node goes on

    def __init__(self, name: str, declared: tuple[parameters.Parameter, ...]):
        """Declare parameters and say `inactive`; everything else waits for configure."""
        super().__init__(name)
        parameters.declare(self, declared)
        self._ours = {parameter.name for parameter in declared}
        self.add_on_set_parameters_callback(self._allow_parameters)
        self._status = self.create_publisher(String, "~/status", qos.STATUS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENT)
        self._text = ""
        self.configured = self.active = False
        self._unconfigured = f"inactive: not configured (process {os.getpid()})"    # tells two such nodes apart
        self.say(self._unconfigured)
        make_timer(self, 1.0, self._every_second)

    @abstractmethod
    def configure(self) -> None:
        """Read parameters, prove all that can be proved, join the topics. What it raises refuses."""

    @abstractmethod
    def begin(self) -> None:
        """Active from now on. What it raises refuses."""

    @abstractmethod
    def end(self) -> None:
        """Leave the arm at rest; called once, while messages can still be sent."""

    @abstractmethod
    def leave(self) -> None:
        """Leave the topics, forget what configure made; also after a configure that failed half way."""

    @abstractmethod
    def latch(self, reason: str) -> None:
        """An error in a callback while active."""

    @abstractmethod
    def told(self) -> str:
        """`state: reason` while active."""

    @abstractmethod
    def measures(self) -> dict[str, str]:
        """For /diagnostics: name -> value with its unit."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; or FAILURE, its reason on ~/status."""
        try:
            self.configure()
        except UserError as error:
            return self._refuse("configure", str(error))
        except Exception as error:      # a file that onnxruntime cannot read, a manifest that lacks a word
            return self._refuse("configure", f"{type(error).__name__}: {error}")
        self.configured = True
        self.say("inactive: configured; activate it when all is ready")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; or FAILURE, its reason on ~/status."""
        try:
            self.begin()
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            self.say(f"inactive: refused to activate: {kind}{error}")
            self.get_logger().error(self._text)
            return REFUSED
        self.active = True
        self.report()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come to rest, and send nothing after it."""
        self.stop()
        self.say("inactive: deactivated")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the topics; parameters may be set anew."""
        self._forget()
        self.say(self._unconfigured)
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come to rest, leave, end the process."""
        self.stop()
        self._forget()
        self.say("inactive: shut down")
        self.exit_code = 0
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come to rest and leave: back to unconfigured."""
        self.stop()
        self._forget()
        self.say("inactive: a transition failed; see the log")
        return DONE

    def stop(self) -> None:
        """Come to rest, if it was active."""
        if self.active:
            self.active = False
            self.end()

    def fault(self, error: Exception) -> None:
        """An error that has no other place, e.g. in rclpy's own services: stop the arm, keep the node."""
        self.get_logger().error(f"{type(error).__name__}: {error}")
        if self.active:
            self.latch(f"{type(error).__name__}: {error}")
            self.report()

    def say(self, text: str) -> None:
        """Publish this on ~/status."""
        self._text = " ".join(text.split())
        self._status.publish(String(data=self._text))

    def report(self) -> None:
        """Publish on ~/status what is told now; into the log too when the state is another one."""
        before = self._text.split(":")[0]
        self.say(self.told())
        state = self._text.split(":")[0]
        if state == before:
            return
        if state == "active":       # two lines: rclpy wants one severity from each
            self.get_logger().info(self._text)
        else:
            self.get_logger().warning(self._text)

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """An error in a callback must stop the arm, not the node that would say so."""
        @functools.wraps(callback)
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as error:
                self.fault(error)
        return guarded

    def _every_second(self) -> None:
        if self.active:
            self.say(self.told())
        else:
            self._status.publish(String(data=self._text))
        state, _, reason = self._text.partition(": ")
        values = self.measures() if self.configured else {}
        level = DiagnosticStatus.WARN if state == "active" and self.warning else LEVELS[state]
        status = DiagnosticStatus(
            level=level, name=self.get_name(), message=f"{state}: {reason}", hardware_id="",
            values=[KeyValue(key=name, value=value) for name, value in values.items()])
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _refuse(self, what: str, reason: str) -> TransitionCallbackReturn:
        self.leave()
        self.say(f"inactive: refused to {what}: {reason}")
        self.get_logger().error(self._text)
        return REFUSED

    def _forget(self) -> None:
        if self.configured:
            self.configured = False
            self.leave()

    def _allow_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        late = [change.name for change in changes if change.name in self._ours] if self.configured else []
        return SetParametersResult(successful=not late, reason=(
            f"{late[0]} is read at configure; deactivate and clean up this node first") if late else "")
