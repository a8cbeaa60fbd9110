"""The words everybody speaks. Needs numpy and the standard library only."""

from labelwise.core.beliefs import Beliefs, Categorical, Committee, Multilabel, Streamed, Tagged, from_arrays, stack
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
from labelwise.core.pool import Hints, Known, Lazy, Neighbours, Nomination, Pool, Reason, Selection, stack_pools
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
from labelwise.core.tokens import Tags

__all__ = [
    "Aggregator", "Answer", "Artefacts", "Beliefs", "Calibration", "Calibrator", "Categorical", "Committee",
    "Consensus", "ContractError", "DamagedRecord", "Encoder", "Event", "EventLog", "Examples", "Hints", "InputError",
    "Kind", "Known", "LabelwiseError", "Lazy", "MissingExtra", "MissingInput", "Model", "Multilabel", "Neighbours",
    "Nomination", "Oracle", "Pool", "Reason", "Ref", "Scorer", "Selection", "Span", "State", "Strategy", "Streamed",
    "Tagged", "Tags", "Task", "Trainer", "Vote", "WrongMoment", "from_arrays", "keys_of", "normalised", "stack",
    "stack_pools", "stream", "text_id", "uniform_of", "unknown",
]  # fmt: skip
