"""A scenario: BS, surfaces and users in metres, whose geometry gives gains and correlations."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from channels import SurfaceElement
from channels.options import Office, ScatteringMethod
from studies.config.table import Decibels, Positive, Table, absent, is_number, listed
from studies.errors import Fault, FaultsError

__all__ = [
    "Element",
    "FreeSpace",
    "HopLaw",
    "IndoorOffice",
    "LogDistance",
    "Node",
    "PathLossLaw",
    "Scenario",
    "UrbanMacro",
    "UrbanMicro",
    "UsersAt",
    "UsersInDisc",
    "UsersInRectangle",
]

Length = Annotated[float, Field(ge=0)]
Spread = Annotated[
    list[Annotated[float, Field(ge=0)]], BeforeValidator(listed), Field(min_length=1, max_length=2)
]


def _k_factor(value: Any) -> Any:
    if value == "law" or (is_number(value) and -400 <= value <= 400):
        return value
    raise PydanticCustomError("k_factor", "expected 'law' or a number from -400 to 400")


KFactor = Annotated[Any, AfterValidator(_k_factor)]
Position = Annotated[list[float], Field(min_length=3, max_length=3)]


class FreeSpace(Table):
    """Free space."""

    law: Literal["free_space"]


class LogDistance(Table):
    """Loss reference_db + 10 exponent log10(distance / reference_m)."""

    law: Literal["log_distance"]
    exponent: Positive
    reference_db: Decibels
    reference_m: Positive = 1.0
    shadowing_db: float = Field(default=0.0, ge=0)


class UrbanMicro(Table):
    """3GPP TR 38.901 UMi street canyon."""

    law: Literal["umi"]


class UrbanMacro(Table):
    """3GPP TR 38.901 UMa."""

    law: Literal["uma"]


class IndoorOffice(Table):
    """3GPP TR 38.901 InH office."""

    law: Literal["inh"]
    office: Office = "mixed"


PathLossLaw = Annotated[
    FreeSpace | LogDistance | UrbanMicro | UrbanMacro | IndoorOffice, Field(discriminator="law")
]


class HopLaw(Table):
    """How a hop propagates.

    Without `line_of_sight` its state is drawn. With a K-factor (power of the line of sight over that of the
    rest) it is Rician in line of sight; "law" draws the K-factor by the law of the path loss. Spreads are
    those of local scattering around the geometric direction, at the end nearer to the BS (left) and at the
    other end (right): one number, or azimuth and elevation. Without one, scattering is isotropic there.
    """

    path_loss: PathLossLaw
    line_of_sight: bool | None = None
    shadowing: bool = True
    left_spread_deg: Spread | None = None
    right_spread_deg: Spread | None = None
    k_factor_db: KFactor | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.k_factor_db == "law" and self.path_loss.law in ("free_space", "log_distance"):
            problem = f"expected a number, as law = {self.path_loss.law!r} has no K-factor, got 'law'"
            raise FaultsError([Fault("k_factor_db", problem)])
        return self


class Element(Table):
    """Pattern of an element: area in square wavelengths, spacing^2 by default, and exponent of the cosine."""

    area: Positive | None = None
    exponent: float = Field(default=1.0, ge=0)

    def of_array(self, spacing: float) -> SurfaceElement:
        """Return the pattern in an array with this spacing in wavelengths."""
        return SurfaceElement(spacing * spacing if self.area is None else self.area, self.exponent)


class Node(Table):
    """Where the centre of an array is and how the array is turned; broadside is +x, pitch tilts it down."""

    x_m: float
    y_m: float
    z_m: float
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    element: Element | None = None


class UsersAt(Table):
    """Users that stay where they are."""

    law: Literal["fixed"]
    positions_m: Annotated[list[Position], Field(min_length=1)]


class UsersInDisc(Table):
    """Users uniform in a horizontal disc."""

    law: Literal["disc"]
    x_m: float
    y_m: float
    z_m: float
    radius_m: Length


class UsersInRectangle(Table):
    """Users uniform in a horizontal rectangle with sides along x and y."""

    law: Literal["rectangle"]
    x_m: float
    y_m: float
    z_m: float
    x_side_m: Length
    y_side_m: Length


class Scenario(Table):
    """Nodes, and the laws of the hops; `hop` holds for every hop without a law of its own."""

    frequency_hz: Positive
    drop: int = Field(default=0, ge=0, lt=2**63)
    bs: Node
    surface1: Node | None = None
    surface2: Node | None = None
    users: Annotated[UsersAt | UsersInDisc | UsersInRectangle, Field(discriminator="law")]
    hop: HopLaw | None = None
    bs_ris1: HopLaw | None = None
    bs_ris2: HopLaw | None = None
    ris1_ris2: HopLaw | None = None
    ris1_user: HopLaw | None = None
    ris2_user: HopLaw | None = None
    bs_user: HopLaw | None = None
    scattering_method: ScatteringMethod = "quadrature"

    @model_validator(mode="after")
    def _single_antennas(self) -> Self:
        faults = [
            Fault(f"{hop}.right_spread_deg", "expected nothing, as users have one antenna")
            for hop in ("ris1_user", "ris2_user", "bs_user")
            if (law := getattr(self, hop)) is not None and law.right_spread_deg is not None
        ]
        if faults:
            raise FaultsError(faults)
        return self

    def law_of(self, name: str) -> HopLaw | None:
        """Return the law of a hop: its own one, or that of all hops, at their ends with several antennas."""
        law: HopLaw | None = getattr(self, name) or self.hop
        if law is not None and name.endswith("_user"):
            return law.model_copy(update={"right_spread_deg": None})
        return law
