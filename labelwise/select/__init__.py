"""A Pool -> whom to ask next."""

from labelwise.select.auto import Auto
from labelwise.select.batch import Batch, choose
from labelwise.select.geometry import KCenter, TypiClust
from labelwise.select.herding import Herding
from labelwise.select.imbalance import AnchorAL, Balanced, Galaxy, Seals
from labelwise.select.scorers import Entropy, LeastConfidence, Margin
from labelwise.select.seeding import RareFirst, Seeds
from labelwise.select.stochastic import Power, Softmax, Softrank
from labelwise.select.strategies import Mix, Random, Then, Top

__all__ = [
    "AnchorAL", "Auto", "Balanced", "Batch", "Entropy", "Galaxy", "Herding", "KCenter", "LeastConfidence", "Margin",
    "Mix", "Power", "Random", "RareFirst", "Seals", "Seeds", "Softmax", "Softrank", "Then", "Top", "TypiClust",
    "choose",
]  # fmt: skip
