"""How the theatre of the arms takes on an episode's style: one place, for every scene that plays in it."""

from ..camera import Camera
from ..endoscope import EndoscopeLight
from ..randomise import Style, styled_camera, styled_light
from . import bed, ports
from .arms import Arms
from .bullet import Bullet
from .instrument import DrawnPSM


def restyle(style: Style, *, bullet: Bullet, bed_body: int, arms: Arms, drawn: DrawnPSM) -> Camera:
    """Light, bed and instrument look like this from now on, and arms obey in the frame of the camera returned."""
    camera = styled_camera(ports.CAMERA, style)
    arms.face(camera.rotation)
    bullet.relight(styled_light(EndoscopeLight(), style))
    bed.dress(bullet, bed_body, style)
    drawn.tint(style.instrument)
    return camera
