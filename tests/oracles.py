"""Slow, independent references for the closed forms."""

import itertools
from collections import defaultdict

import numpy as np


def element_cases(law, hardware, n, theta):
    """Reflection coefficients of element n and their chances, of a phase-noise law with finitely many values.

    A random phase is one of three, which has the same moments E e^p conj(e)^q, p, q <= 2, without a law of
    amplitudes.
    """

    def reflected(phase):
        law, amplitude = hardware.amplitude, 1.0
        if law is not None:
            amplitude = (
                law.minimum + (1 - law.minimum) * (0.5 + 0.5 * np.sin(phase - law.offset)) ** law.steepness
            )
        return amplitude * np.exp(1j * phase)

    def own(value):
        return value if np.ndim(value) == 0 else value[n]

    values = [reflected(theta + phi) for phi in getattr(law, "values", (0.0,))]
    weights = list(getattr(law, "weights", (1.0,)))
    if hardware.failures is not None:
        p = own(hardware.failures.probability)
        state = hardware.failures.state
        if isinstance(state, str):
            failed = [0.0] if state == "absorbing" else list(np.exp(2j * np.pi * np.arange(3) / 3))
        else:
            failed = [reflected(own(state))]
        values += failed
        weights = [(1 - p) * w for w in weights] + [p / len(failed)] * len(failed)
    return values, weights


