"""The double-RIS multi-user MISO downlink: exact closed forms, phase design and Monte Carlo."""

from ris.csi import LmmseCsi
from ris.estimates import Estimate
from ris.focusing import focusing_phases
from ris.hops import HopRealizations, draw_hops
from ris.link_budget import BudgetRow, LinkBudget
from ris.moments import ClosedFormMoments, closed_form_moments
from ris.montecarlo import Simulation, draw_channels, simulate
from ris.optimize import RateDesign, maximise_rate
from ris.phases import (
    PhaseDesign,
    optimal_phases,
    quantize_phases,
    random_phases,
    steered_phases,
    uniform_phases,
)
from ris.rates import closed_form_rate, rate_from_moments
from ris.scenario import HopDraw, HopLaw, LargeScale, Scenario
from ris.system import DoubleRIS

__all__ = [
    "BudgetRow",
    "ClosedFormMoments",
    "DoubleRIS",
    "Estimate",
    "HopDraw",
    "HopLaw",
    "HopRealizations",
    "LargeScale",
    "LinkBudget",
    "LmmseCsi",
    "PhaseDesign",
    "RateDesign",
    "Scenario",
    "Simulation",
    "closed_form_moments",
    "closed_form_rate",
    "draw_channels",
    "draw_hops",
    "focusing_phases",
    "maximise_rate",
    "optimal_phases",
    "quantize_phases",
    "random_phases",
    "rate_from_moments",
    "simulate",
    "steered_phases",
    "uniform_phases",
]
