"""The double-RIS multi-user MISO downlink: exact closed forms, phase design and Monte Carlo."""

from ris.csi import LmmseCsi, LsCsi, PilotCsi
from ris.estimates import Estimate
from ris.focusing import focusing_phases
from ris.hops import HopRealizations, draw_hops
from ris.instantaneous import (
    InstantaneousDesign,
    InstantaneousSimulation,
    instantaneous_phases,
    simulate_instantaneous,
)
from ris.link_budget import BudgetRow, LinkBudget
from ris.moments import ClosedFormMoments, closed_form_moments
from ris.montecarlo import Simulation, draw_channels, simulate
from ris.optimize import Design, design_phases
from ris.phases import (
    PhaseDesign,
    optimal_phases,
    quantize_phases,
    random_phases,
    steered_phases,
    uniform_phases,
)
from ris.precoders import MMSE, MRT, RZF, WMMSE, ZF
from ris.precoding import precode, sinr, wmmse
from ris.rates import closed_form_rate, rate_from_moments
from ris.scenario import HopDraw, HopLaw, LargeScale, Scenario
from ris.system import DoubleRIS
from ris.wmmse import WmmsePrecoders

__all__ = [
    "MMSE",
    "MRT",
    "RZF",
    "WMMSE",
    "ZF",
    "BudgetRow",
    "ClosedFormMoments",
    "Design",
    "DoubleRIS",
    "Estimate",
    "HopDraw",
    "HopLaw",
    "HopRealizations",
    "InstantaneousDesign",
    "InstantaneousSimulation",
    "LargeScale",
    "LinkBudget",
    "LmmseCsi",
    "LsCsi",
    "PhaseDesign",
    "PilotCsi",
    "Scenario",
    "Simulation",
    "WmmsePrecoders",
    "closed_form_moments",
    "closed_form_rate",
    "design_phases",
    "draw_channels",
    "draw_hops",
    "focusing_phases",
    "instantaneous_phases",
    "optimal_phases",
    "precode",
    "quantize_phases",
    "random_phases",
    "rate_from_moments",
    "simulate",
    "simulate_instantaneous",
    "sinr",
    "steered_phases",
    "uniform_phases",
    "wmmse",
]
