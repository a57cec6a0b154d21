"""What a checkpoint holds besides weights, optimizer and random states."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from slowfast_atfr.utils.distributed import gather_objects, get_rank, get_world_size


class Stateful(Protocol):
    """An object whose state torch.save can write and torch.load(weights_only=True) can read."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None: ...


@dataclass
class RunState:
    """The rest of a run's state, by its keys in a checkpoint.

    parts: equal on all processes, such as a gradient scaler; the main process's are saved.
    rank_parts: different on each process, such as the sums of an epoch so far; all are saved.
    clips: trained on in the epoch in progress, over all processes; 0 between epochs.
    unvalidated: whether the last epoch is due for a validation that has not run yet.
    """

    parts: Mapping[str, Stateful] = field(default_factory=dict)
    rank_parts: Mapping[str, Stateful] = field(default_factory=dict)
    clips: int = 0
    unvalidated: bool = False

    def fields(self) -> dict[str, Any]:
        """Return the fields to save; a collective."""
        fields: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        fields |= {name: gather_objects(part.state_dict()) for name, part in self.rank_parts.items()}
        return fields | {"clips": self.clips, "unvalidated": self.unvalidated}

    def load(self, fields: Mapping[str, Any]) -> list[str]:
        """Restore the fields of a checkpoint; rank_parts only if it has as many processes.

        Returns:
            names of the parts that the file lacks; they stay as they are.
        """
        self.clips, self.unvalidated = fields.get("clips", 0), fields.get("unvalidated", False)
        left = [name for name in self.parts if not fields.get(name)]
        for name, part in self.parts.items():
            if name not in left:
                part.load_state_dict(fields[name])
        for name, part in self.rank_parts.items():
            states = fields.get(name)
            if not isinstance(states, list):
                left.append(name)
            elif len(states) == get_world_size():
                part.load_state_dict(states[get_rank()])
        return left
