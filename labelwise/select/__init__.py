"""A Pool -> whom to ask next."""

from labelwise.select.batch import Batch, choose
from labelwise.select.committee import BALD, Disagreement, VoteEntropy
from labelwise.select.contextual import CAL, Novelty, Rarity, Relevance, Signal, densities
from labelwise.select.geometry import KCenter, TypiClust
from labelwise.select.scorers import MNLP, Entropy, LeastConfidence, Margin, TokenEntropy
from labelwise.select.stochastic import Power, Softmax, Softrank
from labelwise.select.strategies import Mix, Random, Then, Top

__all__ = [
    "BALD", "CAL", "MNLP", "Batch", "Disagreement", "Entropy", "KCenter", "LeastConfidence", "Margin", "Mix", "Novelty",
    "Power", "Random", "Rarity", "Relevance", "Signal", "Softmax", "Softrank", "Then", "TokenEntropy", "Top",
    "TypiClust", "VoteEntropy", "choose", "densities",
]  # fmt: skip
