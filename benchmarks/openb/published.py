"""Published figures: percent of the GPUs allocated at 95, 100 and 130 percent arrived, mean of seeds 42 to 51.

Source: hkust-adsl/kubernetes-scheduler-simulator, `experiments/analysis/expected_results/analysis_allo_discrete.csv`:
the run behind figures 7, 9 and 11 to 14 of Weng et al. (USENIX ATC'23).
"""

AT = (95, 100, 130)
"""Percent of the GPUs requested so far."""

FGD = {
    "default": (94.91, 95.23, 95.39),
    "cpu100": (94.91, 95.21, 95.35),
    "cpu250": (93.14, 93.20, 93.41),
    "gpushare40": (93.92, 93.96, 94.15),
    "gpushare100": (86.59, 86.64, 86.90),
    "multigpu20": (94.94, 95.53, 95.65),
    "multigpu50": (94.82, 97.09, 97.18),
    "gpuspec10": (90.38, 94.66, 94.95),
    "gpuspec33": (84.25, 87.84, 94.55),
}
"""Fragmentation gradient descent, the method of the paper."""

BEST_FIT = {
    "default": (92.82, 92.86, 93.08),
    "cpu100": (93.22, 93.26, 93.44),
    "cpu250": (91.16, 91.21, 91.45),
    "gpushare40": (91.40, 91.44, 91.69),
    "gpushare100": (84.55, 84.62, 85.01),
    "multigpu20": (93.70, 93.73, 93.93),
    "multigpu50": (94.99, 95.62, 95.74),
    "gpuspec10": (89.58, 93.10, 93.31),
    "gpuspec33": (76.80, 80.40, 93.09),
}
"""The paper's best-fit, on CPU and GPU together."""