class WickOracle:
    """Moments of the channels by brute force: every path, every pairing of the Gaussian factors.

    Each channel entry is a sum over paths of products of hop entries and phasors, each hop entry its mean or
    its random part. The mean of a product of
    four such entries is a sum over the choice of four paths and, by Isserlis' theorem, over all ways to pair
    each Gaussian hop with its conjugates; each term is one einsum. What the elements of a surface do is
    enumerated: each has finitely many reflection coefficients. Nothing is shared with the closed forms.
    """

    def __init__(self, system, theta1, theta2):
        self.system, self.K = system, system.users
        phasors = []
        self.weight = np.ones(1)
        for theta, law, hardware in (
            (theta1, system.phase_noise1, system.hardware1),
            (theta2, system.phase_noise2, system.hardware2),
        ):
            cases = [element_cases(law, hardware, n, theta[n]) for n in range(len(theta))]
            draws = np.array(list(itertools.product(*(values for values, _ in cases))), complex)
            chance = np.array([np.prod(c) for c in itertools.product(*(weights for _, weights in cases))])
            phasors.append((np.exp(1j * theta)[None, :], draws, chance))
        (nominal1, noisy1, chance1), (nominal2, noisy2, chance2) = phasors
        n1, n2 = len(chance1), len(chance2)
        self.weight = np.repeat(chance1, n2) * np.tile(chance2, n1)
        self.noisy = (np.repeat(noisy1, n2, axis=0), np.tile(noisy2, (n1, 1)))
        self.nominal = (np.tile(nominal1, (n1 * n2, 1)), np.tile(nominal2, (n1 * n2, 1)))

    def mean_gain(self, nominal):
        """E h_k^H f_k, complex, and E |f_k|^2."""
        f = "nominal" if nominal else "noisy"
        both = [
            [self._complex_mean([(1, k, h, "m"), (0, k, f, "m")], []) for k in range(self.K)]
            for h in ("noisy", f)
        ]
        return np.array(both)

    def interference(self, nominal):
        """E |h_k^H f_j|^2."""
        f = "nominal" if nominal else "noisy"
        return self._pairs(
            lambda k, j: [(1, k, "noisy", "m"), (0, j, f, "m"), (1, j, f, "w"), (0, k, "noisy", "w")]
        )

    def gain_product(self):
        """E |h_k|^2 |h_j|^2."""
        return self._pairs(lambda k, j: [(c, i, "noisy", s) for i, s in ((k, "m"), (j, "w")) for c in (1, 0)])

    def mean_vector(self, k):
        """E h_k, entry by entry."""
        unit = np.eye(self.system.antennas)
        return np.array([self._complex_mean([(0, k, "noisy", "m")], [(one, "m")]) for one in unit])

    def covariance(self, k, j=None):
        """E h_k h_j^H (j = k by default), entry by entry."""
        slots = [(0, k, "noisy", "m"), (1, k if j is None else j, "noisy", "w")]
        unit = np.eye(self.system.antennas)
        return np.array(
            [[self._complex_mean(slots, [(row, "m"), (column, "w")]) for column in unit] for row in unit]
        )

    def half_filtered(self, k, i, L, c):
        """E h_k^H L h_i c^H h_k."""
        slots = [(1, k, "noisy", "m"), (0, i, "noisy", "r"), (0, k, "noisy", "w")]
        return self._complex_mean(slots, [(L, "mr"), (c.conj(), "w")])

    def filtered(self, k, i, other, L):
        """E h_k^H L h_i h_other^H L^H h_k."""
        slots = [(1, k, "noisy", "m"), (0, i, "noisy", "r"), (1, other, "noisy", "s"), (0, k, "noisy", "w")]
        return self._complex_mean(slots, [(L, "mr"), (L.conj(), "ws")])

    def _pairs(self, slots):
        return np.array([[self._mean(slots(k, j)) for j in range(self.K)] for k in range(self.K)])

    def _paths(self, k):
        for factors, surfaces in self._whole_paths(k):
            for means in itertools.product((False, True), repeat=len(factors)):
                chosen = list(zip(factors, means, strict=True))
                if all(self._mean_of(factor) is not None for factor, mean in chosen if mean):
                    yield chosen, surfaces

    def _mean_of(self, factor):
        hop = self._hop(factor)
        if hop.mean is None:
            return None
        return hop.mean.matrix if len(factor) == 1 else hop.mean[factor[1]]

    def _hop(self, factor):
        s = self.system
        shared = {"A1": s.bs_ris1, "A2": s.bs_ris2, "D": s.ris1_ris2}
        return (shared | {"u1": s.ris1_user, "u2": s.ris2_user, "d": s.bs_user})[factor[0]]

    def _whole_paths(self, k):
        s = self.system
        if s.direct:
            yield [("d", k)], []
        if s.single1:
            yield [("A1",), ("u1", k)], [0]
        if s.single2:
            yield [("A2",), ("u2", k)], [1]
        if s.double:
            yield [("A1",), ("D",), ("u2", k)], [0, 1]

    def _mean(self, slots):
        return self._complex_mean(slots, []).real

    def _complex_mean(self, slots, extra):
        choices = itertools.product(*(list(self._paths(k)) for _, k, _, _ in slots))
        return sum((self._term(slots, choice, extra) for choice in choices), start=0.0)

    def _term(self, slots, choice, extra):
        letters = iter("abcdefghijklnopq")
        operands, groups = list(extra), defaultdict(lambda: ([], []))
        for (conjugate, _, kind, antenna), (factors, surfaces) in zip(slots, choice, strict=True):
            ends = [antenna] + [next(letters) for _ in surfaces]
            for position, (factor, is_mean) in enumerate(factors):
                if is_mean:
                    mean = self._mean_of(factor)
                    operands.append(
                        (np.conj(mean) if conjugate else mean, "".join(ends[position : position + 2]))
                    )
                else:
                    groups[factor][conjugate].append(ends[position : position + 2])
            for surface, element in zip(surfaces, ends[1:], strict=True):
                phasor = (self.noisy if kind == "noisy" else self.nominal)[surface]
                operands.append((np.conj(phasor) if conjugate else phasor, "z" + element))
        if any(len(plain) != len(conj) for plain, conj in groups.values()):
            return 0.0
        result = 0.0
        pairings = [list(itertools.permutations(range(len(plain)))) for plain, _ in groups.values()]
        for matching in itertools.product(*pairings):
            terms = list(operands)
            for (factor, (plain, conj)), order in zip(groups.items(), matching, strict=True):
                for left, right in zip(plain, (conj[i] for i in order), strict=True):
                    terms += self._covariance(factor, left, right)
            subscripts = ",".join(s for _, s in terms)
            result += np.einsum(f"{subscripts},z->", *(t for t, _ in terms), self.weight, optimize="greedy")
        return result

    def _covariance(self, factor, plain, conj):
        """E X_ab conj(X_cd) = gain L_ac R_db for covariances L and R; E u_a conj(u_c) = gain R_ac."""
        hop = self._hop(factor)
        if len(factor) == 1:
            (a, b), (c, d) = plain, conj
            return [(hop.gain * np.asarray(hop.left), a + c), (np.asarray(hop.right), d + b)]
        k = factor[1]
        matrix = np.asarray(hop.correlation)
        return [(hop.gain[k] * (matrix[k] if matrix.ndim == 3 else matrix), plain[0] + conj[0])]
