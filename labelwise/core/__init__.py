"""The words everybody speaks. Needs numpy and the standard library only."""

from labelwise.core.beliefs import Beliefs, Categorical, Committee, Multilabel, Tagged, from_arrays, stack
from labelwise.core.errors import (
    ContractError,
    DamagedRecord,
    InputError,
    LabelwiseError,
    MissingExtra,
    MissingInput,
    WrongMoment,
    unknown,
)
from labelwise.core.pool import Nomination, Pool, Selection, stack_pools
from labelwise.core.protocols import (
    Aggregator,
    Artefacts,
    Calibration,
    Calibrator,
    Consensus,
    Encoder,
    Event,
    EventLog,
    Examples,
    Model,
    Oracle,
    Ref,
    Scorer,
    State,
    Strategy,
    Trainer,
    Vote,
)
from labelwise.core.streams import stream, uniform_of
from labelwise.core.task import Answer, Kind, Span, Task
from labelwise.core.text import keys_of, normalised, text_id

__all__ = [
    "Aggregator", "Answer", "Artefacts", "Beliefs", "Calibration", "Calibrator", "Categorical", "Committee",
    "Consensus", "ContractError", "DamagedRecord", "Encoder", "Event", "EventLog", "Examples", "InputError",
    "Kind", "LabelwiseError", "MissingExtra", "MissingInput", "Model", "Multilabel", "Nomination", "Oracle",
    "Pool", "Ref", "Scorer", "Selection", "Span", "State", "Strategy", "Tagged", "Task", "Trainer", "Vote",
    "WrongMoment", "from_arrays", "keys_of", "normalised", "stack", "stack_pools", "stream", "text_id", "uniform_of",
    "unknown",
]  # fmt: skip
