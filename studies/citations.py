"""The papers behind the options of a study, as BibTeX."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.config import Point
    from studies.config.scenario import Scenario
    from studies.config.table import Table

__all__ = ["BIBTEX", "papers_of"]

BIBTEX = {
    "abeywickrama2020": """@article{abeywickrama2020,
  author  = {Abeywickrama, Samith and Zhang, Rui and Wu, Qingqing and Yuen, Chau},
  title   = {Intelligent Reflecting Surface: Practical Phase Shift Model and Beamforming Optimization},
  journal = {IEEE Transactions on Communications},
  volume  = {68},
  number  = {9},
  pages   = {5849--5863},
  year    = {2020},
}""",
    "tr38901": """@techreport{tr38901,
  author      = {{3GPP}},
  title       = {Study on Channel Model for Frequencies from 0.5 to 100 {GHz}},
  institution = {3rd Generation Partnership Project},
  type        = {Technical Report},
  number      = {TR 38.901, V16.1.0},
  year        = {2019},
}""",
    "abdullah2022": """@article{abdullah2022,
  author  = {Abdullah, Zaid and Papazafeiropoulos, Anastasios and Kisseleff, Steven and Chatzinotas, Symeon
             and Ottersten, Bj{\\"o}rn},
  title   = {Impact of Phase-Noise and Spatial Correlation on Double-{RIS}-Assisted Multiuser {MISO}
             Networks},
  journal = {IEEE Wireless Communications Letters},
  volume  = {11},
  number  = {7},
  year    = {2022},
  note    = {arXiv:2201.12129},
}""",
    "badiu2020": """@article{badiu2020,
  author  = {Badiu, Mihai-Alin and Coon, Justin P.},
  title   = {Communication Through a Large Reflecting Surface With Phase Errors},
  journal = {IEEE Wireless Communications Letters},
  volume  = {9},
  number  = {2},
  pages   = {184--188},
  year    = {2020},
}""",
    "besser2022": """@article{besser2022,
  author  = {Besser, Karl-Ludwig and Jorswieck, Eduard A.},
  title   = {Reconfigurable Intelligent Surface Phase Hopping for Ultra-Reliable Communications},
  journal = {IEEE Transactions on Wireless Communications},
  volume  = {21},
  number  = {11},
  pages   = {9082--9095},
  year    = {2022},
  note    = {arXiv:2107.11852},
}""",
    "bjornson2017": """@article{bjornson2017,
  author  = {Bj{\\"o}rnson, Emil and Hoydis, Jakob and Sanguinetti, Luca},
  title   = {Massive {MIMO} Networks: Spectral, Energy, and Hardware Efficiency},
  journal = {Foundations and Trends in Signal Processing},
  volume  = {11},
  number  = {3-4},
  pages   = {154--655},
  year    = {2017},
}""",
    "bjornson2021": """@article{bjornson2021,
  author  = {Bj{\\"o}rnson, Emil and Sanguinetti, Luca},
  title   = {Rayleigh Fading Modeling and Channel Hardening for Reconfigurable Intelligent Surfaces},
  journal = {IEEE Wireless Communications Letters},
  volume  = {10},
  number  = {4},
  pages   = {830--834},
  year    = {2021},
  note    = {arXiv:2009.04723},
}""",
    "chen2020": """@inproceedings{chen2020,
  author    = {Chen, Hanting and Wang, Yunhe and Xu, Chunjing and Shi, Boxin and Xu, Chao and Tian, Qi
               and Xu, Chang},
  title     = {{AdderNet}: Do We Really Need Multiplications in Deep Learning?},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition ({CVPR})},
  pages     = {1468--1477},
  year      = {2020},
  note      = {arXiv:1912.13200},
}""",
    "clarke1968": """@article{clarke1968,
  author  = {Clarke, R. H.},
  title   = {A Statistical Theory of Mobile-Radio Reception},
  journal = {Bell System Technical Journal},
  volume  = {47},
  number  = {6},
  pages   = {957--1000},
  year    = {1968},
}""",
    "hu2018": """@inproceedings{hu2018,
  author    = {Hu, Jie and Shen, Li and Sun, Gang},
  title     = {Squeeze-and-Excitation Networks},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition ({CVPR})},
  pages     = {7132--7141},
  year      = {2018},
}""",
    "purohit2020": """@article{purohit2020,
  author  = {Purohit, Kuldeep and Mandal, Srimanta and Rajagopalan, A. N.},
  title   = {Mixed-Dense Connection Networks for Image and Video Super-Resolution},
  journal = {Neurocomputing},
  volume  = {398},
  pages   = {360--376},
  year    = {2020},
  note    = {arXiv:2201.11996},
}""",
    "ellingson2021": """@inproceedings{ellingson2021,
  author    = {Ellingson, Steven W.},
  title     = {Path Loss in Reconfigurable Intelligent Surface-Enabled Channels},
  booktitle = {Proceedings of the IEEE International Symposium on Personal, Indoor and Mobile Radio
               Communications ({PIMRC})},
  year      = {2021},
}""",
    "friis1946": """@article{friis1946,
  author  = {Friis, Harald T.},
  title   = {A Note on a Simple Transmission Formula},
  journal = {Proceedings of the IRE},
  volume  = {34},
  number  = {5},
  pages   = {254--256},
  year    = {1946},
}""",
    "gradoni2021": """@article{gradoni2021,
  author  = {Gradoni, Gabriele and Di Renzo, Marco},
  title   = {End-to-End Mutual Coupling Aware Communication Model for Reconfigurable Intelligent Surfaces: An
             Electromagnetic-Compliant Approach Based on Mutual Impedances},
  journal = {IEEE Wireless Communications Letters},
  volume  = {10},
  number  = {5},
  pages   = {938--942},
  year    = {2021},
}""",
    "ruiz2020": """@article{ruiz2020,
  author  = {Ruiz, Luana and Gama, Fernando and Marques, Antonio Garcia and Ribeiro, Alejandro},
  title   = {Invariance-Preserving Localized Activation Functions for Graph Neural Networks},
  journal = {IEEE Transactions on Signal Processing},
  volume  = {68},
  pages   = {127--141},
  year    = {2020},
}""",
    "gao2018": """@inproceedings{gao2018,
  author    = {Gao, Hongyang and Wang, Zhengyang and Ji, Shuiwang},
  title     = {Large-Scale Learnable Graph Convolutional Networks},
  booktitle = {Proceedings of the 24th ACM SIGKDD International Conference on Knowledge Discovery and Data
               Mining},
  year      = {2018},
}""",
    "han2020": """@article{han2020,
  author  = {Han, Yitao and Zhang, Shuowen and Duan, Lingjie and Zhang, Rui},
  title   = {Cooperative Double-{IRS} Aided Communication: Beamforming Design and Power Scaling},
  journal = {IEEE Wireless Communications Letters},
  volume  = {9},
  number  = {8},
  year    = {2020},
}""",
    "krishnamoorthi2018": """@misc{krishnamoorthi2018,
  author = {Krishnamoorthi, Raghuraman},
  title  = {Quantizing Deep Convolutional Networks for Efficient Inference: A Whitepaper},
  year   = {2018},
  note   = {arXiv:1806.08342},
}""",
    "loyka2001": """@article{loyka2001,
  author  = {Loyka, Sergey L.},
  title   = {Channel Capacity of {MIMO} Architecture Using the Exponential Correlation Matrix},
  journal = {IEEE Communications Letters},
  volume  = {5},
  number  = {9},
  pages   = {369--371},
  year    = {2001},
}""",
    "marzetta2016": """@book{marzetta2016,
  author    = {Marzetta, Thomas L. and Larsson, Erik G. and Yang, Hong and Ngo, Hien Quoc},
  title     = {Fundamentals of Massive {MIMO}},
  publisher = {Cambridge University Press},
  year      = {2016},
}""",
    "miller2000": """@article{miller2000,
  author  = {Miller, David A. B.},
  title   = {Communicating with Waves Between Volumes: Evaluating Orthogonal Spatial Channels and Limits on
             Coupling Strengths},
  journal = {Applied Optics},
  volume  = {39},
  number  = {11},
  pages   = {1681--1699},
  year    = {2000},
}""",
    "peel2005": """@article{peel2005,
  author  = {Peel, Christian B. and Hochwald, Bertrand M. and Swindlehurst, A. Lee},
  title   = {A Vector-Perturbation Technique for Near-Capacity Multiantenna Multiuser
             Communication--Part {I}: Channel Inversion and Regularization},
  journal = {IEEE Transactions on Communications},
  volume  = {53},
  number  = {1},
  pages   = {195--202},
  year    = {2005},
}""",
    "polk1956": """@article{polk1956,
  author  = {Polk, C.},
  title   = {Optical {Fresnel}-Zone Gain of a Rectangular Aperture},
  journal = {IRE Transactions on Antennas and Propagation},
  volume  = {4},
  number  = {1},
  pages   = {65--69},
  year    = {1956},
}""",
    "rappaport2002": """@book{rappaport2002,
  author    = {Rappaport, Theodore S.},
  title     = {Wireless Communications: Principles and Practice},
  edition   = {2nd},
  publisher = {Prentice Hall},
  year      = {2002},
}""",
    "salmon2011": """@inproceedings{salmon2011,
  author    = {Salmon, John K. and Moraes, Mark A. and Dror, Ron O. and Shaw, David E.},
  title     = {Parallel Random Numbers: As Easy as 1, 2, 3},
  booktitle = {Proceedings of the International Conference for High Performance Computing, Networking, Storage
               and Analysis ({SC}'11)},
  year      = {2011},
}""",
    "shi2011": """@article{shi2011,
  author  = {Shi, Qingjiang and Razaviyayn, Meisam and Luo, Zhi-Quan and He, Chen},
  title   = {An Iteratively Weighted {MMSE} Approach to Distributed Sum-Utility Maximization for a {MIMO}
             Interfering Broadcast Channel},
  journal = {IEEE Transactions on Signal Processing},
  volume  = {59},
  number  = {9},
  pages   = {4331--4340},
  year    = {2011},
}""",
    "singh2021": """@inproceedings{singh2021,
  author    = {Singh, Ikram and Smith, Peter J. and Dmochowski, Pawel A.},
  title     = {Optimal {SNR} Analysis for Single-User {RIS} Systems},
  booktitle = {Proceedings of the IEEE International Symposium on Personal, Indoor and Mobile Radio
               Communications ({PIMRC})},
  year      = {2021},
  note      = {arXiv:2008.09376},
}""",
    "torres2022": """@article{torres2022,
  author  = {de Jesus Torres, Andrea and Sanguinetti, Luca and Bj{\\"o}rnson, Emil},
  title   = {Electromagnetic Interference in {RIS}-Aided Communications},
  journal = {IEEE Wireless Communications Letters},
  volume  = {11},
  number  = {4},
  pages   = {668--672},
  year    = {2022},
}""",
    "xu2020": """@inproceedings{xu2020,
  author    = {Xu, Yixing and Xu, Chang and Chen, Xinghao and Zhang, Wei and Xu, Chunjing and Wang, Yunhe},
  title     = {Kernel Based Progressive Distillation for Adder Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {33},
  year      = {2020},
  note      = {arXiv:2009.13044},
}""",
    "lybrand2021": """@article{lybrand2021,
  author  = {Lybrand, Eric and Saab, Rayan},
  title   = {A Greedy Algorithm for Quantizing Neural Networks},
  journal = {Journal of Machine Learning Research},
  volume  = {22},
  number  = {156},
  pages   = {1--38},
  year    = {2021},
}""",
    "liu2021saq": """@misc{liu2021saq,
  author = {Liu, Jing and Cai, Jianfei and Zhuang, Bohan},
  title  = {Sharpness-Aware Quantization for Deep Neural Networks},
  year   = {2021},
  note   = {arXiv:2111.12273},
}""",
    "kim2016": """@inproceedings{kim2016,
  author    = {Kim, Yong-Deok and Park, Eunhyeok and Yoo, Sungjoo and Choi, Taelim and Yang, Lu
               and Shin, Dongjun},
  title     = {Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications},
  booktitle = {International Conference on Learning Representations},
  year      = {2016},
  note      = {arXiv:1511.06530},
}""",
    "delathauwer2000": """@article{delathauwer2000,
  author  = {De Lathauwer, Lieven and De Moor, Bart and Vandewalle, Joos},
  title   = {On the Best Rank-1 and Rank-({$R_1,R_2,\\ldots,R_N$}) Approximation of Higher-Order Tensors},
  journal = {SIAM Journal on Matrix Analysis and Applications},
  volume  = {21},
  number  = {4},
  pages   = {1324--1342},
  year    = {2000},
}""",
    "cheng2018": """@article{cheng2018,
  author  = {Cheng, Yu and Wang, Duo and Zhou, Pan and Zhang, Tao},
  title   = {Model Compression and Acceleration for Deep Neural Networks: The Principles, Progress, and
             Challenges},
  journal = {IEEE Signal Processing Magazine},
  volume  = {35},
  number  = {1},
  pages   = {126--136},
  year    = {2018},
  note    = {arXiv:1710.09282},
}""",
    "howard2017": """@misc{howard2017,
  author = {Howard, Andrew G. and Zhu, Menglong and Chen, Bo and Kalenichenko, Dmitry and Wang, Weijun
            and Weyand, Tobias and Andreetto, Marco and Adam, Hartwig},
  title  = {{MobileNets}: Efficient Convolutional Neural Networks for Mobile Vision Applications},
  year   = {2017},
  note   = {arXiv:1704.04861},
}""",
    "shang2016": """@inproceedings{shang2016,
  author    = {Shang, Wenling and Sohn, Kihyuk and Almeida, Diogo and Lee, Honglak},
  title     = {Understanding and Improving Convolutional Neural Networks via Concatenated Rectified Linear
               Units},
  booktitle = {Proceedings of the 33rd International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {48},
  pages     = {2217--2225},
  year      = {2016},
  note      = {arXiv:1603.05201},
}""",
    "cohen2016": """@inproceedings{cohen2016,
  author    = {Cohen, Taco S. and Welling, Max},
  title     = {Group Equivariant Convolutional Networks},
  booktitle = {Proceedings of the 33rd International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {48},
  pages     = {2990--2999},
  year      = {2016},
  note      = {arXiv:1602.07576},
}""",
    "zhang2023gpfq": """@article{zhang2023gpfq,
  author  = {Zhang, Jinjie and Zhou, Yixuan and Saab, Rayan},
  title   = {Post-training Quantization for Neural Networks with Provable Guarantees},
  journal = {SIAM Journal on Mathematics of Data Science},
  volume  = {5},
  number  = {2},
  pages   = {373--399},
  year    = {2023},
  note    = {arXiv:2201.11113},
}""",
}
"""Key to BibTeX entry."""

EVERY_STUDY = ("abdullah2022", "marzetta2016", "salmon2011")
"""The model class, the hardening bound and the random numbers."""

OF_LAW = {
    "isotropic": "bjornson2021",
    "planar_isotropic": "clarke1968",
    "exponential": "loyka2001",
    "local_scattering": "bjornson2017",
    "von_mises": "badiu2020",
    "uniform": "badiu2020",
    "quantization": "badiu2020",
    "free_space": "friis1946",
    "log_distance": "rappaport2002",
    "umi": "tr38901",
    "uma": "tr38901",
    "inh": "tr38901",
}
"""Law of correlation, phase noise or path loss to the paper that a study with it should cite."""

OF_HARDWARE = {"amplitude": "abeywickrama2020", "coupling": "gradoni2021", "interference": "torres2022"}
"""Table of a surface to the paper that a study with it should cite."""

OF_PRECODER = {"rzf": "peel2005", "mmse": "bjornson2017", "wmmse": "shi2011"}
"""Precoder to the paper that a study with it should cite."""


def papers_of(points: Iterable["Point"], extra: Iterable[str] = ()) -> list[str]:
    """Return the keys of the papers behind the options that the points use, in alphabetical order."""
    keys = {*EVERY_STUDY, *extra}
    for point in points:
        users = point.system.users
        keys |= {OF_LAW[law] for law in _laws(point.system)}
        if users.seen_from_bs or users.seen_from_surface1 or users.seen_from_surface2:
            keys.add(OF_LAW["local_scattering"])
        if point.transmission.csi in ("lmmse", "ls"):
            keys.add("bjornson2017")
        for surface in point.system.surfaces.values():
            keys |= {paper for part, paper in OF_HARDWARE.items() if getattr(surface, part) is not None}
        if point.transmission.precoder in OF_PRECODER:
            keys.add(OF_PRECODER[point.transmission.precoder])
        if (scenario := point.system.scenario) is not None:
            keys |= set(_of_scenario(scenario, point.system.hops))
    return sorted(keys)


def _of_scenario(scenario: "Scenario", hops: Iterable[str]) -> Iterator[str]:
    """Yield papers behind the correlations and the elements of a scenario."""
    for law in map(scenario.law_of, hops):
        spreads = (None, None) if law is None else (law.left_spread_deg, law.right_spread_deg)
        yield from (OF_LAW["isotropic" if spread is None else "local_scattering"] for spread in spreads)
    if any(node is not None and node.element for node in (scenario.bs, scenario.surface1, scenario.surface2)):
        yield "ellingson2021"


def _laws(table: "Table") -> set[str]:
    """Laws with a paper anywhere below a table."""
    found, waiting = set[str](), [table.model_dump()]
    while waiting:
        here = waiting.pop()
        if here.get("law") in OF_LAW:
            found.add(here["law"])
        for value in here.values():
            entries = value if isinstance(value, list) else [value]
            waiting += [entry for entry in entries if isinstance(entry, dict)]
    return found
