"""A Pool -> whom to ask next."""

from labelwise.select.batch import Batch, choose
from labelwise.select.geometry import KCenter, TypiClust
from labelwise.select.herding import Herding
from labelwise.select.scorers import Entropy, LeastConfidence, Margin
from labelwise.select.stochastic import Power, Softmax, Softrank
from labelwise.select.strategies import Mix, Random, Then, Top

__all__ = [
    "Batch", "Entropy", "Herding", "KCenter", "LeastConfidence", "Margin", "Mix", "Power", "Random", "Softmax",
    "Softrank", "Then", "Top", "TypiClust", "choose",
]  # fmt: skip
