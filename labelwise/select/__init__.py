"""A Pool -> whom to ask next."""

from labelwise.select.auto import Auto
from labelwise.select.batch import Batch, choose
from labelwise.select.clustering import ClusterMargin, KMeans
from labelwise.select.committee import BALD, Disagreement, VoteEntropy
from labelwise.select.contextual import CAL, Novelty, Rarity, Relevance, Signal, densities
from labelwise.select.covering import Determinant, FacilityLocation, ProbCover
from labelwise.select.geometry import KCenter, TypiClust
from labelwise.select.herding import Herding
from labelwise.select.imbalance import AnchorAL, Balanced, Galaxy, Seals
from labelwise.select.scorers import MNLP, Entropy, LeastConfidence, Margin, TokenEntropy
from labelwise.select.seeding import RareFirst, Seeds
from labelwise.select.stochastic import Power, Softmax, Softrank
from labelwise.select.strategies import Mix, Random, Then, Top

__all__ = [
    "BALD",
    "CAL",
    "MNLP",
    "AnchorAL",
    "Auto",
    "Balanced",
    "Batch",
    "ClusterMargin",
    "Determinant",
    "Disagreement",
    "Entropy",
    "FacilityLocation",
    "Galaxy",
    "Herding",
    "KCenter",
    "KMeans",
    "LeastConfidence",
    "Margin",
    "Mix",
    "Novelty",
    "Power",
    "ProbCover",
    "Random",
    "RareFirst",
    "Rarity",
    "Relevance",
    "Seals",
    "Seeds",
    "Signal",
    "Softmax",
    "Softrank",
    "Then",
    "TokenEntropy",
    "Top",
    "TypiClust",
    "VoteEntropy",
    "choose",
    "densities",
]  # fmt: skip
