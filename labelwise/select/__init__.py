"""A Pool -> whom to ask next."""

from labelwise.select.batch import Batch, choose
from labelwise.select.expected import CoreMSE
from labelwise.select.geometry import KCenter, TypiClust
from labelwise.select.gradients import Badge, Bait
from labelwise.select.scorers import Entropy, LeastConfidence, Margin
from labelwise.select.stochastic import Power, Softmax, Softrank
from labelwise.select.strategies import Mix, Random, Then, Top
from labelwise.select.streaming import SieveStreaming, Stream, Vessal, WeightedReservoir

__all__ = [
    "Badge", "Bait", "Batch", "CoreMSE", "Entropy", "KCenter", "LeastConfidence", "Margin", "Mix", "Power", "Random",
    "SieveStreaming", "Softmax", "Softrank", "Stream", "Then", "Top", "TypiClust", "Vessal", "WeightedReservoir",
    "choose",
]  # fmt: skip
