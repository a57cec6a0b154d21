"""What of a run a checkpoint holds besides its weights, the optimizer's state and the random states."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from slowfast_atfr.utils.distributed import gather_objects, get_rank, get_world_size


class Stateful(Protocol):
    """Something with a state that torch.save takes and torch.load(weights_only=True) gives back."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None: ...


@dataclass
class RunState:
    """The rest of a run, by the names that it has in a checkpoint.

    parts: alike on all processes, such as a gradient scaler; the main process's are saved.
    rank_parts: of each process its own, such as the sums of an epoch so far.
    clips: of the epoch in progress that all processes together have had; 0 between epochs.
    unvalidated: the epoch that is done is to be validated, and has not been yet.
    """

    parts: Mapping[str, Stateful] = field(default_factory=dict)
    rank_parts: Mapping[str, Stateful] = field(default_factory=dict)
    clips: int = 0
    unvalidated: bool = False

    def fields(self) -> dict[str, Any]:
        """What a checkpoint receives; a collective."""
        fields: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        fields |= {name: gather_objects(part.state_dict()) for name, part in self.rank_parts.items()}
        return fields | {"clips": self.clips, "unvalidated": self.unvalidated}

    def load(self, fields: Mapping[str, Any]) -> list[str]:
        """Go back to what a checkpoint holds. The rank_parts of another number of processes are passed over.

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
