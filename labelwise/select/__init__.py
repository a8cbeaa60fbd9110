"""A Pool -> whom to ask next."""

from labelwise.select.auto import Auto
from labelwise.select.batch import Batch, choose
from labelwise.select.clustering import ClusterMargin, KMeans
from labelwise.select.committee import BALD, Disagreement, VoteEntropy
from labelwise.select.contextual import CAL, Novelty, Rarity, Relevance, Signal, densities
from labelwise.select.covering import Determinant, FacilityLocation, ProbCover
from labelwise.select.expected import CoreMSE
from labelwise.select.geometry import KCenter, TypiClust
from labelwise.select.gradients import Badge, Bait
from labelwise.select.herding import Herding
from labelwise.select.imbalance import AnchorAL, Balanced, Galaxy, Seals
from labelwise.select.routing import Routed
from labelwise.select.scorers import MNLP, Entropy, LeastConfidence, Margin, TokenEntropy
from labelwise.select.seeding import RareFirst, Seeds
from labelwise.select.stochastic import Power, Softmax, Softrank
from labelwise.select.strategies import Mix, Random, Then, Top
from labelwise.select.streaming import SieveStreaming, Stream, Vessal, WeightedReservoir

__all__ = [
    "BALD",
    "CAL",
    "MNLP",
    "AnchorAL",
    "Auto",
    "Badge",
    "Bait",
    "Balanced",
    "Batch",
    "ClusterMargin",
    "CoreMSE",
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
    "Routed",
    "Seals",
    "Seeds",
    "SieveStreaming",
    "Signal",
    "Softmax",
    "Softrank",
    "Stream",
    "Then",
    "TokenEntropy",
    "Top",
    "TypiClust",
    "Vessal",
    "VoteEntropy",
    "WeightedReservoir",
    "choose",
    "densities",
]  # fmt: skip
