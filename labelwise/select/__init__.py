"""A Pool -> whom to ask next."""

from labelwise.select.batch import Batch, choose
from labelwise.select.clustering import ClusterMargin, KMeans
from labelwise.select.covering import Determinant, FacilityLocation, ProbCover
from labelwise.select.geometry import KCenter, TypiClust
from labelwise.select.herding import Herding
from labelwise.select.scorers import Entropy, LeastConfidence, Margin
from labelwise.select.stochastic import Power, Softmax, Softrank
from labelwise.select.strategies import Mix, Random, Then, Top

__all__ = [
    "Batch", "ClusterMargin", "Determinant", "Entropy", "FacilityLocation", "Herding", "KCenter", "KMeans",
    "LeastConfidence", "Margin", "Mix", "Power", "ProbCover", "Random", "Softmax", "Softrank", "Then", "Top",
    "TypiClust", "choose",
]  # fmt: skip
